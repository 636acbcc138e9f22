"""``Queue``: leases, settling, operators' commands."""
# SPDX-License-Identifier: Apache-2.0

import dataclasses
from dataclasses import replace

import pytest

from mta.model.address import Address
from mta.model.delivery import ERROR_HOLD, Leased, Outcome, Trouble
from mta.model.errors import NoSuchUser, OverQuota
from mta.model.message import Flags, LocalDelivery, Notification, Placement, QueuedRecipient
from mta.testing.conformance.backend import NOW, Backend, arrive, intake, rows
from mta_hooks.backends import Database
from mta_hooks.backends.queue import QueueFilter

ALL = QueueFilter(everything=True)


def to(address: str, **more: object) -> QueuedRecipient:
    return QueuedRecipient(Address.parse(address), "remote", **more)  # type: ignore[arg-type]


async def lease(db: Database, limit: int = 100, *, now: float = NOW, owner: str = "me", **more: object) -> list[Leased]:
    return await db.queue.lease(owner, limit, 60.0, now=now, **more)  # type: ignore[arg-type]


def addresses(leased: list[Leased]) -> list[str]:
    return [str(one.address) for one in leased]


class QueueConformance:
    # ---- lease

    def test_where_it_goes_in_the_mailboxes_is_kept_with_the_row(self, backend: Backend) -> None:
        placed = Placement("Lists/\u00fc", Flags.SEEN | Flags.FLAGGED, frozenset({"$Junk", "a"}), ("x", "y/z"), drop=False)

        async def write(db: Database) -> None:
            user, _ = await arrive(db)
            rows = [QueuedRecipient(user.address, "local", user.id, placement=place) for place in (placed, None)]
            await db.spool.accept(intake(queued=rows))

        async def read(db: Database) -> None:
            assert {one.placement for one in await lease(db)} == {placed, None}

        backend.run(write, read)

    def test_what_was_queued_is_leased_with_all_its_fields(self, backend: Backend) -> None:
        recipient = to('"odd one"@Example.org', orcpt="rfc822;x+40y", notify=frozenset({"FAILURE", "DELAY"}))
        message = intake(
            queued=[recipient],
            octets=b"Return-Path: <>\r\nbody\r\n",
            skip=17,
            envid="e+20x",
            ret="HDRS",
            smtputf8=True,
            eightbit=True,
            message_id="<m@x>",
            user="u@x.test",
            sender=None,
        )

        async def write(db: Database) -> None:
            await db.spool.accept(message)
            assert backend.told.queued == 1

        async def read(db: Database) -> None:
            [one] = await lease(db)
            assert (one.address, one.transport, one.site) == (Address("odd one", "example.org"), "remote", "example.org")
            assert (one.orcpt, one.notify, one.user) == ("rfc822;x+40y", frozenset({"FAILURE", "DELAY"}), None)
            assert (one.attempts, one.due, one.last_reply, one.delay_warned) == (0, NOW, "", False)
            m = one.message
            assert (m.id, m.origin, m.sender, m.size, m.skip, m.received_at) == (message.id, "smtp", None, 23, 17, NOW)
            assert (m.envid, m.ret, m.smtputf8, m.eightbit, m.message_id, m.user) == (
                "e+20x",
                "HDRS",
                True,
                True,
                "<m@x>",
                "u@x.test",
            )
            assert await db.queue.content(m.blob, m.skip) == b"body\r\n"
            assert await db.queue.content(m.blob, 0, 6) == b"Return"

        backend.run(write, read)

    def test_a_local_row_knows_its_account_and_the_sender_its_quoting(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            local = QueuedRecipient(user.address, "local", user.id)
            for sender in (Address("a b", "x.test"), Address("a@b", "x.test"), Address("plain", "x.test")):
                await db.spool.accept(intake(queued=[local], sender=sender))
                [one] = await lease(db)
                assert (one.transport, one.site, one.user, one.message.sender) == ("local", "local", user.id, sender)

        backend.run(scenario)

    def test_oldest_due_first_up_to_the_limit(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            for due, name in ((NOW - 1, "c"), (NOW - 3, "a"), (NOW - 2, "b"), (NOW + 5, "later")):
                await db.spool.accept(intake(queued=[to(f"{name}@x.test", due=due)]))
            assert addresses(await lease(db, 2)) == ["a@x.test", "b@x.test"]
            assert addresses(await lease(db, 0)) == []
            assert addresses(await lease(db)) == ["c@x.test"]
            assert addresses(await lease(db)) == []
            assert addresses(await lease(db, now=NOW + 5)) == ["later@x.test"]

        backend.run(scenario)

    def test_nobody_else_gets_a_row_until_its_lease_ends(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await db.spool.accept(intake(queued=["a@x.test"]))
            [mine] = await lease(db)
            assert await lease(db, owner="other", now=NOW + 59.9) == []
            [theirs] = await lease(db, owner="other", now=NOW + 60)
            assert theirs.row == mine.row

        backend.run(scenario)

    def test_the_successor_of_a_dead_owner_has_its_rows_at_once(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await db.spool.accept(intake(queued=["a@x.test", "b@x.test", to("later@x.test", due=NOW + 5)]))
            [mine] = await lease(db, 1)
            [theirs] = await lease(db, 1, owner="other")
            assert await db.queue.reclaim("me") == 1
            assert await db.queue.reclaim("nobody") == 0
            [again] = await lease(db)
            assert (again.row, again.due, again.attempts) == (mine.row, mine.due, 0)
            assert again.row != theirs.row

        backend.run(scenario)

    def test_a_restart_loses_no_row(self, backend: Backend) -> None:
        async def crash(db: Database) -> None:
            await db.spool.accept(intake(queued=["a@x.test", "b@x.test"]))
            await lease(db, 1)

        async def after(db: Database) -> None:
            assert len(await lease(db)) == 1
            assert len(await lease(db, now=NOW + 61)) == 2

        backend.run(crash, after)

    def test_sites_are_excluded_and_chosen(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await db.spool.accept(intake(queued=["a@one.test", "b@two.test", "c@three.test", "d@one.test"]))
            assert addresses(await lease(db, 1, exclude={"one.test", "two.test"})) == ["c@three.test"]
            assert addresses(await lease(db, sites={"one.test"})) == ["a@one.test", "d@one.test"]
            assert addresses(await lease(db, sites={"one.test", "two.test"}, exclude={"two.test"})) == []
            assert addresses(await lease(db, exclude=("nowhere.test",))) == ["b@two.test"]

        backend.run(scenario)

    def test_a_full_site_at_the_front_hides_nobody(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await db.spool.accept(intake(queued=[to(f"u{n}@full.test", due=NOW - 10) for n in range(3000)]))
            await db.spool.accept(intake(queued=[to(f"u@site{n}.test", due=NOW - n) for n in range(5)]))
            found = await lease(db, 3, exclude={"full.test"})
            assert sorted(addresses(found)) == ["u@site2.test", "u@site3.test", "u@site4.test"]

        backend.run(scenario)

    def test_next_due_looks_at_what_waits(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            assert await db.queue.next_due(now=NOW) is None
            await db.spool.accept(intake(queued=[to("h@x.test", hold="wait")]))
            assert await db.queue.next_due(now=NOW) is None
            await db.spool.accept(intake(queued=[to("a@x.test", due=NOW + 100), to("b@x.test", due=NOW + 50)]))
            assert await db.queue.next_due(now=NOW) == NOW + 50
            await lease(db, now=NOW + 60)
            assert await db.queue.next_due(now=NOW + 60) == NOW + 100
            await lease(db, now=NOW + 101)
            assert await db.queue.next_due(now=NOW + 101) == NOW + 120  # the end of the first lease

        backend.run(scenario)

    # ---- settle

    @pytest.mark.parametrize("result", ["delivered", "relayed", "failed", "expanded", "discarded"])
    def test_a_finished_recipient_goes(self, backend: Backend, result: str) -> None:
        async def scenario(db: Database) -> None:
            await db.spool.accept(intake(queued=["a@x.test", "b@x.test"]))
            first, second = await lease(db)
            await db.queue.settle([Outcome(first, result)])  # type: ignore[arg-type]
            assert addresses(await lease(db, now=NOW + 61)) == ["b@x.test"]
            assert await db.queue.content(second.message.blob)
            await db.queue.settle([Outcome(second, result)])  # type: ignore[arg-type]
            assert await db.queue.count() == 0
            await db.housekeep(now=NOW)

        backend.run(scenario)

    def test_deferred_and_held_recipients_stay(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await db.spool.accept(intake(queued=["a@x.test", "b@x.test", "c@x.test"]))
            a, b, c = await lease(db)
            outcomes = [
                Outcome(a, "deferred", reply="451 later", due=NOW + 100, warned=True),
                Outcome(b, "deferred", due=NOW + 100, attempted=False),
                Outcome(c, "held", reply="look at it"),
            ]
            await db.queue.settle(outcomes)
            assert await lease(db, now=NOW + 99) == []
            again = await lease(db, now=NOW + 100)
            assert [(o.attempts, o.last_reply, o.delay_warned) for o in again] == [(1, "451 later", True), (0, "", False)]
            [held] = await db.queue.list(QueueFilter(state="held"), now=NOW)
            assert (held.recipient, held.hold, held.attempts) == ("c@x.test", "look at it", 1)

        backend.run(scenario)

    def test_a_settle_repeated_changes_nothing(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            await db.spool.accept(intake(queued=[QueuedRecipient(user.address, "local", user.id), to("b@x.test")]))
            mine, other = await lease(db)
            note = (Notification("delivered", {}),)
            outcomes = [
                Outcome(mine, "delivered", delivery=LocalDelivery(user.id, user.address), notifications=note),
                Outcome(other, "deferred", due=NOW + 100, notifications=note),
            ]
            bounce = intake(queued=["sender@example.net"], sender=None, origin="dsn")
            for _ in range(3):
                await db.queue.settle(outcomes, [bounce])
                # a holder whose lease ended may say the same with a bounce of its own
                await db.queue.settle(outcomes, [dataclasses.replace(bounce, id=intake().id)])
            assert len(await rows(db, inbox)) == 1
            assert len(await db.outbox.lease("me", 10, 60.0, now=NOW)) == 2
            waiting = await lease(db, now=NOW + 100)
            assert sorted((str(o.address), o.attempts) for o in waiting) == [("b@x.test", 1), ("sender@example.net", 0)]

        backend.run(scenario, durable_hooks=frozenset({"delivered"}))

    def test_delivery_and_bounce_share_the_transaction(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            bob, other = await arrive(db, "bob")
            await db.spool.accept(
                intake(queued=[QueuedRecipient(user.address, "local", user.id), to("b@x.test")], message_id="<q@x>")
            )
            mine, far = await lease(db)
            await db.directory.set_quota(user.id, 1)
            outcomes = [
                Outcome(far, "failed", reply="550 no"),
                Outcome(mine, "delivered", delivery=LocalDelivery(user.id, user.address)),
            ]
            bounce = intake(bob, sender=None, origin="dsn")
            with pytest.raises(OverQuota):
                await db.queue.settle(outcomes, [bounce])
            assert await db.queue.count() == 2
            assert await rows(db, other) == []
            await db.directory.set_quota(user.id, 0)
            await db.queue.settle(outcomes, [bounce])
            assert (len(await rows(db, inbox)), len(await rows(db, other)), await db.queue.count()) == (1, 1, 0)
            [row] = await rows(db, inbox)
            assert await db.store.read(row.blob) == await db.queue.content(mine.message.blob)

        backend.run(scenario)

    def test_an_account_deleted_meanwhile_is_said_so(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            await db.spool.accept(intake(queued=[QueuedRecipient(user.address, "local", user.id)]))
            [mine] = await lease(db)
            await db.directory.delete_user(user.id)
            with pytest.raises(NoSuchUser):
                await db.queue.settle([Outcome(mine, "delivered", delivery=LocalDelivery(user.id, user.address))])
            await db.queue.settle([Outcome(mine, "failed", reply="550 5.1.1 gone")])
            assert await db.queue.count() == 0

        backend.run(scenario)

    def test_results_are_in_the_trace(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await db.spool.accept(intake(queued=["a@x.test"], id="TRACED", trace=({"stage": "check"},)))
            [one] = await lease(db)
            await db.queue.settle([Outcome(one, "deferred", reply="451 later", remote="mx.x.test[192.0.2.1]:25", due=NOW)])
            [one] = await lease(db)
            await db.queue.settle([Outcome(one, "relayed", reply="250 ok")])
            [record] = await db.traces.find("TRACED")
            assert [step.get("result") for step in record.steps] == [None, "deferred", "relayed"]
            assert record.steps[1]["reply"] == "451 later"
            assert record.steps[1]["remote"] == "mx.x.test[192.0.2.1]:25"
            assert record.steps[2]["recipient"] == "a@x.test"

        backend.run(scenario)

    def test_a_row_held_while_it_is_delivered_stays_held(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await db.spool.accept(intake(queued=["a@x.test"]))
            [one] = await lease(db)
            assert await db.queue.hold(ALL, "stop") == 1
            await db.queue.settle([Outcome(one, "deferred", due=NOW)])
            assert await lease(db, now=NOW + 1000) == []
            assert await db.queue.release(ALL, now=NOW) == 1
            assert len(await lease(db)) == 1

        backend.run(scenario)

    # ---- operators

    def test_filters(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await db.spool.accept(intake(queued=["a@one.test", "B_x@two.test"], id="F1", received_at=NOW - 100))
            await db.spool.accept(intake(queued=["a@two.test"], id="F2", sender=None))
            [one] = await lease(db, 1)
            await db.queue.settle([Outcome(one, "deferred", reply="451 Greylisted", due=NOW + 500)])

            async def found(**wanted: object) -> list[str]:
                return sorted(row.recipient for row in await db.queue.list(QueueFilter(**wanted), now=NOW))  # type: ignore[arg-type]

            assert await found() == []
            assert await found(everything=True) == ["B_x@two.test", "a@one.test", "a@two.test"]
            assert await found(ids=("F1", "F9")) == ["B_x@two.test", "a@one.test"]
            assert await found(domain="Two.test") == ["B_x@two.test", "a@two.test"]
            assert await found(sender="") == ["a@two.test"]
            assert await found(sender="SENDER@example.net", domain="two.test") == ["B_x@two.test"]
            assert await found(recipient="b_X@two.test") == ["B_x@two.test"]
            assert await found(text="greyLIST") == ["a@one.test"]
            assert await found(text="b_x") == ["B_x@two.test"]
            assert await found(text="b%x") == []
            assert await found(state="waiting") == ["a@one.test"]
            assert await found(state="due") == ["B_x@two.test", "a@two.test"]
            assert await found(state="nonsense") == []
            assert await found(older_than=NOW - 50) == ["B_x@two.test", "a@one.test"]
            assert len(await db.queue.list(ALL, limit=2, now=NOW)) == 2
            row = (await db.queue.list(QueueFilter(recipient="a@one.test"), now=NOW))[0]
            assert (row.id, row.sender, row.attempts, row.due, row.last_reply) == (
                "F1",
                "sender@example.net",
                1,
                NOW + 500,
                "451 Greylisted",
            )

        backend.run(scenario)

    def test_flush_hold_release_and_delete(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            queue = db.queue
            await db.spool.accept(intake(queued=[to("a@x.test", due=NOW + 100), to("b@x.test", due=NOW + 100)], id="OPS"))
            assert await queue.flush(QueueFilter(recipient="a@x.test"), now=NOW) == 1
            assert addresses(await lease(db)) == ["a@x.test"]
            assert await queue.flush(ALL, now=NOW) == 1  # not what somebody has in hand
            assert await queue.hold(QueueFilter(recipient="b@x.test"), "why") == 1
            assert await queue.hold(QueueFilter(recipient="b@x.test"), "again") == 0
            assert await queue.flush(ALL, now=NOW) == 0
            assert await lease(db) == []
            assert await queue.stats(now=NOW) == {"total": 2, "due": 0, "waiting": 0, "leased": 1, "held": 1, "error": 0}
            assert await queue.release(ALL, now=NOW + 1) == 1
            assert await queue.stats(now=NOW + 1) == {"total": 2, "due": 1, "waiting": 0, "leased": 1, "held": 0, "error": 0}
            assert await queue.delete(QueueFilter()) == 0
            assert await queue.delete(ALL) == 2
            assert (await queue.count(), await queue.next_due(now=NOW)) == (0, None)
            [record] = await db.traces.find("OPS")
            assert record.steps[-1]["result"] == "deleted"
            await db.housekeep(now=NOW)

        backend.run(scenario)

    def test_trouble_stays_with_a_row_until_an_attempt_ends_otherwise(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            queue = db.queue
            await db.spool.accept(intake(queued=[to("a@x.test")], id="OPS"))
            trouble = Trouble("ticket", "deliver", "ValueError: \0 \udcff \u20ac", "/h/ticket.py", 12, "Trace\n" * 10, NOW, 1)
            [leased] = await lease(db)
            await queue.settle([Outcome(leased, "deferred", "451 later", due=NOW, trouble=trouble)])
            [leased] = await lease(db)
            assert leased.trouble is not None
            assert replace(leased.trouble, error="") == replace(trouble, error="")
            await queue.settle([Outcome(leased, "held", ERROR_HOLD + "plugin ticket", trouble=replace(trouble, times=2))])
            assert (await queue.stats(now=NOW))["error"] == 1
            assert await queue.list(QueueFilter(state="held"), now=NOW) == []
            assert await queue.list(QueueFilter(state="error", plugin="other"), now=NOW) == []
            assert await queue.list(QueueFilter(state="error", hook="route"), now=NOW) == []
            [row] = await queue.list(QueueFilter(state="error", plugin="ticket", hook="deliver"), now=NOW)
            assert (row.state, row.trouble and row.trouble.times, row.hold) == ("error", 2, "error: plugin ticket")
            assert await queue.release(QueueFilter(state="error"), now=NOW) == 1
            [leased] = await lease(db)
            assert leased.trouble is None

        backend.run(scenario)

    def test_a_row_that_killed_its_worker_is_blamed(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            queue = db.queue
            await db.spool.accept(intake(queued=[to("a@x.test"), to("b@x.test")], id="OPS"))
            one, two = await lease(db)
            trouble = Trouble("ticket", "deliver", "the worker died", crashes=1)
            await queue.blame(one.row, trouble)
            await queue.blame(two.row, replace(trouble, crashes=2), ERROR_HOLD + "it died twice")
            await queue.blame(10**9, trouble, "gone")
            assert await lease(db) == []
            assert await queue.reclaim("me") == 1
            [again] = await lease(db)
            assert (again.row, again.trouble) == (one.row, trouble)
            [held] = await queue.list(QueueFilter(state="error"), now=NOW)
            assert (held.row, held.trouble and held.trouble.crashes, held.attempts) == (two.row, 2, 0)
            [record] = await db.traces.find("OPS")
            assert record.steps[-1]["reply"] == "error: it died twice"

        backend.run(scenario)
