"""What operators do with the queue, and the figures they see; part of ``QueueConformance``."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import replace

from mta.model.delivery import ERROR_HOLD, RESOLVE, Outcome, Trouble
from mta.model.ids import QueueId
from mta.model.message import QueuedRecipient
from mta.testing.conformance.backend import NOW, Backend, arrive, intake
from mta.testing.conformance.leases import ALL, addresses, lease, to
from mta_hooks.backends import Database
from mta_hooks.backends.queue import QueueFilter


def counts(**some: int) -> dict[str, int]:
    """What ``stats`` says when these states have so many rows."""
    every = {"due": 0, "waiting": 0, "leased": 0, "held": 0, "error": 0, "quarantine": 0} | some
    return {"total": every["due"] + every["waiting"] + every["leased"] + every["held"], **every}


class QueueOperatorsConformance:
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
            assert await queue.stats(now=NOW) == counts(leased=1, held=1)
            assert await queue.release(ALL, now=NOW + 1) == 1
            assert await queue.stats(now=NOW + 1) == counts(leased=1, due=1)
            assert await queue.delete(QueueFilter()) == 0
            assert await queue.delete(ALL) == 2
            assert (await queue.count(), await queue.next_due(now=NOW)) == (0, None)
            [record] = await db.traces.find("OPS")
            assert record.steps[-1]["result"] == "deleted"
            await db.housekeep(now=NOW)

        backend.run(scenario)

    def test_quarantine_and_error_hold_are_states(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            queue = db.queue
            held = [
                to("q@x.test", hold="quarantine: spam"),
                to("e@x.test", hold="error: plugin p"),
                to("h@x.test", hold="quarantined"),
            ]
            await db.spool.accept(intake(queued=[*held, "w@x.test"]))
            assert await queue.stats(now=NOW) == counts(due=1, held=3, error=1, quarantine=1)
            for state, who in (("quarantine", "q"), ("error", "e"), ("held", "h"), ("due", "w")):
                wanted = QueueFilter(state=state)
                assert [row.recipient for row in await queue.list(wanted, now=NOW)] == [f"{who}@x.test"]
                assert await queue.count(wanted, now=NOW) == 1
            assert await queue.release(QueueFilter(state="quarantine"), now=NOW) == 1
            assert await queue.stats(now=NOW) == counts(due=2, held=2, error=1)

        backend.run(scenario)

    def test_long_lists_are_read_in_pieces(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            queue = db.queue
            await db.spool.accept(intake(queued=[to(f"u{n}@x.test") for n in range(5)], id="L1"))
            found, after = [], 0
            while page := await queue.list(QueueFilter(domain="x.test"), limit=2, now=NOW, after=after):
                after = page[-1].row
                found += [row.recipient for row in page]
            assert found == [f"u{n}@x.test" for n in range(5)]
            some = await queue.list(ALL, limit=2, now=NOW)
            wanted = QueueFilter(rows=tuple(row.row for row in some))
            assert await queue.hold(wanted, "these") == 2
            assert (await queue.count(), await queue.count(wanted), await queue.count(QueueFilter())) == (5, 2, 0)
            assert await queue.count(QueueFilter(state="held"), now=NOW) == 2

        backend.run(scenario)

    def test_changes_reach_more_rows_than_one_piece(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            queue = db.queue
            await db.spool.accept(intake(queued=[to(f"u{n}@x.test", due=NOW + 100) for n in range(4500)], id="MANY"))
            assert await queue.flush(ALL, now=NOW) == 4500
            assert await queue.hold(ALL, "all") == 4500
            assert await queue.release(ALL, now=NOW) == 4500
            assert await queue.stats(now=NOW) == counts(due=4500)
            assert await queue.delete(ALL) == 4500
            assert await queue.count() == 0
            await db.housekeep(now=NOW)

        backend.run(scenario)

    def test_priority_deadline_and_requirements_are_kept(self, backend: Backend) -> None:
        async def write(db: Database) -> None:
            await db.spool.accept(intake(queued=["slow@x.test"], priority=-9))
            more = {"deliver_by": NOW + 60, "by_mode": "RT", "requiretls": True}
            await db.spool.accept(intake(queued=["fast@x.test", to("later@x.test", due=NOW + 50)], priority=4, **more))  # type: ignore[arg-type]

        async def read(db: Database) -> None:
            fast, slow, later = await lease(db, now=NOW + 50)
            assert addresses([fast, slow, later]) == ["fast@x.test", "slow@x.test", "later@x.test"]
            assert (fast.due, slow.due, later.due) == (NOW - 2400, NOW, NOW + 50)
            m = fast.message
            assert (m.priority, m.deliver_by, m.by_mode, m.requiretls) == (4, NOW + 60, "RT", True)
            m = slow.message
            assert (m.priority, m.deliver_by, m.by_mode, m.requiretls) == (-9, None, "", False)
            assert [row.priority for row in await db.queue.list(ALL, now=NOW)] == [-9, 4, 4]

        backend.run(write, read)

    def test_another_next_hop(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            queue = db.queue
            local = QueuedRecipient(user.address, "local", user.id)
            await db.spool.accept(
                intake(queued=[to("a@x.test", due=NOW + 9), to("b@x.test", hold="h"), "c@x.test", local], id="OPS")
            )
            await lease(db, 1)
            assert await queue.reroute(ALL, "smtp://hop.test:26", now=NOW) == 2
            assert [(row.recipient, row.route) for row in await queue.list(ALL, now=NOW) if row.route] == [
                ("a@x.test", "smtp://hop.test:26"),
                ("b@x.test", "smtp://hop.test:26"),
            ]
            [mine, _] = await lease(db)
            assert (str(mine.address), mine.route) == ("a@x.test", "smtp://hop.test:26")
            await queue.settle([Outcome(mine, "deferred", "451 later", due=NOW)])
            assert await queue.reroute(QueueFilter(recipient="a@x.test"), "", now=NOW) == 1
            [mine] = await lease(db)
            assert mine.route == ""
            assert await queue.reroute(QueueFilter(recipient=str(user.address)), RESOLVE, now=NOW) == 0  # in our hands
            assert await queue.reroute(QueueFilter(recipient=str(user.address)), RESOLVE, now=NOW + 61) == 1
            [record] = await db.traces.find("OPS")
            assert next(step["recipients"] for step in record.steps if step["result"] == "rerouted") == ["a@x.test", "b@x.test"]

        backend.run(scenario)

    def test_recipients_are_edited(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            queue = db.queue
            await db.spool.accept(intake(queued=["a@x.test", "b@x.test", to("c@x.test", hold="h")], id="OPS"))
            [in_hand] = await lease(db, 1)
            a, b, c = (row.row for row in await queue.list(ALL, now=NOW))
            assert in_hand.row == a
            assert not await queue.edit(QueueId("OTHER"), add=[to("d@x.test")], now=NOW)
            assert not await queue.edit(QueueId("OPS"), remove=[a], add=[to("d@x.test")], now=NOW)
            assert not await queue.edit(QueueId("OPS"), remove=[b, 10**9], now=NOW)
            assert await queue.count() == 3
            more = [
                to("a@x.test"),
                to("d@x.test", orcpt="rfc822;b@x.test", notify=frozenset({"NEVER"}), route=RESOLVE),
                to("e@x.test"),
            ]
            assert await queue.edit(QueueId("OPS"), remove=[b, c], add=more, now=NOW)
            d, e = await lease(db)
            assert addresses([d, e]) == ["d@x.test", "e@x.test"]
            assert (d.orcpt, d.notify, d.message.id, d.due, d.route) == (
                "rfc822;b@x.test",
                frozenset({"NEVER"}),
                "OPS",
                NOW,
                RESOLVE,
            )
            row = (await queue.list(QueueFilter(rows=(d.row,)), now=NOW))[0]
            assert (row.orcpt, row.notify, row.transport, row.route) == ("rfc822;b@x.test", ("NEVER",), "remote", RESOLVE)
            [record] = await db.traces.find("OPS")
            assert record.steps[-1]["removed"] == ["b@x.test", "c@x.test"]
            assert record.steps[-1]["added"] == ["d@x.test", "e@x.test"]
            await queue.settle([Outcome(one, "relayed") for one in (in_hand, d)])
            await queue.settle([Outcome(e, "deferred", due=NOW)])
            assert await queue.edit(QueueId("OPS"), remove=[e.row], now=NOW)  # the last one: the message goes
            assert not await queue.edit(QueueId("OPS"), add=[to("z@x.test")], now=NOW)
            assert await queue.count() == 0
            await db.housekeep(now=NOW)

        backend.run(scenario)

    def test_what_waits_by_site_and_age(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            for age, who in ((10, ["a@x.test", "a@y.test"]), (400, ["b@x.test"]), (10**6, ["c@x.test"])):
                await db.spool.accept(intake(queued=who, received_at=NOW - age))
            await db.spool.accept(intake(queued=[QueuedRecipient(user.address, "local", user.id)]))
            x, local, y = await db.queue.shape(now=NOW)
            assert (x.site, x.total, x.ages) == ("x.test", 3, (1, 1, 0, 0, 0, 0, 0, 0, 0, 1))
            assert (local.site, local.total, y.site, y.ages[0]) == ("local", 1, "y.test", 1)
            assert [one.site for one in await db.queue.shape(now=NOW, limit=1)] == ["x.test"]

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
