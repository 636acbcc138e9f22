"""``Traces``: found by every word and by time, extended by what happens later, forgotten when their time is over."""
# SPDX-License-Identifier: Apache-2.0

import time
from dataclasses import replace
from typing import Any

from mta.model.address import Address
from mta.model.delivery import Outcome
from mta.model.ids import QueueId
from mta.testing.conformance.backend import NOW, Backend, arrive, intake
from mta_hooks.backends import Database
from mta_hooks.backends.database import TraceRecord
from mta_hooks.backends.queue import QueueFilter

DAY = 86400.0
MINUTE = 60.0
VERDICT = {"hook": "message_check", "plugin": "guard", "seconds": 0.001, "verdict": {"action": "accept", "score": 2.0}}


def refusal(**more: Any) -> TraceRecord:
    fixed: dict[str, Any] = {
        "id": QueueId("R1"),
        "at": NOW,
        "origin": "smtp",
        "sender": "Spammer@far.test",
        "message_id": "<bad@far.test>",
        "size": 0,
        "client": "192.0.2.66",
        "user": "",
        "steps": [{"hook": "smtp_rcpt", "plugin": "gate", "verdict": {"action": "reject"}}],
        "recipients": ("Alice@example.test",),
        "state": "refused",
        "stage": "rcpt",
        "reply": "550 5.7.1 no",
    }
    return TraceRecord(**{**fixed, **more})


class TracesConformance:
    def test_accepted_mail_is_found_by_every_word_before_and_after_it_is_indexed(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            now = time.time()
            old = intake(user, id="OLD1", received_at=now - 3600, message_id="<Old@far.test>", client="192.0.2.1", trace=(VERDICT,))
            await db.spool.accept(replace(old, sender=Address("Bob", "far.test")))
            await db.spool.accept(intake(id="NEW1", queued=["Carol@else.test"], received_at=now, message_id="<new@far.test>"))
            for _ in range(2):
                for text in ("OLD1", "old@far.test", "<old@FAR.test>", "bob@FAR.test", "alice@example.test", "192.0.2.1"):
                    [found] = await db.traces.find(text)
                    assert (found.id, found.state, found.recipients) == ("OLD1", "accepted", ("alice@example.test",)), text
                    assert found.steps[0] == VERDICT
                assert [r.id for r in await db.traces.find("carol@else.test")] == ["NEW1"]
                assert await db.traces.find("nobody@else.test") == []
                assert await db.traces.find("%") == []
                assert [r.id for r in await db.traces.find()] == ["NEW1", "OLD1"]
                assert [r.id for r in await db.traces.find(since=now - 60)] == ["NEW1"]
                assert [r.id for r in await db.traces.find(until=now - 60)] == ["OLD1"]
                assert [r.id for r in await db.traces.find("bob@far.test", since=now - 60)] == []
                assert [r.id for r in await db.traces.find(plugin="guard")] == ["OLD1"]
                assert await db.traces.find(plugin="guar_") == []
                assert await db.traces.find(accepted=False) == []
                assert [r.id for r in await db.traces.find(limit=1)] == ["NEW1"]
                await db.housekeep(now=now + MINUTE / 2)

        backend.run(scenario)

    def test_later_events_extend_it(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await db.spool.accept(intake(id="Q1", queued=["far@x.test"], trace=(VERDICT,)))
            [leased] = await db.queue.lease("me", 5, 60.0, now=NOW)
            said = {"hook": "mx_lookup", "plugin": "router", "answer": ["mx.x.test"]}
            await db.queue.settle([Outcome(leased, "deferred", "451 later", due=NOW + 60, steps=(said,))])
            await db.queue.settle([Outcome(leased, "deferred", "451 later", due=NOW + 60, steps=(said,))])  # written already
            [found] = await db.traces.find("Q1", plugin="router")
            assert [step.get("result") for step in found.steps] == [None, None, "deferred"]
            assert (found.steps[1]["answer"], found.steps[2]["recipient"]) == (["mx.x.test"], "far@x.test")

        backend.run(scenario)

    def test_what_operators_do_extends_it(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await db.spool.accept(intake(id="Q1", queued=["a@x.test", "b@x.test"]))
            wanted = QueueFilter(ids=(QueueId("Q1"),))
            await db.queue.hold(wanted, "look")
            await db.queue.release(wanted, now=NOW)
            await db.queue.delete(wanted)
            [found] = await db.traces.find("Q1")
            assert [step["result"] for step in found.steps] == ["held", "released", "deleted"]
            assert found.steps[0]["reason"] == "look"

        backend.run(scenario)

    def test_what_was_refused_is_kept_apart(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await db.spool.accept(intake(id="Q1", queued=["alice@example.test"]))
            busy = refusal(
                id=QueueId(""), stage="connect", sender="", recipients=(), message_id="", at=NOW + 1, until=NOW + 9, count=40
            )
            await db.traces.keep_refused([refusal(), refusal(id=QueueId("R2"), state="deferred", reply="451 4.3.0 later"), busy])
            await db.traces.keep_refused([])
            assert [(r.state, r.count) for r in await db.traces.find("192.0.2.66")] == [
                ("refused", 40),
                ("deferred", 1),
                ("refused", 1),
            ]
            assert [r.id for r in await db.traces.find("alice@example.test", refused=False)] == ["Q1"]
            assert [r.id for r in await db.traces.find("alice@example.test", accepted=False)] == ["R2", "R1"]
            [found] = await db.traces.find("R1")
            assert found == replace(refusal(), until=NOW)
            assert [r.id for r in await db.traces.find("bad@far.test", plugin="gate")] == ["R2", "R1"]
            assert await db.traces.find("bad@far.test", plugin="other") == []

        backend.run(scenario)

    def test_they_are_forgotten_when_their_time_is_over(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            now = time.time()
            await db.spool.accept(intake(user, id="A1", received_at=now - 5 * DAY, sender=Address("a", "far.test")))
            await db.spool.accept(intake(id="WAITS", queued=["far@x.test"], received_at=now - 5 * DAY))
            await db.spool.accept(intake(user, id="A2", received_at=now - 1 * DAY))
            await db.traces.keep_refused([refusal(id=QueueId(f"R{n}"), at=now - 3 * DAY + n) for n in range(8)])
            await db.housekeep(now=now)
            await db.housekeep(now=now)
            assert [r.id for r in await db.traces.find(refused=False)] == ["A2", "WAITS"]
            assert await db.traces.find("a@far.test") == []
            assert [r.id for r in await db.traces.find(accepted=False)] == ["R7", "R6", "R5"]
            assert len(await db.traces.find("192.0.2.66")) == 3
            await db.spool.accept(intake(user, id="A3", received_at=now, sender=Address("late", "far.test")))
            assert [r.id for r in await db.traces.find("late@far.test")] == ["A3"]
            await db.housekeep(now=now + 3 * DAY)
            assert await db.traces.find(accepted=False) == []

        backend.run(scenario, trace_keep=4 * DAY, refused_keep=4 * DAY, refused_most=3)

    def test_a_mark_never_hides_a_row_whose_id_is_given_again(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            now = time.time()
            await db.spool.accept(intake(user, id="A1", received_at=now - 5 * DAY))
            await db.housekeep(now=now)
            assert await db.traces.find() == []
            await db.spool.accept(intake(user, id="A2", received_at=now - 3600, sender=Address("late", "far.test")))
            for _ in range(2):
                assert [r.id for r in await db.traces.find("late@far.test")] == ["A2"]
                await db.housekeep(now=now)

        backend.run(scenario, trace_keep=DAY)
