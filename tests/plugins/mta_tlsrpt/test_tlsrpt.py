"""What is counted, when it is reported and to whom, and that what we write is what we read (RFC 8460)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import gzip
import json
from dataclasses import replace

import pytest

from mta.model.tls import TlsPolicy, TlsResult
from mta.testing.memory.tables import MemoryTables
from mta.testing.plugins import FakeClock, FakeDns, FakeHttp, Sent, host_with
from mta.wire.dsn.parse import parse_report
from mta_hooks.services import DnsError
from mta_tlsrpt import TlsRpt
from mta_tlsrpt.collect import DAY, is_over
from mta_tlsrpt.report import read_record

STS = TlsPolicy("encrypt", source="sts", policy=("version: STSv1", "mode: enforce"), mx=("*.dest.test",))
GOOD = TlsResult("dest.test", "mx1.dest.test", "192.0.2.2", "192.0.2.1", STS)
BAD = replace(GOOD, failure="certificate-expired", reason="a certificate has expired")
PLAIN = TlsResult("dest.test", "mx1.dest.test", "192.0.2.2", "192.0.2.1", TlsPolicy("may"), "starttls-not-supported")
RECORD = [b"v=TLSRPTv1; rua=mailto:tls%40dest.test,https://r.dest.test/v1"]


class Ground:
    def __init__(self, record=RECORD, http=None, **config):
        self.clock = FakeClock(20_000 * DAY + 50_000.0)
        self.dns = FakeDns({("txt", "_smtp._tls.dest.test"): record})
        self.http, self.sent = http or FakeHttp(201), Sent()
        self.plugin = TlsRpt()
        self.plugin.name = "tlsrpt"
        self.host = host_with(self.plugin, config=config, clock=self.clock, dns=self.dns, http=self.http, send=self.sent)
        self.host.services.tables = MemoryTables()
        asyncio.run(self.host.migrate())
        self.ctx = self.host.plugins["tlsrpt"].context

    def tell(self, *results):
        async def main():
            for result in results:
                await self.host.tls_result.notify(result=result)
            await self.plugin.flush(self.ctx)

        asyncio.run(main())

    def report(self):
        asyncio.run(self.plugin.report(self.ctx))


def test_a_day_is_reported_once_by_mail_and_https():
    ground = Ground(organization="Example")
    ground.tell(GOOD, BAD, GOOD)
    ground.tell(BAD, PLAIN)
    ground.report()
    assert ground.sent.messages == []  # the day is not over
    ground.clock.advance(DAY)
    ground.report()
    ground.report()
    [(_, sender, recipients, octets)] = ground.sent.messages
    assert (sender, recipients) == (None, ("tls@dest.test",))
    assert b"TLS-Required: No\r\n" in octets
    assert b"TLS-Report-Domain: dest.test\r\nTLS-Report-Submitter: mx.example.test\r\n" in octets
    report = parse_report(octets)
    assert (report.kind, report.reporter, report.domains) == ("tls", "Example", ("dest.test",))
    assert (report.begin, report.end) == (20_000 * DAY, 20_001 * DAY - 1)
    sts, plain = report.tls
    assert (sts.kind, sts.good, sts.failed) == ("sts", 2, 2)
    [failure] = sts.failures
    assert (failure.result, failure.sessions, failure.host, failure.address, failure.sender, failure.reason) == (
        "certificate-expired", 2, "mx1.dest.test", "192.0.2.2", "192.0.2.1", "a certificate has expired",
    )  # fmt: skip
    assert (plain.kind, plain.good, plain.failed) == ("no-policy-found", 0, 1)
    [posted] = ground.http.requests
    assert (posted.method, posted.url, posted.headers["Content-Type"]) == (
        "POST",
        "https://r.dest.test/v1",
        "application/tlsrpt+gzip",
    )
    whole = json.loads(gzip.decompress(posted.data))
    assert whole["date-range"] == {"start-datetime": "2024-10-04T00:00:00Z", "end-datetime": "2024-10-04T23:59:59Z"}
    assert whole["policies"][0]["policy"] == {
        "policy-type": "sts", "policy-domain": "dest.test", "policy-string": ["version: STSv1", "mode: enforce"], "mx-host": ["*.dest.test"],
    }  # fmt: skip


@pytest.mark.parametrize("record", [[], [b"v=TLSRPTv1; rua=ftp://x"], [b"v=TLSRPTv1;", b"v=spf1"]])
def test_who_does_not_ask_gets_none_and_nothing_is_kept(record):
    ground = Ground(record)
    ground.tell(GOOD)
    ground.clock.advance(2 * DAY)
    ground.report()
    assert ground.sent.messages == []


def test_a_report_that_nobody_takes_is_tried_again_and_dropped_at_last():
    ground = Ground([b"v=TLSRPTv1; rua=https://r.dest.test/v1"], FakeHttp(OSError("down"), 503, 500, 201))
    ground.tell(GOOD)
    ground.clock.advance(DAY)
    ground.report()
    ground.report()
    assert len(ground.http.requests) == 2
    ground.clock.advance(2 * DAY)
    ground.report()
    ground.report()
    assert len(ground.http.requests) == 3


def test_dns_that_does_not_answer_loses_nothing():
    ground = Ground(DnsError("down"))
    ground.tell(GOOD)
    ground.clock.advance(DAY)
    ground.report()
    ground.dns.records["txt", "_smtp._tls.dest.test"] = RECORD
    ground.report()
    assert len(ground.sent.messages) == 1


def test_reports_are_spread_over_some_hours():
    assert not is_over(100, "dest.test", 101 * DAY - 1)
    assert is_over(100, "dest.test", 101 * DAY + 4 * 3600)
    assert len({is_over(100, f"d{n}.test", 101 * DAY + 7200) for n in range(50)}) == 2


@pytest.mark.parametrize(
    ("records", "targets"),
    [
        ([b"v=TLSRPTv1;rua=mailto:reports@example.com"], ["mailto:reports@example.com"]),
        ([b"v=TLSRPTv1; rua=https://a.test/x , MAILTO:b@c.test"], ["https://a.test/x", "mailto:b@c.test"]),
        ([b"v=TLSRPTv1; rua=mailto:a@b.test", b"v=TLSRPTv1; rua=mailto:c@d.test"], []),
        ([b"v=TLSRPTv1; rua=mailto:a%0d%0aBcc:x@b.test"], []),
        ([b"v=TLSRPTv1; rua=http://a.test/"], []),
        ([b"v=TLSRPTv2; rua=mailto:a@b.test"], []),
        ([b"v=TLSRPTv1; rua=" + b",".join(b"mailto:a%d@b.test" % n for n in range(9))], [f"mailto:a{n}@b.test" for n in range(5)]),
    ],
)
def test_records(records, targets):
    assert read_record(records) == targets


def test_a_report_reaches_the_hook_as_it_was_read():
    from mta.pluginhost.durable import arguments_of, payload_of_report
    from mta.testing.plugins import FakeMessage

    ground = Ground()
    ground.tell(GOOD, BAD)
    ground.clock.advance(DAY)
    ground.report()
    octets = ground.sent.messages[0][3]
    report = parse_report(octets)
    payload = json.loads(json.dumps(payload_of_report(FakeMessage(octets), report)))
    assert arguments_of(("message", "report"), payload)["report"] == report
