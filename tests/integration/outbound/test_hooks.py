"""Hooks of the queue: what a plugin makes of an attempt, with real sinks at the other end."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from dataclasses import replace

import pytest

from mta.model.address import Address
from mta.model.directory import Alias, Domain
from mta.model.message import QueuedRecipient
from mta.testing.sink import Sink
from mta_hooks import Attempt, DeliveryPolicy, Envelope, Verdict, accept, defer, hold, hookimpl, redirect, reject
from mta_hooks.backends.queue import QueueFilter

DAY = 86400.0


def run(relay, body, *, plugins=(), sink=None, **config):
    async def main():
        async with sink or Sink() as hop:
            config.setdefault("routes", dict.fromkeys(("dest.test", "other.test"), f"smtp://127.0.0.1:{hop.port}"))
            async with relay(plugins=plugins, **config) as r:
                bob = await r.user("bob@here.test")
                return await body(r, hop, bob)

    return asyncio.run(main())


def gate(answer, seen=None):
    @hookimpl
    def delivery_attempt(envelope, attempt):
        if seen is not None:
            seen.append((envelope, attempt))
        return answer(attempt) if callable(answer) else answer

    return delivery_attempt


# ---- delivery_attempt


def test_an_attempt_is_shown_with_its_envelope(relay):
    seen = []

    async def body(r, sink, _bob):
        sink.answer("RCPT", "450 4.2.1 busy", times=1, match="x@")
        intake = await r.queue("x@dest.test", "y@dest.test", user="bob@here.test")
        [row] = await r.settled()
        assert row.recipient == "x@dest.test"
        await r.later(70)
        assert sink.count == 2
        x, y = Address("x", "dest.test"), Address("y", "dest.test")
        site = f"smtp:127.0.0.1:{sink.port}"
        bob = Address("bob", "here.test")
        first = Envelope(intake.id, bob, (x, y), "submission", intake.received_at, 0, "bob@here.test")
        assert seen == [
            (first, Attempt(1, site, "smtp")),
            (replace(first, recipients=(x,), attempts=1), Attempt(2, site, "smtp", "450 4.2.1 busy")),
        ]

    run(relay, body, plugins=[gate(None, seen)])


@pytest.mark.parametrize("answer", [None, accept("fine")])
def test_no_opinion_and_accept_go_on(relay, answer):
    async def body(r, sink, _bob):
        await r.queue("x@dest.test")
        assert await r.settled() == []
        assert sink.count == 1

    run(relay, body, plugins=[gate(answer)])


@pytest.mark.parametrize(("delay", "least", "most"), [(7000.0, 6990, 7000), (None, 50, 70)])
def test_defer_puts_off_without_connecting(relay, delay, least, most):
    async def body(r, sink, bob):
        await r.queue("x@dest.test")
        [row] = await r.settled()
        assert len(sink.commands) == 0
        assert row.attempts == 1
        assert row.last_reply == "451 4.7.1 paused"
        assert least <= row.due - r.clock.now() <= most
        await r.later(row.due - r.clock.now() + 1)
        assert sink.count == 1
        assert await r.inbox(bob) == []

    run(relay, body, plugins=[gate(lambda attempt: defer("paused", delay=delay) if attempt.number == 1 else None)])


def test_who_is_put_off_for_ever_expires(relay):
    async def body(r, sink, bob):
        await r.queue("x@dest.test")
        for _ in range(3):
            await r.settled()
            await r.later(3 * DAY)
        assert await r.settled() == []
        assert len(sink.commands) == 0
        assert b"451 4.7.1 paused" in (await r.inbox(bob))[-1]

    run(relay, body, plugins=[gate(defer("paused", delay=60))])


def test_reject_is_a_bounce(relay):
    async def body(r, sink, bob):
        await r.queue("x@dest.test", "y@dest.test")
        assert await r.settled() == []
        assert len(sink.commands) == 0
        [report] = await r.inbox(bob)
        assert report.count(b"Status: 5.7.9") == 2
        assert b"Diagnostic-Code: smtp; 550 5.7.9 not there" in report

    run(relay, body, plugins=[gate(reject("not\r\nthere", enhanced="5.7.9"))])


def test_hold_waits_for_release_and_tells_nobody(relay):
    async def body(r, sink, bob):
        await r.queue(QueuedRecipient(Address("x", "dest.test"), "remote", notify=frozenset({"SUCCESS", "FAILURE"})))
        [row] = await r.settled()
        assert (row.state, row.attempts) == ("held", 0)
        assert row.hold == "held by delivery_attempt: look at it"
        assert (len(sink.commands), await r.inbox(bob)) == (0, [])
        sink.answer("RCPT", "450 4.2.1 busy", times=1)
        assert await r.db.queue.release(QueueFilter(everything=True), now=r.clock.now()) == 1
        r.runner.wake()
        [row] = await r.settled()
        assert (row.state, row.last_reply) == ("waiting", "450 4.2.1 busy")
        [row] = await r.later(70)
        assert row.state == "held"

    run(relay, body, plugins=[gate(hold("look at it"))])


def test_redirect_goes_to_others_with_the_same_sender(relay):
    def answer(attempt):
        return redirect("z@other.test", "bob@here.test") if attempt.site == "dest.test" else None

    async def body(r, sink, bob):
        await r.queue("x@dest.test", "y@dest.test", sender="ann@else.test")
        assert await r.settled() == []
        [message] = sink.messages
        assert [line.split()[1] for line in message.rcpts] == ["TO:<z@other.test>"]
        assert message.mail.startswith("MAIL FROM:<ann@else.test>")
        assert message.octets.startswith(b"Received: by mx.here.test id ")
        assert message.octets.endswith(
            b"From: bob@here.test\r\nSubject: hello\r\nMessage-ID: <m1@here.test>\r\n\r\n.dot\r\nbody\r\n"
        )
        [mine] = await r.inbox(bob)
        assert b"Subject: hello" in mine

    async def main():
        async with Sink() as hop, relay(plugins=[gate(answer)], routes={"other.test": f"smtp://127.0.0.1:{hop.port}"}) as r:
            await body(r, hop, await r.user("bob@here.test"))

    asyncio.run(main())


def test_redirects_that_go_round_end(relay):
    async def body(r, sink, bob):
        await r.queue("x@dest.test")
        assert await r.settled() == []
        assert len(sink.commands) == 0
        assert b"5.4.6 too many hops" in (await r.inbox(bob))[0]

    @hookimpl
    def delivery_attempt(envelope):
        return redirect("x@other.test" if envelope.recipients[0].domain == "dest.test" else "x@dest.test")

    run(relay, body, plugins=[delivery_attempt], limits={"received": 10})


def test_mail_redirected_for_an_address_of_ours_goes_round_once(relay):
    """A relay domain's address is redirected to a forwarder, who sends it back; another is an alias that leads there."""

    async def body(r, sink, bob):
        await r.db.directory.add_domain(Domain("dest.test", "relay"))
        await r.db.directory.add_alias(Alias("fwd@here.test", ("z@other.test",)))
        await r.queue("x@dest.test", sender="bob@here.test")
        assert await r.settled() == []
        [gone] = sink.messages
        assert gone.rcpts[0].split()[1] == "TO:<z@other.test>"
        assert gone.octets.startswith(b"Delivered-To: fwd@here.test\r\nDelivered-To: x@dest.test\r\nReceived: by mx.here.test id ")
        assert await r.inbox(bob) == []
        await r.queue("x@dest.test", octets=gone.octets, skip=0)
        assert await r.settled() == []
        assert sink.count == 1
        [told] = await r.inbox(bob)
        assert b"554 5.4.6 mail forwarding loop" in told
        await r.queue("x@dest.test", "y@dest.test")
        assert await r.settled() == []
        assert sink.messages[1].octets.startswith(b"Received:"), "of several none is named: the header is one for all"

    @hookimpl
    def delivery_attempt(envelope):
        return redirect("fwd@here.test") if envelope.recipients[0].domain == "dest.test" else None

    run(relay, body, plugins=[delivery_attempt])


