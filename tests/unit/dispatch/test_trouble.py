"""Errors of hooks counted to the error hold, and what killed workers put aside."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from dataclasses import replace

import pytest

from mta.dispatch.conclude import count, reason_of
from mta.dispatch.suspects import WAITED, Blame
from mta.model.address import Address
from mta.model.delivery import Trouble
from mta.model.message import Notification, QueuedRecipient
from mta.pluginhost.flight import FLIGHT, Recorder, Suspect
from mta.testing.conformance.backend import NOW, intake
from mta.testing.memory import MemoryDatabase
from mta.testing.plugins import FakeClock, RecordingLog, host_with, plugin_of
from mta_hooks import hookimpl
from mta_hooks.backends import DatabaseOptions
from mta_hooks.backends.queue import QueueFilter

ONE = Trouble("ticket", "deliver", "ValueError: x", "/h/ticket.py", 7, "Traceback", 5.0, 1)
ALL = QueueFilter(everything=True)


def test_attempts_in_a_row_are_counted() -> None:
    two = count(ONE, replace(ONE, error="KeyError"))
    assert two is not None
    assert (two.times, two.error) == (2, "KeyError")
    assert count(two, replace(ONE, plugin="other")) == replace(ONE, plugin="other")
    assert count(two, replace(ONE, hook="route")) == replace(ONE, hook="route")
    assert count(two, None) is None
    assert count(two, replace(ONE, times=0)) == two  # not called: its breaker was open
    assert count(None, ONE) == ONE


def test_the_reason_names_plugin_hook_and_place_and_nothing_that_was_raised() -> None:
    assert reason_of(replace(ONE, times=3)) == "error: plugin ticket failed 3 times in deliver (/h/ticket.py:7)"
    assert reason_of(replace(ONE, crashes=2)) == "error: the worker died 2 times in deliver of plugin ticket (/h/ticket.py:7)"


# ---- the file


@hookimpl
def route(sender, recipient): ...


def step():
    host = host_with(plugin_of(route, name="router"))
    return host.route.steps[0]


def test_a_successor_reads_what_ran(tmp_path) -> None:
    old = Recorder()
    assert old.open(tmp_path / "flight") == []
    with old.of("queue", "ID1", [7, 8]):
        flight = FLIGHT.get()
        assert flight is not None
        with old.of("queue", "ID2", [9]):
            assert Recorder().open(tmp_path / "flight") == []  # begun, and no hook was called
            FLIGHT.get().enter(step())
            FLIGHT.get().wait()
            [waits] = Recorder().open(tmp_path / "flight")
            assert (waits.key, waits.certain) == ("ID2", False)
            flight.enter(step())
            [runs] = Recorder().open(tmp_path / "flight")
            assert runs == Suspect("queue", "ID1", (7, 8), "router", "route", __file__, runs.line, True)
            flight.leave()
    assert FLIGHT.get() is None
    assert Recorder().open(tmp_path / "flight") == []
    flight.enter(step())  # a task that kept it
    assert Recorder().open(tmp_path / "flight") == []


def test_what_does_not_fit_is_all_rows_of_the_message(tmp_path) -> None:
    recorder = Recorder()
    recorder.open(tmp_path / "flight")
    with recorder.of("queue", "ID1", range(10**9, 10**9 + 100)):
        FLIGHT.get().enter(step())
        [one] = Recorder().open(tmp_path / "flight")
    assert (one.key, one.rows) == ("ID1", ())


def test_rubbish_and_what_was_dealt_with_is_nothing(tmp_path) -> None:
    path = tmp_path / "flight"
    path.write_bytes(b"\x02\xff\xff" + b"\xfe" * 5000)
    recorder = Recorder()
    assert recorder.open(path) == []
    recorder.clear()
    assert path.read_bytes()[0] == 0
    recorder.close()
    with recorder.of("queue", "ID", []):
        assert FLIGHT.get() is None


def test_hooks_are_recorded_while_they_run_and_while_they_wait(tmp_path) -> None:
    seen = []

    @hookimpl
    async def route(sender, recipient):
        seen.append(Recorder().open(tmp_path / "flight"))
        await asyncio.sleep(0)
        seen.append(Recorder().open(tmp_path / "flight"))

    async def look():
        await asyncio.sleep(0)
        seen.append(Recorder().open(tmp_path / "flight"))

    async def main():
        host, recorder = host_with(plugin_of(route, name="router")), Recorder()
        recorder.open(tmp_path / "flight")
        looking = asyncio.ensure_future(look())
        await asyncio.sleep(0)
        with recorder.of("queue", "ID", [1]):
            await host.route.first(sender=None, recipient=Address.parse("a@b.test"))
            seen.append(Recorder().open(tmp_path / "flight"))
        await looking

    asyncio.run(main())
    assert [[(one.plugin, one.certain) for one in found] for found in seen] == [
        [("router", True)],
        [("router", False)],
        [("router", True)],
        [],
    ]


# ---- blame


class Case:
    def __init__(self) -> None:
        self.db = MemoryDatabase(DatabaseOptions(data_dir="", durable_hooks=frozenset({"delivered"})))
        self.log, self.files = RecordingLog(), dict[str, str]()
        self.blame = Blame(self.db, FakeClock(NOW), self.log, self.files.__setitem__)

    async def die(self, kind, key, rows=(), *, certain=True, plugin="ticket"):
        await self.blame.settle([Suspect(kind, key, rows, plugin, "deliver", "/h/ticket.py", 7, certain)])

    async def rows(self):
        return await self.db.queue.list(ALL, now=NOW)


def test_the_second_death_holds_the_row_and_no_other() -> None:
    async def main():
        case = Case()
        queued = [QueuedRecipient(Address.parse(a), "local") for a in ("a@x.test", "b@x.test")]
        await case.db.spool.accept(intake(queued=queued, id="ID1"))
        one, _ = await case.rows()
        await case.die("queue", "ID1", (one.row,))
        assert [(row.state, row.trouble and row.trouble.crashes) for row in await case.rows()] == [("due", 1), ("due", None)]
        await case.die("queue", "ID1", (one.row,))
        held, free = await case.rows()
        assert (held.state, held.trouble.plugin, held.trouble.crashes, free.state) == ("error", "ticket", 2, "due")
        [said] = case.log.named("queue.error_hold")
        assert (said["plugin"], said["hook"]) == ("ticket", "deliver")
        await case.die("queue", "ID1")  # all of its rows; the held one has nobody's attention
        assert [row.trouble.crashes for row in await case.rows()] == [2, 1]
        await case.die("queue", "GONE")

    asyncio.run(main())


def test_who_only_waited_needs_more() -> None:
    async def main():
        case = Case()
        await case.db.spool.accept(intake(queued=[QueuedRecipient(Address.parse("a@x.test"), "local")], id="ID1"))
        for _ in range(WAITED - 1):
            await case.die("queue", "ID1", certain=False)
        assert [row.state for row in await case.rows()] == ["due"]
        await case.die("queue", "ID1", certain=False)
        assert [row.state for row in await case.rows()] == ["error"]

    asyncio.run(main())


@pytest.mark.parametrize("deaths", [1, 2])
def test_outbox_rows_and_maildrop_files_too(deaths) -> None:
    async def main():
        case = Case()
        await case.db.spool.accept(intake(notifications=[Notification("delivered", {"n": 1})]))
        [row] = await case.db.outbox.list()
        for _ in range(deaths):
            await case.die("outbox", str(row.row))
            await case.die("maildrop", "abc-1")
        [after] = await case.db.outbox.list()
        assert (after.due is None) == (deaths == 2)
        assert "ticket" in after.error
        assert list(case.files) == (["abc-1"] if deaths == 2 else [])

    asyncio.run(main())
