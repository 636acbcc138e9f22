"""The group-commit writer on a database that does as told."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from mta.model.errors import StorageDead, TemporaryFailure
from mta_sql import writer as module
from mta_sql.transaction import Effects, Stale, Transaction
from mta_sql.writer import Again, Busy, Writer


class Connection:
    """A list that rolls back."""

    array = list

    def __init__(self) -> None:
        self.saved: list[Any] = []
        self.now: list[Any] = []
        self._mark = 0

    def execute(self, sql: str, params: Any = ()) -> None:
        if sql.startswith("SAVEPOINT"):
            self._mark = len(self.now)
        elif sql.startswith("ROLLBACK TO"):
            del self.now[self._mark :]
        elif sql == "PUT":
            self.now.append(params)

    executemany = execute


class Side:
    late = True

    def __init__(self) -> None:
        self.connection = Connection()
        self.gate = threading.Event()
        self.gate.set()
        self.commits: list[int] = []
        self.begin_fails: list[Exception] = []
        self.commit_fails: list[Exception] = []
        self.restarts: list[set[int]] = []

    def begin(self, mailboxes: Iterable[int]) -> Any:
        assert self.gate.wait(5)
        if self.begin_fails:
            raise self.begin_fails.pop(0)
        self.connection.now = list(self.connection.saved)
        return self.connection

    def restart(self, mailboxes: Iterable[int]) -> Any:
        self.restarts.append(set(mailboxes))
        self.connection.now = list(self.connection.saved)
        return self.connection

    def commit(self, effects: Effects) -> None:
        if self.commit_fails:
            raise self.commit_fails.pop(0)
        self.commits.append(len(self.connection.now) - len(self.connection.saved))
        self.connection.saved = list(self.connection.now)

    def abandon(self) -> None:
        self.connection.now = list(self.connection.saved)

    def failure(self, exc: BaseException) -> Exception | None:
        return exc if isinstance(exc, Again | StorageDead | TemporaryFailure | Busy) else None

    def tidy(self) -> None: ...
    def close(self) -> None: ...


def run(scenario: Callable[[Writer, Side, list[Any]], Any]) -> None:
    async def main() -> None:
        side = Side()
        told: list[Any] = []
        writer = Writer(side, told.append, told.append)
        try:
            await scenario(writer, side, told)
        finally:
            side.gate.set()
            await writer.close()

    asyncio.run(main())


def put(value: object) -> Callable[[Transaction], object]:
    def operation(tx: Transaction) -> object:
        tx.execute("PUT", value)
        return value

    return operation


def bad(value: object) -> Callable[[Transaction], object]:
    def operation(tx: Transaction) -> object:
        tx.execute("PUT", value)
        raise ValueError(value)

    return operation


def test_what_waits_together_is_committed_together() -> None:
    async def scenario(writer: Writer, side: Side, told: list[Any]) -> None:
        side.gate.clear()
        waiting = [writer.submit(put(n)) for n in range(10)]
        await asyncio.sleep(0.05)
        waiting += [writer.submit(put(n)) for n in range(10, 20)]  # joins while the turn is waited for
        side.gate.set()
        assert await asyncio.gather(*waiting) == list(range(20))
        assert side.commits == [20]
        assert len(told) == 1

    run(scenario)


def test_one_failure_harms_nobody_else() -> None:
    async def scenario(writer: Writer, side: Side, told: list[Any]) -> None:
        side.gate.clear()
        waiting = [writer.submit(bad(n) if n in (3, 7) else put(n)) for n in range(10)]
        side.gate.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [n for n, result in enumerate(results) if isinstance(result, ValueError)] == [3, 7]
        assert side.connection.saved == [0, 1, 2, 4, 5, 6, 8, 9]

    run(scenario)


def test_nothing_is_answered_before_the_commit() -> None:
    async def scenario(writer: Writer, side: Side, told: list[Any]) -> None:
        side.commit_fails = [TemporaryFailure("no")]
        with pytest.raises(TemporaryFailure):
            await writer.submit(put(1))
        assert side.connection.saved == []
        assert await writer.submit(put(2)) == 2

    run(scenario)


def test_a_transaction_is_run_again_when_the_database_asks() -> None:
    async def scenario(writer: Writer, side: Side, told: list[Any]) -> None:
        def touch(tx: Transaction) -> None:
            tx.changed(5)
            tx.execute("PUT", "x")

        side.commit_fails = [Again(), Again()]
        await writer.submit(touch)
        assert side.connection.saved == ["x"]
        assert side.restarts == [{5}, {5}]
        side.commit_fails = [Again() for _ in range(20)]
        with pytest.raises(TemporaryFailure):
            await writer.submit(touch)

    run(scenario)


def test_a_stale_operation_is_run_again_alone() -> None:
    async def scenario(writer: Writer, side: Side, told: list[Any]) -> None:
        runs = []

        def stale(tx: Transaction) -> int:
            runs.append(1)
            tx.execute("PUT", "s")
            if len(runs) < 3:
                raise Stale
            return len(runs)

        def always(tx: Transaction) -> None:
            raise Stale

        side.gate.clear()
        waiting = [writer.submit(put(1)), writer.submit(stale), writer.submit(always)]
        side.gate.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert results[:2] == [1, 3]
        assert isinstance(results[2], TemporaryFailure)
        assert side.connection.saved == [1, "s"]

    run(scenario)


def test_waiting_ends_after_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)

    async def scenario(writer: Writer, side: Side, told: list[Any]) -> None:
        side.gate.clear()
        with pytest.raises(TemporaryFailure):
            await writer.submit(put(1))
        late = writer.submit(put(2))
        side.gate.set()
        assert await late == 2
        assert side.connection.saved == [2]  # what was refused is not done later

    run(scenario)


def test_busy_is_asked_again_and_away_is_said_at_once() -> None:
    async def scenario(writer: Writer, side: Side, told: list[Any]) -> None:
        side.begin_fails = [Busy(), Busy()]
        assert await writer.submit(put(1)) == 1
        side.begin_fails = [TemporaryFailure("away")]
        with pytest.raises(TemporaryFailure, match="away"):
            await writer.submit(put(2))

    run(scenario)


def test_dead_is_final() -> None:
    async def scenario(writer: Writer, side: Side, told: list[Any]) -> None:
        side.commit_fails = [StorageDead("EIO")]
        side.gate.clear()
        waiting = [writer.submit(put(n)) for n in range(3)]
        side.gate.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [StorageDead] * 3
        with pytest.raises(StorageDead):
            await writer.submit(put(4))
        assert side.connection.saved == []
        assert [type(event) for event in told if isinstance(event, StorageDead)] == [StorageDead]

    run(scenario)


def test_a_caller_who_went_away_before_is_not_served() -> None:
    async def scenario(writer: Writer, side: Side, told: list[Any]) -> None:
        side.gate.clear()
        first, second = writer.submit(put(1)), writer.submit(put(2))
        first.cancel()
        side.gate.set()
        assert await second == 2
        assert side.connection.saved == [2]

    run(scenario)


def test_close_finishes_what_waits_and_refuses_more() -> None:
    async def scenario(writer: Writer, side: Side, told: list[Any]) -> None:
        waiting = [writer.submit(put(n)) for n in range(600)]
        await writer.close()
        assert await asyncio.gather(*waiting) == list(range(600))
        assert max(side.commits) <= module.BATCH
        with pytest.raises(TemporaryFailure):
            await writer.submit(put(1))

    run(scenario)