def test_mail_redirected_for_strangers_names_them_to_nobody(relay):
    async def body(r, sink, _bob):
        await r.queue("x@dest.test")
        assert await r.settled() == []
        assert b"Delivered-To" not in sink.messages[0].octets, "who gets it may send it on to them, and they know this field, too"

    @hookimpl
    def delivery_attempt(envelope):
        return redirect("z@other.test") if envelope.recipients[0].domain == "dest.test" else None

    run(relay, body, plugins=[delivery_attempt])


@pytest.mark.parametrize(
    ("target", "reply"), [("nobody@here.test", "550 5.1.1"), ("no address", "451 4.3.5")], ids=["unknown user", "no address"]
)
def test_a_redirect_to_nobody_keeps_the_recipient(relay, target, reply):
    async def body(r, sink, bob):
        await r.queue("x@dest.test")
        rows = await r.settled()
        told = rows[0].last_reply if rows else (await r.inbox(bob))[0].decode()
        assert reply in told
        assert len(sink.commands) == 0

    run(relay, body, plugins=[gate(redirect(target))])


def test_a_broken_gate_defers(relay):
    async def body(r, sink, _bob):
        await r.queue("x@dest.test")
        [row] = await r.settled()
        assert row.last_reply.startswith("451 4.3.0")
        assert len(sink.commands) == 0

    run(relay, body, plugins=[gate(lambda _: 1 / 0)])


