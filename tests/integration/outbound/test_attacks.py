"""The rows "DNS" and "TLS downgrade" of the attack catalogue, and what a hostile next hop may try; each test is named after its row."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import contextlib
import ssl

import pytest

from mta.outbound.hosts import MAX_ADDRESSES
from mta.testing.sink import Sink

ZONES = """
dest.test      MX 10 mx1.dest.test.
mx1.dest.test  A  127.0.0.2
"""


def test_dns_cve_2023_29483_tudoor_a_forged_or_broken_packet_ends_no_look_up(relay, sink):
    """Rubbish, a wrong id and a malformed reply come before the truth; the truth counts, and nothing is put off."""

    async def main():
        async with relay(ZONES) as r, sink(r, "127.0.0.2") as hop:
            r.dns.misbehave("*", "forged")
            await r.queue("x@dest.test")
            assert await r.settled() == []
            assert hop.count == 1

    asyncio.run(main())


def test_dns_answers_are_limited_in_what_they_cause(relay):
    """Hundreds of MX, and a host with hundreds of addresses: a handful of look-ups and connections, then the mail waits."""

    async def main():
        async with relay() as r:
            r.dns.set("dest.test", MX=[f"{n} mx{n}.dest.test." for n in range(300)])
            for n in range(300):
                r.dns.set(f"mx{n}.dest.test", A=[f"127.1.{n // 250}.{1 + (n + k) % 250}" for k in range(200)])
            await r.queue("x@dest.test")
            [row] = await r.settled()
            assert row.last_reply.startswith("451 4.4.1 ")
            assert sum(r.dns.asked.values()) <= 50
            assert len(r.log.named("outbound.unreachable")) <= MAX_ADDRESSES

    asyncio.run(main())


def test_dns_cve_2026_40684_names_out_of_dns_reach_neither_commands_nor_log_nor_reports(relay, sink):
    """An MX whose labels hold spaces, CR, LF and escapes: it is no host that could be asked for in TLS or named to anybody."""

    async def main():
        async with relay() as r, sink(r, "127.0.0.2") as hop:
            bob = await r.user("bob@here.test")
            r.dns.set("dest.test", MX=["10 a\\013\\010RCPT\\032TO:evil.dest.test."])
            r.dns.set("a\\013\\010RCPT\\032TO:evil.dest.test", A="127.0.0.2")
            await r.queue("x@dest.test")
            rows = await r.settled()
            said = (
                [str(fields) for _, _, fields in r.log.lines]
                + [row.last_reply + row.recipient for row in rows]
                + [repr(hop.commands)]
            )
            said += [octets.decode() for octets in await r.inbox(bob)]
            assert not any("\rRCPT" in text or "\nRCPT TO:evil" in text for text in said)

    asyncio.run(main())


@pytest.mark.parametrize("level", ["require", "encrypt"])
def test_tls_downgrade_starttls_stripped(relay, sink, level):
    async def main():
        async with relay(ZONES, tls_policies={"Dest.TEST": level}) as r, sink(r, "127.0.0.2") as hop:
            await r.queue("x@dest.test")
            [row] = await r.settled()
            assert row.last_reply == "451 4.4.1 the next hop does not offer TLS"
            assert hop.count == 0

    asyncio.run(main())


@pytest.mark.parametrize("level", ["require", "encrypt"])
@pytest.mark.parametrize("trouble", ["STARTTLS", "TLS"])
def test_tls_downgrade_starttls_broken(relay, sink, authority, level, trouble):
    trust, context = authority

    async def main():
        tls = context("mx1.dest.test")
        async with relay(ZONES, trust=trust, tls_policies={"dest.test": level}) as r, sink(r, "127.0.0.2", tls=tls) as hop:
            hop.answer(trouble, "454 4.7.0 TLS not available")
            await r.queue("x@dest.test")
            [row] = await r.settled()
            assert row.last_reply.startswith("451 4.4.1 ")
            assert hop.count == 0

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_tls_downgrade_old_versions_are_no_tls(relay, sink, authority):
    """TLS 1.1 and older are not spoken; where TLS may fail the mail goes in clear, which protects no less (RFC 8996, RFC 7435)."""
    trust, context = authority
    tls = context("mx1.dest.test")
    tls.set_ciphers("ALL:@SECLEVEL=0")
    tls.minimum_version = ssl.TLSVersion.TLSv1
    tls.maximum_version = ssl.TLSVersion.TLSv1_1

    async def main(level, count):
        async with relay(ZONES, trust=trust, tls_policies={"dest.test": level}) as r, sink(r, "127.0.0.2", tls=tls) as hop:
            await r.queue("x@dest.test")
            await r.settled()
            assert [m.secure for m in hop.messages] == [False] * count

    asyncio.run(main("encrypt", 0))
    asyncio.run(main("may", 1))


def test_tls_downgrade_what_is_said_in_clear_before_tls_is_not_believed(relay):
    """RFC 3207 §6: replies that were slipped in behind the answer to STARTTLS end the connection."""

    async def main():
        async def serve(reader, writer):
            writer.write(b"220 x\r\n")
            await reader.readline()
            writer.write(b"250-x\r\n250 STARTTLS\r\n")
            await reader.readline()
            writer.write(b"220 go\r\n250-x\r\n250 AUTH PLAIN\r\n")
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        policies = {"127.0.0.1": "require"}
        async with relay(routes={"dest.test": f"smtp://127.0.0.1:{port}"}, tls_policies=policies) as r:
            await r.queue("x@dest.test")
            [row] = await r.settled()
            assert row.last_reply == "451 4.4.1 something was sent before TLS"
        server.close()

    asyncio.run(main())


def test_a_next_hop_that_talks_without_end_is_left(relay):
    async def main():
        async def serve(reader, writer):
            writer.write(b"220-" + b"x" * 100_000)
            with contextlib.suppress(ConnectionError):
                while not writer.is_closing():
                    writer.write(b"220-more\r\n" * 1000)
                    await writer.drain()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with relay(routes={"dest.test": f"smtp://127.0.0.1:{port}"}) as r, Sink() as sink:
            await r.queue("x@dest.test")
            [row] = await r.settled()
            assert row.last_reply.startswith(("451 4.4.1 reply ", "451 4.4.1 no SMTP reply: 220-xxx"))
            assert sink.count == 0
        server.close()

    asyncio.run(main())
