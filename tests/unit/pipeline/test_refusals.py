"""What is refused is noted without waiting, counted together where it is alike, and never more than the bounds allow."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from mta.model.address import Address
from mta.model.errors import StorageFull
from mta.model.ids import QueueId
from mta.model.reply import Reply
from mta.obs.log import Log
from mta.pipeline.refusals import BURST, LARGEST_STEPS, MOST, MOST_OF_ONE, RATE, Refusals, bounded
from mta.pipeline.session import MailSession
from mta.pipeline.transaction import MailTransaction
from mta.testing.plugins import FakeClock
from mta_hooks.backends.database import TraceRecord

NO = Reply(550, "5.7.1", "no")
LATER = Reply(451, "4.3.0", "later")


class FakeTraces:
    def __init__(self, failure: Exception | None = None) -> None:
        self.kept: list[TraceRecord] = []
        self.failure = failure

    async def find(self, text: str = "", **_: Any) -> list[TraceRecord]:
        return []

    async def keep_refused(self, records: Sequence[TraceRecord]) -> None:
        if self.failure is not None:
            raise self.failure
        self.kept += records


def session(ip: str = "192.0.2.1") -> MailSession:
    made = MailSession("s", "smtp")
    made.client_ip = ip
    return made


def transaction(sender: str = "a@far.test") -> MailTransaction:
    return MailTransaction(QueueId("Q1"), "smtp", Address.parse(sender), {})


def run(scenario: Callable[[Refusals, FakeTraces, FakeClock], Any], traces: FakeTraces | None = None) -> None:
    async def work() -> None:
        kept, clock = traces or FakeTraces(), FakeClock()
        result = scenario(Refusals(kept, clock, Log()), kept, clock)
        if result is not None:
            await result

    asyncio.run(work())


def test_what_is_alike_is_one_record() -> None:
    async def scenario(refusals: Refusals, traces: FakeTraces, clock: FakeClock) -> None:
        for _ in range(5):
            refusals.add("connect", NO, session(), plugin="dnsbl")
            clock.advance(0.1)
        refusals.add("connect", NO, session("192.0.2.2"), plugin="dnsbl")
        for who in ("x@a.test", "y@a.test", "x@a.test"):
            refusals.add("rcpt", LATER, session(), transaction=transaction(), recipients=[who])
        await refusals.flush()
        assert [(r.stage, r.client, r.count, r.state) for r in traces.kept] == [
            ("connect", "192.0.2.1", 5, "refused"),
            ("connect", "192.0.2.2", 1, "refused"),
            ("rcpt", "192.0.2.1", 2, "deferred"),
            ("rcpt", "192.0.2.1", 1, "deferred"),
        ]
        assert traces.kept[0].until - traces.kept[0].at > 0.3
        assert (traces.kept[2].id, traces.kept[2].sender, traces.kept[2].recipients) == ("Q1", "a@far.test", ("x@a.test",))

    run(scenario)


def test_messages_are_never_one_record() -> None:
    async def scenario(refusals: Refusals, traces: FakeTraces, _clock: FakeClock) -> None:
        for id in ("Q1", "Q2"):
            one = MailTransaction(QueueId(id), "smtp", None, {})
            refusals.add("message", NO, session(), transaction=one, recipients=["x@a.test"], size=7, message_id="<m>")
        await refusals.flush()
        assert [(r.id, r.size, r.message_id) for r in traces.kept] == [("Q1", 7, "<m>"), ("Q2", 7, "<m>")]

    run(scenario)


def test_a_flood_is_counted_and_not_kept() -> None:
    async def scenario(refusals: Refusals, traces: FakeTraces, clock: FakeClock) -> None:
        for number in range(10_000):
            refusals.add(
                "rcpt", NO, session(f"192.0.2.{number % 200}"), transaction=transaction(), recipients=[f"u{number}@a.test"]
            )
        await refusals.flush()
        assert len(traces.kept) == BURST + 1
        [rest] = [record for record in traces.kept if not record.client]
        assert (rest.count, rest.recipients) == (10_000 - BURST, ())
        traces.kept.clear()
        clock.advance(1.0)
        for number in range(1000):
            refusals.add(
                "rcpt", NO, session(f"192.0.2.{number % 200}"), transaction=transaction(), recipients=[f"v{number}@a.test"]
            )
        await refusals.flush()
        assert len(traces.kept) == RATE + 1

    run(scenario)


def test_one_client_does_not_hide_the_others() -> None:
    async def scenario(refusals: Refusals, traces: FakeTraces, _clock: FakeClock) -> None:
        for number in range(5000):
            refusals.add("rcpt", NO, session("192.0.2.66"), transaction=transaction(), recipients=[f"u{number}@a.test"])
        refusals.add("rcpt", NO, session("192.0.2.7"), transaction=transaction(), recipients=["one@a.test"])
        await refusals.flush()
        assert len(traces.kept) == MOST_OF_ONE + 2
        assert [record.recipients for record in traces.kept if record.client == "192.0.2.7"] == [("one@a.test",)]
        [rest] = [record for record in traces.kept if record.count > 1]
        assert (rest.client, rest.count) == ("192.0.2.66", 5000 - MOST_OF_ONE)

    run(scenario)


def test_what_waits_is_bounded() -> None:
    def scenario(refusals: Refusals, _traces: FakeTraces, clock: FakeClock) -> None:
        for number in range(5 * MOST):
            clock.advance(1.0)
            one = session(f"10.0.{number % 250}.{number % 7}")
            refusals.add("rcpt", NO, one, transaction=transaction(), recipients=[f"u{number}@a.test"])
        assert len(refusals.take()) == MOST + 1

    run(scenario)


def test_one_record_is_bounded() -> None:
    def scenario(refusals: Refusals, _traces: FakeTraces, _clock: FakeClock) -> None:
        step = {"hook": "h", "plugin": "p", "error": "x" * 900}
        refusals.add("message", Reply(550, "5.7.1", "n" * 9999), session(), recipients=["r" * 9999] * 1000, steps=[step] * 50)
        [record] = refusals.take()
        assert len(str(record.steps)) <= LARGEST_STEPS + 100
        assert len(record.recipients) == 20
        assert max(len(record.reply), len(record.recipients[0])) == 500

    run(scenario)


def test_the_last_steps_are_kept() -> None:
    steps = [{"n": number, "text": "x" * 1000} for number in range(10)]
    assert [step["n"] for step in bounded(steps)] == [6, 7, 8, 9]


def test_a_full_disk_loses_records_and_nothing_else() -> None:
    async def scenario(refusals: Refusals, traces: FakeTraces, _clock: FakeClock) -> None:
        refusals.add("rcpt", NO, session())
        await refusals.flush()
        traces.failure = None
        await refusals.flush()
        assert traces.kept == []

    run(scenario, FakeTraces(StorageFull("full")))
