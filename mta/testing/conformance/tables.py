"""``Tables``: what plugins keep."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from mta.model.errors import AlreadyExists, ConfigError
from mta.testing.conformance.backend import Backend, arrive, intake
from mta_hooks.backends import Database, Schema, SchemaRecord

if TYPE_CHECKING:
    from alembic.operations import Operations

METADATA = sa.MetaData()
SEEN = sa.Table(
    "t_seen",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("count", sa.Integer, sa.CheckConstraint("count >= 0"), nullable=False),
    sa.Column("data", sa.LargeBinary),
    sa.Column("good", sa.Boolean),
    sa.Column("more", sa.JSON),
)
FIRST = Schema(METADATA)


def _add_note(operations: "Operations") -> None:
    with operations.batch_alter_table("t_seen") as batch:
        batch.add_column(sa.Column("note", sa.Text, nullable=False, server_default="-"))


def _fail(operations: "Operations") -> None:
    operations.drop_table("t_seen")
    raise RuntimeError("half way")


def _with_note() -> sa.MetaData:
    metadata = sa.MetaData()
    SEEN.to_metadata(metadata).append_column(sa.Column("note", sa.Text, nullable=False, server_default="-"))
    return metadata


SECOND = Schema(_with_note(), (_add_note,))


class TablesConformance:
    def test_rows_are_there_after_a_restart(self, backend: Backend) -> None:
        row = {"name": "ä", "count": 3, "data": b"\0\xff", "good": True, "more": {"a": [1]}}

        async def write(db: Database) -> None:
            await db.tables.migrate("t", FIRST)
            await db.tables.migrate("t", FIRST)
            assert await db.tables.write([SEEN.insert().values(row)]) == [1]

        async def read(db: Database) -> None:
            await db.tables.migrate("t", FIRST)
            [found] = await db.tables.read(SEEN.select().where(SEEN.c.name == "ä"))
            assert found._asdict() == row
            assert await db.tables.schemas() == [SchemaRecord("t", 1, ("t_seen",))]

        backend.run(write, read)

    def test_one_write_is_all_or_nothing(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await db.tables.migrate("t", FIRST)
            await db.tables.write([SEEN.insert().values(name="a", count=1)])
            with pytest.raises(AlreadyExists):
                await db.tables.write([SEEN.update().values(count=7), SEEN.insert().values(name="a", count=2)])
            with pytest.raises(ValueError, match=r"(?i)check"):
                await db.tables.write([SEEN.delete(), SEEN.insert().values(name="b", count=-1)])
            assert [tuple(row) for row in await db.tables.read(sa.select(SEEN.c.name, SEEN.c.count))] == [("a", 1)]
            several = sa.insert(SEEN).values([{"name": n, "count": 0} for n in "bcd"])
            assert await db.tables.write([several, SEEN.update().values(count=2), SEEN.delete().where(SEEN.c.name > "b")]) == [
                3,
                4,
                2,
            ]

        backend.run(scenario)

    def test_a_mistake_of_a_plugin_harms_no_mail(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await db.tables.migrate("t", FIRST)
            user, inbox = await arrive(db)
            await db.tables.write([SEEN.insert().values(name="a", count=1)])
            nowhere = sa.Table("t_nowhere", sa.MetaData(), sa.Column("x", sa.Integer))
            results = await asyncio.gather(
                db.tables.write([SEEN.insert().values(name="a", count=2)]),
                db.spool.accept(intake(user)),
                db.tables.write([nowhere.delete()]),
                db.tables.write([SEEN.insert().values(name="b", count=2)]),
                return_exceptions=True,
            )
            assert isinstance(results[0], AlreadyExists)
            assert results[1] is None
            assert isinstance(results[2], Exception)
            assert results[3] == [1]
            assert (await db.store.status(inbox.id)).messages == 1

        backend.run(scenario)

    def test_migrations_keep_the_rows(self, backend: Backend) -> None:
        async def first(db: Database) -> None:
            await db.tables.migrate("t", FIRST)
            await db.tables.write([SEEN.insert().values(name="a", count=1)])

        async def second(db: Database) -> None:
            await db.tables.migrate("t", SECOND)
            table = SECOND.metadata.tables["t_seen"]
            assert [(row.name, row.note) for row in await db.tables.read(table.select())] == [("a", "-")]
            assert (await db.tables.schemas())[0].version == 2
            with pytest.raises(ConfigError, match="version 2, this plugin knows 1"):
                await db.tables.migrate("t", FIRST)

        backend.run(first, second)

    def test_a_migration_that_fails_changes_nothing(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await db.tables.migrate("t", FIRST)
            await db.tables.write([SEEN.insert().values(name="a", count=1)])
            with pytest.raises(RuntimeError, match="half way"):
                await db.tables.migrate("t", Schema(_with_note(), (_add_note, _fail)))
            assert len(await db.tables.read(SEEN.select())) == 1
            await db.tables.migrate("t", SECOND)

        backend.run(scenario)

    def test_a_table_has_one_owner(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await db.tables.migrate("t", FIRST)
            with pytest.raises(ConfigError, match="t_seen"):
                await db.tables.migrate("other", FIRST)
            assert [record.plugin for record in await db.tables.schemas()] == ["t"]

        backend.run(scenario)

    def test_processes_that_start_together_make_the_tables_once(self, backend: Backend) -> None:
        async def start() -> None:
            databases = [await backend.open() for _ in range(3)]
            await asyncio.gather(*[database.tables.migrate("t", FIRST) for database in databases])
            await databases[0].tables.write([SEEN.insert().values(name="a", count=1)])
            assert len(await databases[2].tables.read(SEEN.select())) == 1
            for database in databases:
                await database.close()

        asyncio.run(start())
