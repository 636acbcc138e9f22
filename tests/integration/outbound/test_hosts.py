"""Which host gets the mail: MX order and fall-back, implicit and null MX, loops, DNS trouble."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

ZONES = """
dest.test      MX 10 mx1.dest.test.
dest.test      MX 20 mx2.dest.test.
mx1.dest.test  A  127.0.0.2
mx2.dest.test  A  127.0.0.3
bare.test      A  127.0.0.2
null.test      MX 0 .
self.test      MX 10 mx.here.test.
self.test      MX 20 mx1.dest.test.
backup.test    MX 10 mx1.dest.test.
backup.test    MX 20 mx.here.test.
dangling.test  MX 10 nowhere.test.
hosts.test     A  127.0.0.7
hosts.test     A  127.0.0.2
"""


def test_best_preference_first(relay, sink):
    async def main():
        async with relay(ZONES) as r, sink(r, "127.0.0.2") as one, sink(r, "127.0.0.3") as two:
            await r.queue("x@dest.test")
            assert await r.settled() == []
            assert (one.count, two.count) == (1, 0)
            assert one.messages[0].octets.startswith(b"From: bob")
            assert one.messages[0].octets.endswith(b"\r\n\r\n.dot\r\nbody\r\n")
            assert one.messages[0].mail.startswith("MAIL FROM:<bob@here.test> SIZE=")

    asyncio.run(main())


@pytest.mark.parametrize("trouble", ["closed", "CONNECT", "EHLO", "greeting", "MAIL", "RCPT", "DATA"])
def test_next_host_when_the_best_is_in_trouble(relay, sink, trouble):
    async def main():
        async with relay(ZONES) as r, sink(r, "127.0.0.3") as two:
            one = sink(r, "127.0.0.2")
            if trouble == "greeting":
                one.answer("CONNECT", "421 4.3.2 too busy")
            elif trouble != "closed":
                one.drop(trouble)
            if trouble != "closed":
                await one.start()
            await r.queue("x@dest.test")
            assert await r.settled() == []
            assert (one.count, two.count) == (0, 1)
            await one.stop()

    asyncio.run(main())


def test_implicit_mx_and_next_address(relay, sink):
    async def main():
        async with relay(ZONES) as r, sink(r, "127.0.0.2") as one:
            await r.queue("x@bare.test", "y@hosts.test")
            assert await r.settled() == []
            assert one.count == 2

    asyncio.run(main())


@pytest.mark.parametrize(
    ("address", "status"),
    [("x@null.test", "5.1.10"), ("x@nowhere.test", "5.1.2"), ("x@self.test", "5.4.6"), ("x@dangling.test", "5.1.2")],
)
def test_domains_that_take_no_mail_bounce_at_once(relay, sink, address, status):
    async def main():
        async with relay(ZONES) as r:
            bob = await r.user("bob@here.test")
            await r.queue(address)
            assert await r.settled() == []
            [report] = await r.inbox(bob)
            assert f"\r\nStatus: {status}\r\n".encode() in report
            assert f"\r\nFinal-Recipient: rfc822; {address}\r\n".encode() in report

    asyncio.run(main())


def test_as_backup_we_deliver_to_better_hosts_only(relay, sink):
    async def main():
        async with relay(ZONES) as r, sink(r, "127.0.0.2") as one:
            await r.queue("x@backup.test")
            assert await r.settled() == []
            assert one.count == 1

    asyncio.run(main())


def test_a_host_that_greets_with_our_name_is_a_loop(relay, sink):
    async def main():
        async with relay(ZONES) as r, sink(r, "127.0.0.2", hostname="MX.here.test"):
            bob = await r.user("bob@here.test")
            await r.queue("x@bare.test")
            assert await r.settled() == []
            assert b"Status: 5.4.6" in (await r.inbox(bob))[0]

    asyncio.run(main())


@pytest.mark.parametrize("fault", ["servfail", "timeout"])
def test_dns_trouble_defers_and_never_bounces(relay, sink, fault):
    async def main():
        async with relay(ZONES) as r, sink(r, "127.0.0.2") as one:
            r.dns.misbehave("*", fault)
            await r.queue("x@dest.test")
            [row] = await r.settled()
            assert row.last_reply.startswith("451 4.4.3")
            r.dns.misbehave("*", None)
            assert await r.later(120) == []
            assert one.count == 1

    asyncio.run(main())


@pytest.mark.parametrize("way", ["routes", "smarthost"])
@pytest.mark.parametrize("best", ["works", "refuses"])
def test_the_mail_servers_of_another_domain(relay, sink, way, best):
    """Preference and fall-back as if the mail were for that domain."""

    async def main():
        config = {"routes": {"far.test": "mx:dest.test"}} if way == "routes" else {"relay": {"smarthost": "mx:dest.test"}}
        async with relay(ZONES, **config) as r, sink(r, "127.0.0.2") as one, sink(r, "127.0.0.3") as two:
            if best == "refuses":
                one.answer("CONNECT", "554 5.3.2 no")
            await r.queue("x@far.test")
            assert await r.settled() == []
            assert (one.count, two.count) == ((1, 0) if best == "works" else (0, 1))

    asyncio.run(main())


@pytest.mark.parametrize("url", ["mx:null.test", "mx:nowhere.test", "mx:self.test", "smtp://nowhere.test"])
def test_a_mistake_in_a_route_bounces_nothing(relay, url):
    async def main():
        async with relay(ZONES, routes={"far.test": url}) as r:
            bob = await r.user("bob@here.test")
            await r.queue("x@far.test")
            [row] = await r.settled()
            assert row.last_reply.startswith("451 4.3.5 the next hop of a route cannot be used: ")
            assert await r.inbox(bob) == []

    asyncio.run(main())
