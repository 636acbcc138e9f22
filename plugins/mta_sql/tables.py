"""``Tables``: what plugins keep beside our own, each with a version of its own (docs/decisions/migrations.md).

A migration runs on a connection of its own, in one transaction that includes the new version, while every other process waits;
what was in the plugin's tables before is copied into a file beside the database (SQLite). Statements of plugins are operations of
the group commit like any other; reads take a thread, since nobody knows how long they are.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mta_hooks.backends import Schema, SchemaRecord
from mta_sql.core import Core
from mta_sql.dialect import Connection
from mta_sql.transaction import Transaction

if TYPE_CHECKING:
    import sqlalchemy as sa


class Alone(Protocol):
    """The write side of a database, as far as migrations go. Called in a thread."""

    def alone(self, keep: Callable[[Connection], None], work: Callable[[Connection], None]) -> None:
        """Run ``work`` in a transaction of its own while nobody else writes; ``keep`` before it, outside of any transaction."""
        ...

    def keep(self, connection: Connection, name: str, tables: Sequence[str]) -> None:
        """Copy tables aside before they change, or say that the operator has to have done so."""
        ...


class SqlTables:
    def __init__(self, core: Core, side: Alone) -> None:
        self._core = core
        self._side = side

    async def migrate(self, plugin: str, schema: Schema) -> None:
        from mta_sql.plugin_tables import is_current

        found = {record.plugin: record for record in await self.schemas()}
        if plugin in found and is_current(found[plugin], schema):
            return
        await asyncio.get_running_loop().run_in_executor(None, self._migrate, plugin, schema)

    def _migrate(self, plugin: str, schema: Schema) -> None:
        from mta_sql.alchemy import over
        from mta_sql.plugin_tables import bring_up, is_current, record

        def keep(connection: Connection) -> None:
            found = record(over(connection), plugin)
            if found is not None and not is_current(found, schema):
                self._side.keep(connection, f"{plugin}.version{found.version}", found.tables)

        self._side.alone(keep, lambda connection: bring_up(over(connection), plugin, schema))

    async def read(self, statement: "sa.Executable") -> Sequence[Any]:
        return await self._core.reader.rows(statement)

    async def write(self, statements: Sequence["sa.Executable"]) -> list[int]:
        from mta_sql.alchemy import execute, over
        from mta_sql.plugin_tables import violated

        def run(tx: Transaction) -> list[int]:
            alchemy = over(tx.connection)
            try:
                return [execute(alchemy, statement).rowcount for statement in statements]
            except Exception as exc:
                if (meaning := violated(exc)) is None:
                    raise
                raise meaning from exc

        return await self._core.write(run)

    async def schemas(self) -> list[SchemaRecord]:
        from mta_sql.alchemy import over
        from mta_sql.plugin_tables import records

        return await self._core.read(lambda connection: records(over(connection)), big=True)
