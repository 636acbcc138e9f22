"""Hooks on the way to a next hop: which hosts, how safe, and what its refusals mean."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from dataclasses import replace

import pytest

from mta.model.address import Address
from mta.testing.sink import Sink
from mta_hooks import DeliveryStatus, hookimpl


def run(relay, body, *, plugins=(), sink=None, **config):
    async def main():
        async with sink or Sink() as hop:
            config.setdefault("routes", dict.fromkeys(("dest.test", "other.test"), f"smtp://127.0.0.1:{hop.port}"))
            async with relay(plugins=plugins, **config) as r:
                bob = await r.user("bob@here.test")
                return await body(r, hop, bob)

    return asyncio.run(main())


# ---- mx_lookup, tls_policy

ZONES = """
dest.test      MX 10 mx1.dest.test.
mx1.dest.test  A  127.0.0.2
mx2.dest.test  A  127.0.0.3
bare.test      A  127.0.0.2
self.test      MX 10 mx.here.test.
"""


def lookup(answer, seen=None):
    @hookimpl
    def mx_lookup(domain, envelope):
        if seen is not None:
            seen.append((domain, envelope.recipients))
        return answer() if callable(answer) else answer

    return mx_lookup


@pytest.mark.parametrize(
    ("answer", "first", "second"),
    [
        (["MX2.dest.test."], 0, 1),
        (["nowhere.test", "mx2.dest.test", "mx1.dest.test"], 0, 1),
        (["[127.0.0.3]"], 0, 1),
        (None, 1, 0),
    ],
)
def test_hosts_of_a_plugin_come_before_dns(relay, sink, answer, first, second):
    seen = []

    async def main():
        async with relay(ZONES, plugins=[lookup(answer, seen)]) as r, sink(r, "127.0.0.2") as one, sink(r, "127.0.0.3") as two:
            await r.queue("x@dest.test")
            assert await r.settled() == []
            assert (one.count, two.count) == (first, second)
            await r.queue("y@dest.test")  # over the same connection: nothing is looked up
            assert await r.settled() == []
            assert seen == [("dest.test", (Address("x", "dest.test"),))]

    asyncio.run(main())


def test_a_plugin_knows_hosts_of_a_domain_that_dns_does_not_know(relay, sink):
    async def main():
        async with relay(ZONES, plugins=[lookup(["mx1.dest.test"])]) as r, sink(r, "127.0.0.2") as one:
            await r.queue("x@internal.test")
            assert await r.settled() == []
            assert one.count == 1

    asyncio.run(main())


def test_hosts_that_are_ourselves_loop_and_bounce(relay, sink):
    async def main():
        async with relay(ZONES, plugins=[lookup(["mx1.dest.test"])]) as r, sink(r, "127.0.0.2", hostname="mx.here.test") as one:
            bob = await r.user("bob@here.test")
            await r.queue("x@dest.test")
            assert await r.settled() == []
            assert one.count == 0
            assert b"5.4.6" in (await r.inbox(bob))[0]

    asyncio.run(main())


@pytest.mark.parametrize("answer", [lambda: 1 / 0, [], ["a b"], [""], ["mx\r\nRCPT"], "mx1.dest.test", ["[::1"]])
def test_a_broken_lookup_defers(relay, sink, answer):
    async def main():
        async with relay(ZONES, plugins=[lookup(answer)]) as r, sink(r, "127.0.0.2") as one:
            await r.queue("x@dest.test")
            [row] = await r.settled()
            assert row.last_reply == "451 4.4.3 the mail servers of dest.test are not known for now"
            assert one.commands == []

    asyncio.run(main())


def test_a_named_next_hop_is_not_looked_up(relay):
    seen = []

    async def body(r, sink, _bob):
        await r.queue("x@dest.test")
        assert await r.settled() == []
        assert (sink.count, seen) == (1, [])

    @hookimpl
    def tls_policy():
        seen.append("tls")

    run(relay, body, plugins=[lookup(["elsewhere.test"], seen), tls_policy])


def level(answer, seen=None):
    @hookimpl
    def tls_policy(domain, mx):
        if seen is not None:
            seen.append((domain, mx))
        return answer() if callable(answer) else answer

    return tls_policy


@pytest.mark.parametrize(("answer", "secure"), [(None, True), ("may", True), ("encrypt", True), ("none", False)])
def test_the_level_is_that_of_the_plugin(relay, sink, authority, answer, secure):
    trust, context = authority
    seen = []

    async def main():
        plugins, tls = [level(answer, seen)], context("mx1.dest.test")
        async with relay(ZONES, plugins=plugins, trust=trust) as r, sink(r, "127.0.0.2", tls=tls) as one:
            await r.queue("x@dest.test")
            assert await r.settled() == []
            assert one.messages[0].secure is secure
            assert seen == [("dest.test", "mx1.dest.test")]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "offered", "reply"),
    [
        ("encrypt", None, "451 4.4.1 the next hop does not offer TLS"),
        ("encrypt", "other.test", "451 4.4.1 "),
        (lambda: 1 / 0, "mx1.dest.test", "451 4.4.1 the TLS policy for mx1.dest.test is not known for now"),
        ("always", "mx1.dest.test", "451 4.4.1 the TLS policy for mx1.dest.test is not known for now"),
    ],
    ids=["not offered", "wrong certificate", "error", "no level"],
)
def test_what_is_not_safe_enough_waits(relay, sink, authority, answer, offered, reply):
    trust, context = authority

    async def main():
        plugins, tls = [level(answer)], offered and context(offered)
        async with relay(ZONES, plugins=plugins, trust=trust) as r, sink(r, "127.0.0.2", tls=tls) as one:
            await r.queue("x@dest.test")
            [row] = await r.settled()
            assert row.last_reply.startswith(reply)
            assert one.count == 0

    asyncio.run(main())


# ---- delivery_status


def status(answer, seen=None):
    @hookimpl
    def delivery_status(envelope, recipient, status):
        if seen is not None:
            seen.append((envelope.recipients, recipient, status))
        return answer(status)

    return delivery_status


def test_a_refusal_for_good_becomes_one_for_now(relay):
    seen = []

    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.7.1 greylisted", times=1, match="x@")
        await r.queue("x@dest.test", "y@dest.test")
        [row] = await r.settled()
        assert (row.recipient, row.last_reply) == ("x@dest.test", "450 4.7.1 greylisted")
        assert 590 < row.due - r.clock.now() <= 600
        x = Address("x", "dest.test")
        assert seen == [((x,), x, DeliveryStatus(550, "5.7.1", "greylisted", f"127.0.0.1[127.0.0.1]:{sink.port}"))]
        await r.later(601)
        assert sink.count == 2
        assert await r.inbox(bob) == []

    run(relay, body, plugins=[status(lambda said: replace(said, code=450, enhanced="4.7.1", delay=600), seen)])


def test_a_refusal_for_now_becomes_one_for_good(relay):
    async def body(r, sink, bob):
        sink.answer("RCPT", "452 mailbox full")
        await r.queue("x@dest.test")
        assert await r.settled() == []
        [report] = await r.inbox(bob)
        assert b"Diagnostic-Code: smtp; 552 5.2.2 mailbox full" in report

    run(relay, body, plugins=[status(lambda said: replace(said, code=552, enhanced="5.2.2"))])


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: None,
        lambda _: 1 / 0,
        lambda said: replace(said, code=250),
        lambda said: replace(said, enhanced="4.1.1"),
        lambda said: replace(said, remote="else[192.0.2.1]:25"),
        lambda said: replace(said, text="x" * 2000),
        lambda said: replace(said, delay=-1),
    ],
    ids=["nothing", "error", "success", "other class", "other host", "long", "negative delay"],
)
def test_what_may_not_be_said_is_passed_over(relay, answer):
    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.1.1 no such user", match="x@")
        await r.queue("x@dest.test", "y@dest.test")
        assert await r.settled() == []
        [report] = await r.inbox(bob)
        assert b"Diagnostic-Code: smtp; 550 5.1.1 no such user" in report
        assert sink.count == 1

    run(relay, body, plugins=[status(answer)])


def test_a_status_that_must_be_understood_defers(relay):
    @hookimpl(on_error="defer")
    def delivery_status():
        raise RuntimeError

    async def body(r, sink, _bob):
        sink.answer("RCPT", "550 5.1.1 no such user", match="x@")
        await r.queue("x@dest.test", "y@dest.test")
        [row] = await r.settled()
        assert (row.recipient, row.last_reply) == ("x@dest.test", "451 4.3.0 not understood for now: 550 5.1.1 no such user")
        assert sink.count == 1

    run(relay, body, plugins=[delivery_status])
