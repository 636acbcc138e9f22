"""The outbox: called until done, put off when failing, buried in the end, bounded in width."""

import asyncio

import pytest

from mta.dispatch.outbox import ATTEMPTS, CONCURRENCY, LONGEST_WAIT, OutboxRunner, wait_after
from mta.model.errors import StorageDead, TemporaryFailure
from mta.testing.plugins import FakeClock, RecordingLog
from mta_hooks.backends.database import OutboxRow


class Outbox:
    def __init__(self, rows) -> None:
        self.waiting = list(rows)
        self.finished: list[int] = []
        self.put_off: dict[int, float] = {}
        self.buried: dict[int, str] = {}
        self.fail_done = 0

    async def lease(self, owner, limit, seconds, *, now):
        leased, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return leased

    async def done(self, rows):
        if self.fail_done:
            self.fail_done -= 1
            raise TemporaryFailure("locked")
        self.finished += rows

    async def retry(self, row, *, due, error, failed=None):
        self.put_off[row] = due
        self.failed = failed

    async def bury(self, row, *, error):
        self.buried[row] = error


class Hooks:
    def __init__(self, act) -> None:
        self.act = act
        self.running = self.widest = 0

    async def call_durable(self, hook, payload, plugin=""):
        self.running += 1
        self.widest = max(self.widest, self.running)
        self.plugin = plugin
        try:
            return await self.act(payload) or {}
        finally:
            self.running -= 1


def rows(n, attempts=0):
    return [OutboxRow(i, "delivered", {"i": i}, attempts) for i in range(n)]


def run(outbox, act, until, log=None):
    async def main():
        hooks = Hooks(act)
        database = type("Database", (), {"outbox": outbox})
        runner = OutboxRunner(database=database, hooks=hooks, clock=FakeClock(1000.0), log=log or RecordingLog(), owner="me")
        task = asyncio.ensure_future(runner.run())
        for _ in range(2000):
            if until() or task.done():
                break
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return hooks, task

    return asyncio.run(main())


async def nothing(payload): ...


def test_all_are_called_and_done_within_the_bound() -> None:
    outbox = Outbox(rows(CONCURRENCY * 3))

    async def pause(payload):
        await asyncio.sleep(0)

    hooks, _ = run(outbox, pause, lambda: len(outbox.finished) == CONCURRENCY * 3)
    assert sorted(outbox.finished) == list(range(CONCURRENCY * 3))
    assert hooks.widest == CONCURRENCY


def test_one_that_hangs_holds_up_nobody() -> None:
    outbox = Outbox(rows(CONCURRENCY * 3))

    async def act(payload):
        if payload["i"] == 0:
            await asyncio.Event().wait()

    run(outbox, act, lambda: len(outbox.finished) >= CONCURRENCY * 3 - 1)
    assert sorted(outbox.finished) == list(range(1, CONCURRENCY * 3))


def test_a_failure_is_put_off_and_in_the_end_buried() -> None:
    async def fail(payload):
        raise TemporaryFailure("ticket: down")

    outbox = Outbox(rows(1))
    run(outbox, fail, lambda: outbox.put_off)
    assert outbox.put_off == {0: 1010.0}
    assert outbox.finished == []
    outbox = Outbox(rows(1, ATTEMPTS - 1))
    log = RecordingLog()
    run(outbox, fail, lambda: outbox.buried, log)
    assert outbox.buried == {0: "ticket: down"}
    assert log.named("outbox.buried")[0]["hook"] == "delivered"


def test_a_row_goes_on_for_those_who_failed() -> None:
    async def some(payload):
        return {"ticket": "down", "chat": "away"}

    outbox = Outbox([OutboxRow(0, "delivered", {"i": 0}, 0, plugin="")])
    run(outbox, some, lambda: outbox.put_off)
    assert (outbox.failed, outbox.finished) == ({"ticket": "down", "chat": "away"}, [])
    outbox = Outbox([OutboxRow(0, "delivered", {"i": 0}, 1, plugin="chat")])
    hooks, _ = run(outbox, nothing, lambda: outbox.finished)
    assert hooks.plugin == "chat"


def test_what_could_not_be_written_as_done_is_written_later() -> None:
    outbox = Outbox(rows(1))
    outbox.fail_done = 1
    run(outbox, nothing, lambda: outbox.finished)
    assert outbox.finished == [0]


def test_storage_that_died_ends_the_runner() -> None:
    async def die(payload):
        raise StorageDead("EIO")

    _, task = run(Outbox(rows(1)), die, lambda: False)
    with pytest.raises(StorageDead):
        task.result()


def test_waits_grow_to_a_bound_and_differ() -> None:
    waits = [wait_after(n, 5) for n in range(1, ATTEMPTS)]
    assert waits == sorted(waits)
    assert waits[0] >= 10
    assert waits[-1] <= LONGEST_WAIT * 1.1
    assert wait_after(3, 1) != wait_after(3, 2)
