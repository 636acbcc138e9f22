"""What only a real database shows of plugins' tables: copies before a change, strangers' tables, mail that goes on meanwhile."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.dialects.postgresql import insert as upsert

from mta.model.errors import AlreadyExists, ConfigError, TemporaryFailure
from mta.pluginhost.sqlin import statement_in
from mta.pluginhost.sqlout import statement_out
from mta.testing.conformance import Backend, arrive, intake
from mta_hooks.backends import Database, Schema
from mta_sql import open_database, reader

FIRST = sa.MetaData()
A = sa.Table("t_a", FIRST, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text, unique=True))
B = sa.Table(
    "t_b", FIRST, sa.Column("id", sa.Integer, primary_key=True), sa.Column("a", sa.ForeignKey("t_a.id", ondelete="CASCADE"))
)


@pytest.fixture(params=["sqlite", "postgresql"])
def sql(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    url = "sqlite" if request.param == "sqlite" else request.getfixturevalue("postgresql")()
    return Backend(lambda options: open_database(url, options), tmp_path)


async def fill(db: Database) -> None:
    await db.tables.migrate("t", Schema(FIRST))
    await db.tables.write([A.insert().values(id=1, name="x"), B.insert().values(id=1, a=1)])


def rename(operations: Operations) -> None:
    with operations.batch_alter_table("t_a") as batch:
        batch.alter_column("name", new_column_name="title")


def renamed() -> sa.MetaData:
    metadata = sa.MetaData()
    sa.Table("t_a", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("title", sa.Text, unique=True))
    B.to_metadata(metadata)
    return metadata


def test_a_rebuilt_table_keeps_what_refers_to_it(sql: Backend) -> None:
    async def upgrade(db: Database) -> None:
        await db.tables.migrate("t", Schema(renamed(), (rename,)))
        [row] = await db.tables.read(renamed().tables["t_a"].select())
        assert row.title == "x"
        assert len(await db.tables.read(B.select())) == 1
        await db.tables.write([renamed().tables["t_a"].delete()])
        assert await db.tables.read(B.select()) == []  # the reference is alive

    sql.run(fill, upgrade)


@pytest.mark.parametrize("apart", [False, True], ids=["here", "isolated"])
def test_upserts_ctes_and_windows_mean_the_same_everywhere(sql: Backend, apart: bool) -> None:
    """Both databases, the plugin here or in a process of its own."""

    def sent(statement: sa.Executable) -> sa.Executable:
        there: sa.Executable = statement_in(json.loads(json.dumps(statement_out(statement))), FIRST.tables)
        return there if apart else statement

    async def scenario(db: Database) -> None:
        await db.tables.migrate("t", Schema(FIRST))
        new = upsert(A).values([{"id": 1, "name": "x"}, {"id": 2, "name": "y"}])
        newer = upsert(A).values([{"id": 2, "name": "z"}, {"id": 3, "name": "w"}])
        by_id = newer.on_conflict_do_update(index_elements=[A.c.id], set_={"name": A.c.name + newer.excluded.name})
        unless = (
            upsert(A).values(id=3, name="v").on_conflict_do_update(index_elements=["id"], set_={"name": "v"}, where=A.c.name == "q")
        )
        copied = upsert(A).from_select(["id", "name"], sa.select(A.c.id + 1, A.c.name).where(sa.true())).on_conflict_do_nothing()
        changes = (
            new,
            new.on_conflict_do_nothing(),
            by_id,
            unless,
            copied,
            B.insert().values([{"id": 2, "a": 1}, {"id": 3, "a": 2}]),
        )
        assert await db.tables.write([sent(one) for one in changes]) == [2, 0, 2, 0, 0, 2]
        numbered = sa.select(A.c.name, sa.func.row_number().over(order_by=A.c.id.desc()).label("n")).order_by(A.c.id)
        assert [tuple(row) for row in await db.tables.read(sent(numbered))] == [("x", 3), ("yz", 2), ("w", 1)]
        first = sa.select(A.c.id).where(A.c.id == 1).cte("chain", recursive=True)
        chain = first.union_all(sa.select(B.c.id).join(first, first.c.id == B.c.a))
        assert [row.id for row in await db.tables.read(sent(sa.select(chain.c.id).order_by(chain.c.id)))] == [1, 2, 3]
        with pytest.raises(AlreadyExists):
            await db.tables.write([sent(upsert(A).values(id=4, name="x").on_conflict_do_nothing(index_elements=["id"]))])

    sql.run(scenario)


def endless() -> sa.Select[Any]:
    first = sa.select(A.c.id).where(A.c.id == 1).cte("chain", recursive=True)
    return sa.select(first.union_all(sa.select(first.c.id + 1)))


def test_a_select_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LONGEST", 0.2)

    async def scenario(db: Database) -> None:
        with pytest.raises(TemporaryFailure, match="too long"):
            await db.tables.read(sa.select(sa.func.count()).select_from(endless().subquery()))
        assert len(await db.tables.read(A.select())) == 1

    Backend(lambda options: open_database("sqlite", options), tmp_path).run(fill, scenario)


def test_a_select_of_too_many_rows_is_refused(sql: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MOST_ROWS", 1000)

    async def scenario(db: Database) -> None:
        assert len(await db.tables.read(endless().limit(1000))) == 1000
        for statement in (endless(), endless().limit(1001)):
            with pytest.raises(LookupError, match="1000 rows"):
                await db.tables.read(statement)

    sql.run(fill, scenario)


def test_a_copy_of_the_plugins_tables_is_kept(tmp_path: Path) -> None:
    backend = Backend(lambda options: open_database("sqlite", options), tmp_path)

    async def upgrade(db: Database) -> None:
        await db.tables.migrate("t", Schema(renamed(), (rename,)))

    backend.run(fill)
    assert [path.name for path in tmp_path.glob("mta.db.t.*")] == []
    backend.run(upgrade)
    kept = sqlite3.connect(tmp_path / "mta.db.t.version1")
    assert kept.execute("SELECT name FROM t_a").fetchall() == [("x",)]
    assert {row[0] for row in kept.execute("SELECT name FROM sqlite_master")} == {"t_a", "t_b"}
    kept.close()


def meddle(operations: Operations) -> None:
    operations.drop_table("outbox")


def stray(operations: Operations) -> None:
    operations.create_table("elsewhere", sa.Column("x", sa.Integer))


def lazy(_operations: Operations) -> None:
    """Does not make what the metadata says."""


def more() -> sa.MetaData:
    metadata = renamed()
    sa.Table("t_c", metadata, sa.Column("x", sa.Integer))
    return metadata


@pytest.mark.parametrize(
    ("metadata", "step", "problem"),
    [(FIRST, meddle, "outbox"), (FIRST, stray, "elsewhere"), (more(), lazy, "do not make the table t_c")],
)
def test_a_migration_that_goes_astray_changes_nothing(sql: Backend, metadata: sa.MetaData, step: Any, problem: str) -> None:
    async def scenario(db: Database) -> None:
        await fill(db)
        with pytest.raises(ConfigError, match=problem):
            await db.tables.migrate("t", Schema(metadata, (step,)))
        assert (await db.tables.schemas())[0].version == 1
        user, _ = await arrive(db)
        await db.spool.accept(intake(user, queued=["x@y.test"]))

    sql.run(scenario)


def test_a_table_of_the_server_is_nobody_elses(sql: Backend) -> None:
    async def scenario(db: Database) -> None:
        metadata = sa.MetaData()
        sa.Table("queue_messages", metadata, sa.Column("x", sa.Integer))
        with pytest.raises(ConfigError, match="queue_messages is there and is not its own"):
            await db.tables.migrate("queue", Schema(metadata))

    sql.run(scenario)


def test_mail_is_accepted_while_tables_are_migrated_and_read(sql: Backend) -> None:
    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)

        async def mail() -> None:
            for _ in range(20):
                await db.spool.accept(intake(user))

        async def tables() -> None:
            await fill(db)
            for number in range(20):
                await db.tables.write([A.insert().values(id=100 + number, name=str(number))])
                await db.tables.read(A.select())
            await db.tables.migrate("t", Schema(renamed(), (rename,)))

        await asyncio.gather(mail(), tables(), mail())
        assert (await db.store.status(inbox.id)).messages == 40
        [row] = await db.tables.read(sa.select(sa.func.count()).select_from(renamed().tables["t_a"]))
        assert row[0] == 21

    sql.run(scenario)
