"""PostgreSQL that goes away: reconnect, and the outcome of a COMMIT whose answer was lost."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mta.model.errors import ConfigError, TemporaryFailure
from mta.testing.conformance import Backend, append, arrive, intake, rows
from mta.testing.postgresql import PostgreSql
from mta_hooks.backends import Database
from mta_sql import open_database

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed (extra postgres)")


class LosesTheAnswer:
    """A driver connection that breaks at the next COMMIT, after or before the server got it."""

    def __init__(self, raw: Any, *, committed: bool) -> None:
        self._raw, self._committed = raw, committed

    def execute(self, sql: str, params: Any = None) -> Any:
        if sql == "COMMIT":
            if self._committed:
                self._raw.execute(sql)
            self._raw.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return self._raw.execute(sql, params)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


def _break(db: Any, *, committed: bool) -> None:
    connection = db._core.writer._side._connection
    connection.raw = LosesTheAnswer(connection.raw, committed=committed)


def test_a_commit_whose_answer_was_lost_is_found_out(postgres: Backend) -> None:
    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        await db.spool.accept(intake(user))
        _break(db, committed=True)
        waiting = [db.spool.accept(intake(user)), append(db, inbox)]
        await asyncio.gather(*waiting)  # acknowledged, because it is there
        assert len(await rows(db, inbox)) == 3
        _break(db, committed=False)
        with pytest.raises(TemporaryFailure):
            await db.spool.accept(intake(user, id="LOST"))
        assert len(await rows(db, inbox)) == 3
        await db.spool.accept(intake(user, id="LOST"))
        assert len(await rows(db, inbox)) == 4

    postgres.run(scenario)


def test_a_server_that_crashes_is_451_until_it_is_back(server: PostgreSql, postgres: Backend) -> None:
    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        acknowledged = 0
        server.crash()
        try:
            for _ in range(3):
                with pytest.raises(TemporaryFailure):
                    await db.spool.accept(intake(user))
                with pytest.raises(TemporaryFailure):
                    await db.store.status(inbox.id)
        finally:
            server.recover()
        for _ in range(5):
            await db.spool.accept(intake(user))
            acknowledged += 1
        assert len(await rows(db, inbox)) == acknowledged
        assert postgres.told.dead == []

    postgres.run(scenario)


def test_a_crash_under_load_loses_nothing_acknowledged(server: PostgreSql, postgres: Backend) -> None:
    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        acknowledged: list[str] = []
        stop = False

        async def task(number: int) -> None:
            n = 0
            while not stop:
                name = f"{number}-{n}"
                try:
                    await db.spool.accept(intake(user, id=name, octets=name.encode()))
                except TemporaryFailure:
                    await asyncio.sleep(0.02)  # the peer tries the same message again
                else:
                    acknowledged.append(name)
                    n += 1

        tasks = [asyncio.ensure_future(task(number)) for number in range(10)]
        loop = asyncio.get_running_loop()
        for _ in range(3):
            await asyncio.sleep(0.2)
            await loop.run_in_executor(None, server.crash)
            await loop.run_in_executor(None, server.recover)
        await asyncio.sleep(0.3)
        stop = True
        await asyncio.gather(*tasks)
        found = await rows(db, inbox)
        names = [octets.decode() for octets in await db.store.read_many([row.blob for row in found])]
        assert len(names) == len(set(names))
        assert set(acknowledged) == set(names)
        assert len(names) > 30

    postgres.run(scenario)


@pytest.mark.parametrize(
    ("url", "error"),
    [("postgresql://nobody@127.0.0.1:1/none", TemporaryFailure), ("postgresql://host:port/name", ConfigError)],
)
def test_a_server_that_is_not_there(tmp_path: Path, url: str, error: type[Exception]) -> None:
    backend = Backend(lambda options: open_database(url, options), tmp_path)

    async def scenario(_db: Database) -> None: ...

    with pytest.raises(error):
        backend.run(scenario)
