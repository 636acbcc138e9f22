"""The queue over time: retries, warnings, expiry, reports, dead destinations, concurrency, crashes, local rows, hooks."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import email
import email.policy
import time

import pytest

from mta.dispatch import runner, sites
from mta.model.address import Address
from mta.model.delivery import RESOLVE
from mta.model.directory import Alias
from mta.model.message import QueuedRecipient
from mta.testing.server import free_port
from mta.testing.sink import Rule, Sink
from mta_hooks import Deferred, Delivered, Failed, Route, hookimpl
from mta_hooks.backends.queue import QueueFilter

DAY = 86400.0
EVERYTHING = QueueFilter(everything=True)


def run(relay, body, *, plugins=(), sink=None, data=None, **config):
    async def main():
        async with sink or Sink() as hop:
            config.setdefault("routes", {"dest.test": f"smtp://127.0.0.1:{hop.port}"})
            async with relay(plugins=plugins, data=data, **config) as r:
                bob = await r.db.directory.user(Address("bob", "here.test")) or await r.user("bob@here.test")
                return await body(r, hop, bob)

    return asyncio.run(main())


# ---- time


def test_greylisting_is_outwaited_by_the_schedule(relay):
    async def body(r, sink, bob):
        sink.answer("RCPT", "450 4.7.1 greylisted", times=3)
        await r.queue("x@dest.test")
        for wait in (60, 300, 900):
            [row] = await r.settled()
            assert 0.89 * wait <= row.due - r.clock.now() <= 1.11 * wait
            await r.later(row.due - r.clock.now() - 1)
            assert sink.count == 0
            await r.later(1.5)
        assert sink.count == 1
        assert await r.inbox(bob) == []

    run(relay, body)


def test_one_delay_warning_then_expiry(relay):
    async def body(r, sink, bob):
        sink.answer("RCPT", "450 4.2.1 busy")
        await r.queue("x@dest.test")
        await r.settled()
        await r.later(DAY)
        await r.later(DAY)
        [warning] = await r.inbox(bob)
        assert b"Action: delayed" in warning
        assert b"Will-Retry-Until:" in warning
        assert await r.later(4 * DAY) == []
        report = (await r.inbox(bob))[1]
        assert b"Action: failed" in report
        assert b"Status: 5.4.7" in report
        assert b"450 4.2.1 busy" in report

    run(relay, body)


def test_a_jump_of_the_clock_expires_nothing(relay):
    async def body(r, sink, bob):
        sink.answer("RCPT", "450 4.2.1 busy")
        await r.queue("x@dest.test")
        await r.settled()
        for _ in range(5):
            r.clock.jump(3 * DAY)
            await r.later(0)
        [row] = await r.settled()
        assert row.attempts >= 5
        assert await r.inbox(bob) == []

    run(relay, body)


def test_a_clock_set_back_does_not_put_off_retries(relay):
    async def body(r, sink, bob):
        sink.answer("RCPT", "450 4.2.1 busy", times=1)
        await r.queue("x@dest.test")
        await r.settled()
        r.clock.jump(-DAY)
        await r.later(70)
        assert sink.count == 1

    run(relay, body)


def test_old_mail_has_three_attempts_before_it_expires(relay):
    async def body(r, sink, bob):
        sink.answer("RCPT", "450 4.2.1 busy")
        await r.queue("x@dest.test", received_at=r.clock.now() - 30 * DAY)
        for attempts in (1, 2):
            [row] = await r.settled()
            assert row.attempts == attempts
            await r.later(400)
        assert await r.settled() == []
        assert b"Status: 5.4.7" in (await r.inbox(bob))[-1]

    run(relay, body)


# ---- reports


def test_report_is_a_proper_dsn_in_the_senders_mailbox(relay):
    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.1.1 no such user")
        await r.queue("x@dest.test", envid="E1", ret="HDRS")
        assert await r.settled() == []
        [octets] = await r.inbox(bob)
        report = email.message_from_bytes(octets, policy=email.policy.default)
        assert octets.startswith(b"Return-Path: <>\r\n")
        assert report.get_content_type() == "multipart/report"
        assert report["To"] == "bob@here.test"
        assert report["Auto-Submitted"] == "auto-replied"
        text, status, header = report.iter_parts()
        assert "no such user" in text.get_content()
        fields = status.get_payload()
        assert fields[0]["Original-Envelope-Id"] == "E1"
        assert fields[1]["Final-Recipient"] == "rfc822; x@dest.test"
        assert fields[1]["Remote-MTA"] == "dns; 127.0.0.1"
        assert fields[1]["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
        assert header.get_content_type() == "text/rfc822-headers"
        assert "Subject: hello" in header.get_content()
        assert "Return-Path" not in header.get_content()

    run(relay, body)


def test_report_to_a_sender_elsewhere_is_relayed_from_the_null_sender(relay):
    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.1.1 no such user", match="x@")
        await r.queue("x@dest.test", sender="eve@dest.test")
        assert await r.settled() == []
        [message] = sink.messages
        assert message.mail.startswith("MAIL FROM:<> ")
        assert message.rcpts == ["RCPT TO:<eve@dest.test> NOTIFY=NEVER"]
        assert not message.octets.startswith(b"Return-Path")

    run(relay, body)


@pytest.mark.parametrize("notify", [{"NEVER"}, {"SUCCESS"}, {"DELAY"}])
def test_who_does_not_ask_for_failures_gets_none(relay, notify):
    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.1.1 no such user")
        await r.queue(QueuedRecipient(Address("x", "dest.test"), "remote", notify=frozenset(notify)))
        assert await r.settled() == []
        assert await r.inbox(bob) == []

    run(relay, body)


def test_nothing_is_reported_to_the_null_sender_or_to_nobody(relay):
    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.1.1 no such user")
        await r.queue("x@dest.test", sender=None)
        await r.queue("x@dest.test", sender="unknown@here.test")
        assert await r.settled() == []
        assert await r.inbox(bob) == []
        assert sink.count == 0
        assert len(r.log.named("dsn.no_such_sender")) == 1

    run(relay, body)


# ---- destinations


def test_dead_destination_defers_5000_rows_quickly(relay):
    async def main():
        async with Sink() as hop:
            routes = {"dead.test": f"smtp://127.0.0.1:{free_port()}", "dest.test": f"smtp://127.0.0.1:{hop.port}"}
            async with relay(routes=routes) as r:
                for n in range(50):
                    await r.queue(*(f"x{n}-{m}@dead.test" for m in range(100)))
                await r.queue("x@dest.test")
                started = time.monotonic()
                while (await r.db.queue.stats(now=r.clock.now()))["waiting"] < 5000:
                    assert time.monotonic() - started < 2.0
                    await asyncio.sleep(0.02)
                rows = await r.settled()
                assert {row.attempts for row in rows} == {1}
                assert {row.last_reply for row in rows} == {"451 4.4.1 connection refused"}
                assert len(r.log.named("outbound.unreachable")) <= 5
                assert hop.count == 1

    asyncio.run(main())


def test_destination_that_comes_back_gets_everything(relay):
    async def main():
        hop = Sink(port=free_port())
        async with relay(routes={"dest.test": f"smtp://127.0.0.1:{hop.port}"}) as r:
            for n in range(300):
                await r.queue(f"x{n}@dest.test")
            assert len(await r.settled()) == 300
            await r.queue("late@dest.test")  # while the site is left alone: deferred without a connection
            assert len(await r.settled()) == 301
            await hop.start()
            assert await r.later(70) == []
            assert hop.count == 301
            await hop.stop()

    asyncio.run(main())


def test_connection_limit_of_the_other_side_is_found_and_kept(relay):
    async def body(r, sink, bob):
        sink.answer("DOT", "", delay=0.01)
        for n in range(200):
            await r.queue(f"x{n}@dest.test")
        assert await r.settled() == []
        assert sink.count == 200
        refused = len(r.log.named("outbound.unreachable"))
        assert refused <= 4, refused

    class Limited(Sink):
        def rule(self, stage, line):
            if stage == "CONNECT" and self.open > 3:
                return Rule("CONNECT", "421 4.7.0 too many connections", 1, "", 0.0)
            return super().rule(stage, line)

    run(relay, body, sink=Limited(keep=False))


def test_concurrency_grows_to_its_limit_and_no_further(relay):
    async def body(r, sink, bob):
        sink.answer("DOT", "", delay=0.005)
        for n in range(600):
            await r.queue(f"x{n}@dest.test")
        assert await r.settled() == []
        assert 6 <= sink.most_open <= 8

    run(relay, body, queue={"concurrency_per_destination": 8})


def test_all_destinations_together_are_bounded_and_each_has_its_turn(relay):
    async def main():
        async with Sink() as hop:
            hop.answer("DOT", "", delay=0.002)
            routes = {f"d{n}.test": f"smtp://127.0.0.{n + 1}:{hop.port}" for n in range(12)}
            sinks = [Sink(host=f"127.0.0.{n + 1}", port=hop.port) for n in range(1, 12)]
            for one in sinks:
                one.answer("DOT", "", delay=0.002)
                await one.start()
            async with relay(routes=routes, queue={"concurrency": 4}) as r:
                for m in range(30):
                    await r.queue(*(f"x{m}@d{n}.test" for n in range(12)))
                assert await r.settled() == []
                assert hop.count + sum(one.count for one in sinks) == 360
                assert sum(one.most_open for one in [hop, *sinks]) >= 12
            for one in sinks:
                await one.stop()

    asyncio.run(main())


def test_a_slow_destination_does_not_hold_up_the_others(relay):
    async def main():
        async with Sink() as slow, Sink() as fast:
            slow.answer("CONNECT", "", delay=30.0)
            routes = {"slow.test": f"smtp://127.0.0.1:{slow.port}", "fast.test": f"smtp://127.0.0.1:{fast.port}"}
            async with relay(routes=routes) as r:
                for n in range(2500):
                    await r.queue(f"x{n}@slow.test")
                await asyncio.sleep(0.2)
                started = time.monotonic()
                await r.queue("x@fast.test")
                while fast.count == 0:
                    await asyncio.sleep(0.005)
                assert time.monotonic() - started < 0.5
                assert r.runner.in_hand <= 2000
                r.runner._lanes.cancel()

    asyncio.run(main())


def test_new_mail_leaves_at_once(relay):
    async def body(r, sink, bob):
        await asyncio.sleep(0.1)
        started = time.monotonic()
        await r.queue("x@dest.test")
        while sink.count == 0:
            await asyncio.sleep(0.001)
        assert time.monotonic() - started < 0.2

    run(relay, body)


# ---- crashes


def test_rows_of_a_dead_predecessor_are_delivered_at_once(relay):
    async def main():
        async with Sink() as hop:
            hop.answer("DATA", "", delay=30.0, times=1)
            routes = {"dest.test": f"smtp://127.0.0.1:{hop.port}"}
            first = relay(routes=routes)
            await first.__aenter__()
            await first.queue("x@dest.test", "y@dest.test")
            await asyncio.sleep(0.1)
            assert first.runner.in_hand == 2
            first.running.cancel()
            await first.tasks.close()
            async with relay(routes=routes, data=first.db.data) as r:
                assert await r.settled(timeout=5) == []
                assert hop.count == 1
                assert len(hop.messages[0].rcpts) == 2
            await first.dns.stop()

    asyncio.run(main())


def test_draining_gives_back_what_was_not_begun(relay):
    async def body(r, sink, bob):
        sink.answer("DOT", "", delay=0.2)
        for n in range(50):
            await r.queue(f"x{n}@dest.test")
        while sink.open < 2:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        await r.runner.drain(5.0)
        assert r.runner.in_hand == 0
        stats = await r.db.queue.stats(now=r.clock.now())
        assert stats["due"] == 50 - sink.count
        assert 0 < sink.count < 50
        assert stats["leased"] == 0

    run(relay, body, queue={"concurrency": 2})


# ---- here


def test_local_rows_go_into_the_mailbox_exactly_once(relay):
    async def body(r, sink, bob):
        await r.queue(QueuedRecipient(bob.address, "local", bob.id), sender="eve@dest.test")
        assert await r.settled() == []
        [octets] = await r.inbox(bob)
        assert octets.startswith(b"Return-Path: ")

    run(relay, body)


def test_local_row_without_mailbox_and_hook_fails(relay):
    async def body(r, sink, bob):
        await r.queue(QueuedRecipient(Address("gone", "here.test"), "local", None))
        assert await r.settled() == []
        assert b"Status: 5.1.1" in (await r.inbox(bob))[0]

    run(relay, body)


def test_full_mailbox_fails_alone(relay):
    async def body(r, sink, bob):
        eve, amy = await r.user("eve@here.test"), await r.user("amy@here.test")
        await r.db.directory.set_quota(eve.id, 10)
        await r.queue(QueuedRecipient(eve.address, "local", eve.id), QueuedRecipient(amy.address, "local", amy.id))
        assert await r.settled() == []
        assert len(await r.inbox(amy)) == 1
        [report] = await r.inbox(bob)
        assert b"Final-Recipient: rfc822; eve@here.test" in report
        assert b"Status: 5.2.2" in report

    run(relay, body)


def test_full_mailbox_of_the_sender_loses_only_the_report(relay):
    async def body(r, sink, bob):
        await r.db.directory.set_quota(bob.id, 10)
        sink.answer("RCPT", "550 5.1.1 no")
        await r.queue("x@dest.test")
        await r.queue(QueuedRecipient(bob.address, "local", bob.id))
        assert await r.settled() == []
        assert await r.inbox(bob) == []
        assert len(r.log.named("dsn.undeliverable")) == 2

    run(relay, body)


def test_success_report_for_a_mailbox(relay):
    async def body(r, sink, bob):
        eve = await r.user("eve@here.test")
        await r.queue(QueuedRecipient(eve.address, "local", eve.id, notify=frozenset({"SUCCESS"})))
        assert await r.settled() == []
        assert b"Action: delivered" in (await r.inbox(bob))[0]

    run(relay, body)


# ---- hooks


@pytest.mark.parametrize("answer", [Delivered(), Failed("no", "5.7.9"), Deferred("later", delay=5.0), None, RuntimeError("bug")])
def test_deliver_hook(relay, answer, tmp_path):
    seen = []

    @hookimpl
    async def deliver(recipient, sender, message):
        if recipient.local != "eve":
            return None
        seen.append((str(recipient), str(sender), message.raw, message.id))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def body(r, sink, bob):
        eve = await r.user("eve@here.test")
        intake = await r.queue(QueuedRecipient(eve.address, "local", eve.id))
        rows = await r.settled()
        assert seen[0][:2] == ("eve@here.test", "bob@here.test")
        assert seen[0][2].startswith(b"From: bob")
        assert seen[0][3] == intake.id
        assert len(await r.inbox(eve)) == (answer is None)
        if isinstance(answer, Failed):
            assert b"Status: 5.7.9" in (await r.inbox(bob))[0]
        elif isinstance(answer, Deferred):
            assert 4 <= rows[0].due - r.clock.now() <= 5
        elif isinstance(answer, Exception):
            assert rows[0].last_reply.startswith("451 4.3.0")
            assert rows[0].attempts == 1
        else:
            assert rows == []

    run(relay, body, plugins=[deliver], data_dir=str(tmp_path))


def test_big_message_for_a_hook_comes_from_a_file(relay, tmp_path):
    sizes = []

    @hookimpl
    def deliver(message):
        sizes.append((message.size, sum(len(c) for c in message.chunks())))
        return Delivered()

    async def body(r, sink, bob):
        octets = b"Subject: big\r\n\r\n" + b"x" * 3_000_000 + b"\r\n"
        await r.queue(QueuedRecipient(bob.address, "local", bob.id), octets=octets, skip=0)
        assert await r.settled() == []
        assert sizes == [(len(octets), len(octets))]

    run(relay, body, plugins=[deliver], data_dir=str(tmp_path), limits={"memory_per_message": 2**20})


def test_route_hook_decides_first(relay):
    @hookimpl
    def route(recipient):
        return Route("smtp", "127.0.0.1", PORT[0]) if recipient.local == "special" else None

    PORT = []

    async def body(r, sink, bob):
        PORT.append(sink.port)
        await r.queue("special@nowhere.test", "plain@nowhere.test")
        assert await r.settled() == []
        assert [m.rcpts for m in sink.messages] == [["RCPT TO:<special@nowhere.test>"]]
        assert b"Status: 5.1.2" in (await r.inbox(bob))[0]

    run(relay, body, plugins=[route])


def test_recipients_that_a_route_hook_sends_the_same_way_share_a_transaction(relay):
    @hookimpl
    def route(recipient):
        return Route("smtp", "127.0.0.1", PORT[0])

    PORT = []

    async def body(r, sink, bob):
        PORT.append(sink.port)
        many = [f"x{n}@d{n}.test" for n in range(130)]
        await r.queue("one@a.test")
        await r.queue(*many)
        await r.queue("two@b.test")
        assert await r.settled() == []
        assert (len(sink.messages), sum(len(m.rcpts) for m in sink.messages)) == (4, 132)

    run(relay, body, plugins=[route])


@pytest.mark.parametrize("answer", [Route("pipe", path="/bin/cat"), RuntimeError("bug"), "nonsense"])
def test_a_route_hook_that_cannot_be_followed_defers(relay, answer):
    @hookimpl
    def route(recipient):
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def body(r, sink, bob):
        await r.queue("x@dest.test")
        [row] = await r.settled()
        assert row.last_reply.startswith("451 4.3.")

    run(relay, body, plugins=[route])


def test_notifications_are_rows_of_the_outbox(relay):
    @hookimpl
    def delivered(record): ...

    @hookimpl
    def deferred(record): ...

    @hookimpl
    def bounced(record): ...

    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.1.1 no", match="bad@")
        sink.answer("RCPT", "450 4.2.1 later", match="slow@")
        await r.queue("good@dest.test", "bad@dest.test", "slow@dest.test", sender="eve@dest.test")
        await r.settled()
        rows = await r.db.outbox.lease("me", 100, 60, now=r.clock.now() + 1)
        told = {(row.hook, row.payload["recipient"]): row.payload for row in rows}
        assert set(told) == {
            ("delivered", "good@dest.test"),
            ("bounced", "bad@dest.test"),
            ("deferred", "slow@dest.test"),
            ("delivered", "eve@dest.test"),
        }
        late = told["deferred", "slow@dest.test"]
        assert late["reply"] == "450 4.2.1 later"
        assert late["attempts"] == 1
        assert late["next_attempt"] > r.clock.now()
        assert told["delivered", "good@dest.test"]["result"] == "relayed"

    run(relay, body, plugins=[delivered, deferred, bounced])


# ---- operators


def test_a_flush_dials_a_site_that_was_down(relay):
    async def body(r, sink, bob):
        await sink.stop()
        await r.queue("x@dest.test")
        [row] = await r.settled()
        assert row.last_reply.startswith("451 4.4.1")
        async with Sink(port=sink.port) as back:
            r.clock.turn(1)
            await r.db.queue.flush(EVERYTHING, now=r.clock.now())
            r.wake()
            [row] = await r.settled()
            assert (back.count, row.attempts) == (0, 2), "without the operator a site that is down costs no connection"
            await r.db.queue.flush(EVERYTHING, now=r.clock.now())
            r.runner.forgive()
            assert await r.settled() == []
            assert back.count == 1

    run(relay, body)


def test_an_operator_names_another_next_hop(relay):
    async def body(r, sink, bob):
        async with Sink() as other:
            await r.queue(QueuedRecipient(Address("x", "dest.test"), "remote", hold="wait"), "y@dest.test")
            [row] = await r.settled()
            assert await r.db.queue.reroute(EVERYTHING, f"smtp://127.0.0.1:{other.port}", now=r.clock.now()) == 1
            await r.db.queue.release(EVERYTHING, now=r.clock.now())
            assert await r.settled() == []
            assert (sink.count, other.count) == (1, 1)
            await r.queue(QueuedRecipient(Address("z", "dest.test"), "remote", route="carrier://pigeon"))
            [row] = await r.settled()
            assert row.last_reply.startswith("451 4.3.5 the next hop given by an operator cannot be used")

    run(relay, body)


def test_addresses_are_looked_up_again(relay):
    async def body(r, sink, bob):
        anew = {"route": RESOLVE, "notify": frozenset({"FAILURE"})}
        rows = [
            QueuedRecipient(Address(name, domain), "remote", **anew) for name, domain in (("bob", "here.test"), ("x", "dest.test"))
        ]
        await r.queue(*rows, QueuedRecipient(Address("gone", "here.test"), "remote", route=RESOLVE), id="OLD")
        assert await r.settled() == []
        mail = await r.inbox(bob)
        assert any(b"Subject: hello" in one and b"Received: by mx.here.test" in one for one in mail)
        assert any(b"550 5.1.1" in one and b"gone@here.test" in one for one in mail), "its sender hears of who is nobody"
        assert (len(mail), sink.count) == (2, 1)
        [record] = await r.db.traces.find("OLD")
        assert [step["result"] for step in record.steps if step.get("recipient") == "bob@here.test"] == ["expanded"]

    run(relay, body)


def test_an_alias_that_an_operator_looks_up_again_is_named_to_the_next_server(relay):
    async def body(r, sink, bob):
        await r.db.directory.add_alias(Alias("fwd@here.test", ("z@dest.test",)))
        row = QueuedRecipient(Address("fwd", "here.test"), "remote", route=RESOLVE)
        await r.queue(row)
        assert await r.settled() == []
        octets = sink.messages[0].octets
        assert octets.startswith(b"Delivered-To: fwd@here.test\r\nReceived: by mx.here.test")
        await r.queue(row, octets=octets, skip=0)
        assert await r.settled() == []
        assert sink.messages[1].octets.count(b"Delivered-To") == 1, "who wants that is no loop"
        assert await r.inbox(bob) == []

    run(relay, body)


# ---- deadlines, rates, and what nobody can be told


def test_mail_that_is_late_comes_back_or_is_told_of(relay):
    async def body(r, sink, bob):
        sink.keywords += ("DELIVERBY",)
        sink.answer("RCPT", "450 4.2.1 busy")
        by = {"deliver_by": r.clock.now() + 100, "received_at": r.clock.now()}
        await r.queue("strict@dest.test", by_mode="R", **by)
        await r.queue("told@dest.test", by_mode="N", **by)
        assert len(await r.settled()) == 2
        [row] = await r.later(101)
        assert row.recipient == "told@dest.test"
        first, second = sorted(await r.inbox(bob), key=lambda mail: b"strict@" not in mail)
        assert b"Action: failed" in first
        assert b"not delivered by the time that its sender gave" in first
        assert b"Action: delayed" in second
        sink.rules.clear()
        await r.queue("never@dest.test", by_mode="R", **by)
        await r.settled()
        assert sink.count == 0, "nobody is asked when it is too late"

    run(relay, body)


@pytest.mark.parametrize(
    ("mode", "keyword", "action"),
    [
        ("R", None, "failed"),  # RFC 2852 §4.2: not where nobody keeps the time
        ("R", "DELIVERBY", None),
        ("R", "DELIVERBY 50", None),
        ("R", "DELIVERBY 3600", "failed"),
        ("N", None, "relayed"),
        ("N", "DELIVERBY 3600", None),
        ("NT", "DELIVERBY", "relayed"),
    ],
)
def test_a_next_hop_that_does_not_keep_the_time(relay, mode, keyword, action):
    async def body(r, sink, bob):
        if keyword:
            sink.keywords += (keyword,)
        by = {"deliver_by": r.clock.now() + 100, "received_at": r.clock.now(), "by_mode": mode}
        await r.queue(
            "x@dest.test", QueuedRecipient(Address.parse("silent@dest.test"), "remote", notify=frozenset({"NEVER"})), **by
        )
        assert await r.settled() == []
        assert sink.count == (action != "failed")
        if sink.messages:
            assert (" BY=" in sink.messages[0].mail) is (keyword is not None)
        reports = await r.inbox(bob)
        assert [report.count(b"Action: ") for report in reports] == [1] * (action is not None), "NOTIFY=NEVER is obeyed"
        assert all(f"Action: {action}".encode() in report and b"x@dest.test" in report for report in reports)

    run(relay, body)


def test_mail_with_a_time_is_delivered_over_lmtp_as_ever(relay, tmp_path):
    """A server behind LMTP delivers at once: there is nothing left that could be late."""

    async def main():
        path = str(tmp_path / "lmtp")
        async with relay(routes={"dest.test": f"lmtp+unix:{path}"}) as r, Sink(path=path, lmtp=True) as hop:
            bob = await r.user("bob@here.test")
            await r.queue("x@dest.test", deliver_by=r.clock.now() + 100, by_mode="R")
            assert await r.settled() == []
            assert (hop.count, await r.inbox(bob)) == (1, [])

    asyncio.run(main())


def test_a_rate_spreads_what_goes_to_one_destination(relay):
    async def body(r, sink, bob):
        for n in range(10):
            await r.queue(f"x{n}@dest.test")
        rows = await r.settled()
        assert (sink.count, len(rows)) == (1, 9)
        assert {row.attempts for row in rows} == {0}, "it was no attempt"
        spread = [round(row.due - rows[0].due) for row in rows]
        assert spread == [30 * n for n in range(9)]
        assert len(await r.later(31)) == 8
        [record] = await r.db.traces.find(rows[0].id)
        assert len([step for step in record.steps if step["stage"] == "delivery"]) == 1, "waiting for a turn is no step"

    run(relay, body, queue={"rates": {"destination": "2/m"}, "jitter": 0})


def test_what_nobody_can_be_told_goes_to_the_postmaster_once(relay):
    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.1.1 no such user")
        await r.queue("x@dest.test", sender="")
        assert await r.settled() == []
        [mail] = await r.inbox(bob)
        assert b"x@dest.test" in mail
        assert b"To: <bob@here.test>" in mail
        await r.queue("y@dest.test", sender="gone@here.test")
        assert await r.settled() == []
        assert len(await r.inbox(bob)) == 2
        await r.queue("z@dest.test", sender="elsewhere@dest.test")  # its report is refused too
        assert await r.settled() == []
        assert len(await r.inbox(bob)) == 3

    run(relay, body, queue={"double_bounce": "bob@here.test"})


def test_double_bounces_loop_nowhere(relay):
    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.1.1 no such user")
        await r.queue("x@dest.test", sender="")
        assert await r.settled() == []
        assert len(r.log.named("dsn.double_bounce_dropped")) == 1
        assert await r.inbox(bob) == []

    run(relay, body, queue={"double_bounce": "postmaster@dest.test"})
    run(relay, body)


def test_a_flood_leaves_others_their_turn(relay, monkeypatch):
    """400 messages of one sender for a destination that takes fifty a second, then one of another sender."""
    for module in (sites, runner):
        monkeypatch.setattr(module, "FULL", 100)
    monkeypatch.setattr(sites, "CROWD", 50)
    monkeypatch.setattr(sites, "SLOW", 0.2)

    async def body(r, sink, bob):
        sink.answer("DOT", "", delay=0.02)
        for n in range(400):
            await r.queue(f"x{n}@dest.test")
        await asyncio.sleep(1.0)
        await r.queue("urgent@dest.test", sender="carol@here.test")
        async with asyncio.timeout(30):
            while not any("urgent" in message.rcpts[0] for message in list(sink.messages)):
                await asyncio.sleep(0.02)
            before = sink.count
            assert before < 200
            while sink.count < 401:
                await asyncio.sleep(0.05)
        assert sorted(row.recipient for row in await r.settled()) == []
        assert len({message.rcpts[0] for message in sink.messages}) == 401

    run(relay, body, queue={"concurrency_per_destination": 1})


ZONE = """
a.test MX 10 mx1.big.test.
b.test MX 10 mx2.big.test.
mx1.big.test A 127.0.0.1
mx2.big.test A 127.0.0.1
"""


def test_domains_on_one_mail_server_share_its_rule(relay):
    async def main():
        async with relay(ZONE, queue={"sites": {"*.big.test": {"concurrency": 1}}}) as r, Sink(port=r.port) as hop:
            hop.answer("DOT", "", delay=0.01)
            for domain in ("a.test", "b.test"):
                await r.queue(f"first@{domain}")
            assert await r.settled() == []
            hop.most_open = hop.open
            for n in range(25):
                await r.queue(f"x{n}@a.test")
                await r.queue(f"x{n}@b.test")
            assert await r.settled() == []
            assert (hop.count, hop.most_open) == (52, 1)

    asyncio.run(main())