def test_mailboxes_ask_no_gate(relay):
    async def body(r, _sink, bob):
        await r.queue(QueuedRecipient(Address("bob", "here.test"), "local", bob.id))
        assert await r.settled() == []
        assert len(await r.inbox(bob)) == 1

    run(relay, body, plugins=[gate(reject("no"))])


@pytest.mark.parametrize("delay", [-1, 1e9, float("nan"), "soon"])
def test_a_senseless_delay_is_a_plugins_error(relay, delay):
    async def body(r, sink, _bob):
        await r.queue("x@dest.test")
        [row] = await r.settled()
        assert row.last_reply.startswith("451 4.3.0")
        assert r.log.named("plugin.bad_verdict")
        assert len(sink.commands) == 0

    run(relay, body, plugins=[gate(replace(defer("x"), delay=delay))])


def test_a_delay_crosses_as_json():
    assert Verdict.from_json(defer("x", delay=5).to_json()) == defer("x", delay=5)


# ---- delivery_policy


def policy(answer, seen=None):
    @hookimpl
    def delivery_policy(envelope, site):
        if seen is not None:
            seen.append((envelope.recipients, site))
        return answer

    return delivery_policy


def test_a_policy_sets_the_waits_and_the_lifetime(relay):
    seen = []

    async def body(r, sink, bob):
        sink.answer("RCPT", "450 4.2.1 busy")
        await r.queue("x@dest.test", "y@dest.test")
        for wait in (500, 2000):
            row, _ = await r.settled()
            assert 0.89 * wait <= row.due - r.clock.now() <= 1.11 * wait
            await r.later(1.2 * wait)
        assert await r.later(3600) == []
        [report] = await r.inbox(bob)
        assert report.count(b"Status: 5.4.7") == 2
        assert seen[0] == ((Address("x", "dest.test"), Address("y", "dest.test")), f"smtp:127.0.0.1:{sink.port}")
        assert len(seen) == 4

    run(relay, body, plugins=[policy(DeliveryPolicy(retry=(500, 2000), lifetime=3600, delay_warning=0), seen)])


def test_a_policy_sets_when_the_sender_is_warned(relay):
    async def body(r, sink, bob):
        sink.answer("RCPT", "450 4.2.1 busy")
        await r.queue("x@dest.test")
        await r.settled()
        await r.later(70)
        [warning] = await r.inbox(bob)
        assert b"Action: delayed" in warning

    run(relay, body, plugins=[policy(DeliveryPolicy(delay_warning=30))])


@pytest.mark.parametrize(("most", "expected"), [(1, 1), (3, 3), (None, 5)])
def test_a_policy_bounds_the_connections_of_a_site(relay, most, expected):
    async def body(r, sink, _bob):
        sink.answer("RCPT", "250 ok", delay=0.02)
        for n in range(40):  # a connection is worth its while when four wait for each
            await r.queue(f"x{n}@dest.test")
        assert await r.settled() == []
        assert (sink.count, len(sink.commands)) == (40, expected)

    run(relay, body, plugins=[policy(DeliveryPolicy(concurrency=most))], queue={"concurrency_per_destination": 5})


@pytest.mark.parametrize(
    "answer",
    [DeliveryPolicy(concurrency=0), DeliveryPolicy(retry=()), DeliveryPolicy(retry=(0,)), DeliveryPolicy(lifetime=-1), "no"],
)
def test_a_senseless_policy_is_passed_over(relay, answer):
    async def body(r, sink, _bob):
        await r.queue("x@dest.test")
        assert await r.settled() == []
        assert sink.count == 1
        assert r.log.named("plugin.bad_verdict")

    run(relay, body, plugins=[policy(answer)])


def test_a_policy_that_must_be_known_defers(relay):
    @hookimpl(on_error="defer")
    def delivery_policy():
        raise RuntimeError

    async def body(r, sink, _bob):
        await r.queue("x@dest.test")
        [row] = await r.settled()
        assert row.last_reply.startswith("451 4.3.0")
        assert len(sink.commands) == 0
        assert (await r.db.queue.list(QueueFilter(everything=True), now=r.clock.now()))[0].attempts == 1

    run(relay, body, plugins=[delivery_policy])


def test_a_policy_sets_how_many_recipients_go_together(relay):
    async def body(r, sink, _bob):
        await r.queue("x@dest.test", "y@dest.test", "z@dest.test")
        assert await r.settled() == []
        assert [line.split()[0] for session in sink.commands for line in session].count("MAIL") == 2

    run(relay, body, plugins=[policy(DeliveryPolicy(recipients=2))])
