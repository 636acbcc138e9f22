"""Mail that goes over verified TLS only (RFC 8689)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

from mta.testing.sink import KEYWORDS, Sink
from mta_hooks import hookimpl

ZONES = """
dest.test      MX 10 mx1.dest.test.
mx1.dest.test  A  127.0.0.2
"""
PROMISES = (*KEYWORDS, "REQUIRETLS")


def exchange(relay, sink, authority, *, keywords=PROMISES, name="mx1.dest.test", signed=True, plugins=(), requiretls=True):
    """Return (MAIL command or None, last reply, report)."""
    trust, context = authority

    async def main():
        tls = name and context(name)
        relaying = relay(ZONES, trust=trust, dns={"validating": True}, plugins=plugins)
        async with relaying as r, sink(r, "127.0.0.2", tls=tls, keywords=keywords) as hop:
            if signed:
                r.dns.sign("dest.test")
            bob = await r.user("bob@here.test")
            await r.queue("x@dest.test", requiretls=requiretls, ret="FULL")
            rows = await r.settled()
            reports = await r.inbox(bob)
            return hop.messages[0].mail if hop.messages else None, rows[0].last_reply if rows else "", b"".join(reports)

    return asyncio.run(main())


def test_it_goes_to_a_host_that_is_verified_and_promises_the_same(relay, sink, authority):
    mail, _, _ = exchange(relay, sink, authority)
    assert " REQUIRETLS" in mail


def test_others_are_not_asked_for_a_promise(relay, sink, authority):
    mail, _, _ = exchange(relay, sink, authority, requiretls=False, signed=False)
    assert "REQUIRETLS" not in mail


@pytest.mark.parametrize("name", [None, "other.test"], ids=["no TLS", "wrong certificate"])
def test_no_verified_tls_waits(relay, sink, authority, name):
    mail, reply, _ = exchange(relay, sink, authority, name=name)
    assert mail is None
    assert reply.startswith("451 4.4.1 ")


def test_a_host_without_the_promise_is_refused_for_good_and_the_report_has_no_body(relay, sink, authority):
    mail, reply, report = exchange(relay, sink, authority, keywords=KEYWORDS)
    assert (mail, reply) == (None, "")
    assert b"Status: 5.7.30" in report
    assert b"\r\nbody\r\n" not in report


def test_an_mx_that_nobody_vouches_for_will_not_do(relay, sink, authority):
    mail, _, report = exchange(relay, sink, authority, signed=False)
    assert mail is None
    assert b"5.7.30" in report


def test_mta_sts_vouches_too(relay, sink, authority):
    from mta_hooks import TlsPolicy

    @hookimpl
    def tls_policy():
        return TlsPolicy("encrypt", source="sts")

    assert exchange(relay, sink, authority, signed=False, plugins=[tls_policy])[0] is not None


def test_other_mail_to_the_same_domain_has_its_own_connection(relay, sink, authority):
    trust, context = authority

    async def main():
        relaying = relay(ZONES, trust=trust, dns={"validating": True})
        async with relaying as r, sink(r, "127.0.0.2", tls=context("mx1.dest.test"), keywords=PROMISES) as hop:
            r.dns.sign("dest.test")
            await r.queue("x@dest.test")
            assert await r.settled() == []
            await r.queue("y@dest.test", requiretls=True)
            assert await r.settled() == []
            assert [m.connection for m in hop.messages] == [0, 1]

    asyncio.run(main())


def test_a_named_next_hop_has_to_promise_as_well(relay, authority):
    trust, context = authority

    async def main(keywords):
        hop = Sink(tls=context("127.0.0.1"), keywords=keywords)
        async with hop, relay(routes={"dest.test": f"smtp://127.0.0.1:{hop.port}"}, trust=trust) as r:
            await r.user("bob@here.test")
            await r.queue("x@dest.test", requiretls=True)
            assert await r.settled() == []
            return hop.count

    assert asyncio.run(main(PROMISES)) == 1
    assert asyncio.run(main(KEYWORDS)) == 0


# ---- TLS-Required: No


def waiving(relay, sink, authority, *, field=b"TLS-Required: No\r\n", source="sts", **config):
    """To a host whose certificate is wrong; how many messages arrived, and what waits."""
    from mta_hooks import TlsPolicy

    trust, context = authority

    @hookimpl
    def tls_policy():
        return TlsPolicy("encrypt", source=source)

    async def main():
        relaying = relay(ZONES, trust=trust, plugins=[tls_policy], **config)
        async with relaying as r, sink(r, "127.0.0.2", tls=context("other.test")) as hop:
            await r.queue("x@dest.test", octets=field + b"Subject: report\r\n\r\nx\r\n", skip=0)
            rows = await r.settled()
            await r.queue("y@dest.test")
            await r.settled()
            return [m.rcpts for m in hop.messages], [row.last_reply[:9] for row in rows]

    return asyncio.run(main())


def test_a_report_on_broken_tls_goes_all_the_same_and_nothing_else_with_it(relay, sink, authority):
    assert waiving(relay, sink, authority) == ([["RCPT TO:<x@dest.test>"]], [])


@pytest.mark.parametrize("field", [b"", b"TLS-Required: Yes\r\n", b"X-TLS-Required: No\r\n"])
def test_other_mail_does_not(relay, sink, authority, field):
    assert waiving(relay, sink, authority, field=field) == ([], ["451 4.4.1"])


def test_what_the_operator_says_holds_for_reports_too(relay, sink, authority):
    assert waiving(relay, sink, authority, tls_policies={"dest.test": "encrypt"}) == ([], ["451 4.4.1"])
    assert waiving(relay, sink, authority, source="") == ([], ["451 4.4.1"])
