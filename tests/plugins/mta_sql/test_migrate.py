"""Schema versions: made once, brought up step by step with a copy kept, refused when newer."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.operations import Operations

from mta.model.errors import ConfigError
from mta.testing.conformance import Backend, append, arrive, rows
from mta_hooks.backends import Database
from mta_sql import migrate, open_database

STEPS = migrate.STEPS


def add_column(operations: Operations) -> None:
    operations.add_column("users", sa.Column("note", sa.Text, nullable=False, server_default=""))


def rebuild_table(operations: Operations) -> None:
    with operations.batch_alter_table("users") as batch:
        batch.alter_column("note", new_column_name="remark")
        batch.create_check_constraint("quota_is_a_size", "quota >= 0")


def fail(operations: Operations) -> None:
    operations.drop_table("outbox")
    raise RuntimeError("half way")


@pytest.fixture(params=["sqlite", "postgresql"])
def sql(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    url = "sqlite" if request.param == "sqlite" else request.getfixturevalue("postgresql")()
    return Backend(lambda options: open_database(url, options), tmp_path)


async def fill(db: Database) -> None:
    _, inbox = await arrive(db)
    await append(db, inbox, 3)


async def is_whole(db: Any) -> None:
    _, inbox = await arrive(db)
    assert len(await rows(db, inbox)) == 3


def test_steps_keep_the_data(sql: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    async def is_upgraded(db: Any) -> None:
        await is_whole(db)
        found = await db._core.read(lambda connection: connection.execute("SELECT remark FROM users").fetchall())
        assert [tuple(row) for row in found] == [("",)]

    sql.run(fill)
    monkeypatch.setattr(migrate, "STEPS", (*STEPS, add_column))
    sql.run(is_whole)
    monkeypatch.setattr(migrate, "STEPS", (*STEPS, add_column, rebuild_table))
    sql.run(is_upgraded, is_upgraded)


def test_a_copy_is_kept_before_sqlite_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Backend(lambda options: open_database("sqlite", options), tmp_path)
    backend.run(fill)
    assert [path.name for path in tmp_path.glob("mta.db.version*")] == []
    monkeypatch.setattr(migrate, "STEPS", (*STEPS, add_column))
    backend.run(is_whole)
    connection = sqlite3.connect(tmp_path / f"mta.db.version{len(STEPS) + 1}")
    assert connection.execute("SELECT count(*) FROM messages").fetchone() == (3,)
    assert connection.execute("SELECT max(version) FROM schema_version").fetchone() == (len(STEPS) + 1,)
    connection.close()


def test_a_step_that_fails_changes_nothing(sql: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    sql.run(fill)
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "STEPS", (*STEPS, add_column, fail))
        with pytest.raises(RuntimeError, match="half way"):
            sql.run(is_whole)
    sql.run(is_whole)
    monkeypatch.setattr(migrate, "STEPS", (*STEPS, add_column, rebuild_table))
    sql.run(is_whole)


def test_newer_data_is_refused(sql: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "STEPS", (*STEPS, add_column))
        sql.run(fill)
    with pytest.raises(ConfigError, match=f"version {len(STEPS) + 2}, this program knows {len(STEPS) + 1}"):
        sql.run(is_whole)


def test_processes_that_start_together_make_one_schema(sql: Backend) -> None:
    async def start() -> None:
        databases = await asyncio.gather(*[sql.open() for _ in range(4)])
        await fill(databases[0])
        await is_whole(databases[3])
        for database in databases:
            await database.close()

    asyncio.run(start())


def test_an_old_database_becomes_what_a_new_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shape(folder: Path) -> dict[str, tuple[list[Any], list[Any]]]:
        connection = sqlite3.connect(folder / "mta.db")
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        columns = {name: [row[1:4] for row in connection.execute(f"PRAGMA table_info({name})")] for name in names}
        indices = {name: sorted(row[1] for row in connection.execute(f"PRAGMA index_list({name})")) for name in names}
        connection.close()
        return {name: (columns[name], indices[name]) for name in names}

    (tmp_path / "new").mkdir()
    (tmp_path / "old").mkdir()
    Backend(lambda options: open_database("sqlite", options), tmp_path / "new").run(fill)
    connection = sqlite3.connect(tmp_path / "old" / "mta.db")
    connection.executescript((Path(__file__).parent / "schema_1.sql").read_text(encoding="utf-8"))
    connection.execute("INSERT INTO schema_version (version, made) VALUES (1, 0)")
    connection.execute("INSERT INTO counters (name, value) VALUES ('uid_validity', 7)")
    connection.commit()
    connection.close()
    Backend(lambda options: open_database("sqlite", options), tmp_path / "old").run(fill)
    assert shape(tmp_path / "old") == shape(tmp_path / "new")


def test_a_look_at_nothing_makes_nothing(sql: Backend) -> None:
    async def look() -> None:
        with pytest.raises(FileNotFoundError):
            await sql.open(read_only=True)

    asyncio.run(look())
    assert list(sql.data_dir.iterdir()) == []
