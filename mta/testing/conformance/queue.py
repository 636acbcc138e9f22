"""``Queue``: leases, settling, operators' commands."""
# SPDX-License-Identifier: Apache-2.0

import dataclasses

import pytest

from mta.model.address import Address
from mta.model.delivery import Outcome
from mta.model.errors import NoSuchUser, OverQuota
from mta.model.ids import QueueId
from mta.model.message import Flags, LocalDelivery, Notification, Placement, QueuedRecipient
from mta.testing.conformance.backend import NOW, Backend, arrive, intake, rows
from mta.testing.conformance.leases import ALL, addresses, lease, to
from mta.testing.conformance.queue_operators import QueueOperatorsConformance
from mta_hooks.backends import Database
from mta_hooks.backends.queue import QueueFilter


class QueueConformance(QueueOperatorsConformance):
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

    def test_results_of_all_kinds_are_settled_together(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            gone, both = intake(queued=["a@x.test", "b@x.test"]), intake(queued=["c@x.test", "d@x.test"])
            await db.spool.accept(gone)
            await db.spool.accept(both)
            await db.spool.accept(intake(queued=[QueuedRecipient(user.address, "local", user.id)]))
            a, b, c, d, mine = await lease(db)
            await db.queue.settle([Outcome(b, "relayed", "250 done before")])
            outcomes = [
                Outcome(a, "relayed", "250 ok"),
                Outcome(mine, "delivered", delivery=LocalDelivery(user.id, user.address)),
                Outcome(b, "failed", "550 too late to say so"),
                Outcome(c, "deferred", due=NOW + 100),
                Outcome(d, "failed", "550 no"),
            ]
            await db.queue.settle(outcomes)
            assert len(await rows(db, inbox)) == 1
            assert addresses(await lease(db, now=NOW + 100)) == ["c@x.test"]
            assert await db.queue.content(c.message.blob)
            [of_gone], [of_both] = await db.traces.find(gone.id), await db.traces.find(both.id)
            assert [step["reply"] for step in of_gone.steps if "reply" in step] == ["250 done before", "250 ok"]
            assert [step["reply"] for step in of_both.steps if "reply" in step] == ["550 no"]

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

    def test_a_row_held_while_it_is_delivered_is_in_those_hands_still(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            queue, id = db.queue, QueueId("OPS")
            await db.spool.accept(intake(queued=["a@x.test"], id="OPS"))
            [one] = await lease(db)
            await queue.hold(ALL, "stop")
            assert not await queue.edit(id, remove=[one.row], now=NOW)
            await queue.release(ALL, now=NOW)
            assert not await queue.edit(id, remove=[one.row], now=NOW)
            assert await lease(db) == []
            await queue.settle([Outcome(one, "deferred", due=NOW)])
            assert await lease(db) != []
            await queue.hold(ALL, "stop")
            assert await queue.reclaim("me") == 1, "who had it is gone"
            assert [row.state for row in await queue.list(ALL, now=NOW)] == ["held"]
            assert await queue.edit(id, remove=[one.row], now=NOW)
            assert await queue.count() == 0

        backend.run(scenario)
