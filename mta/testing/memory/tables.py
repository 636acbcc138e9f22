"""``Tables`` in memory: SQLite without a file, one for each ``Data``. Migrations are run; what they may not touch is not checked."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import StaticPool

from mta.model.errors import AlreadyExists, ConfigError
from mta_hooks.backends import Schema, SchemaRecord

_COUNTED = {"preserve_rowcount": True}


class MemoryTables:
    def __init__(self) -> None:
        arguments = {"check_same_thread": False, "isolation_level": None}  # so that DDL is part of a transaction too
        self._engine = sa.create_engine("sqlite://", poolclass=StaticPool, connect_args=arguments)
        sa.event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        self._records: dict[str, SchemaRecord] = {}

    async def migrate(self, plugin: str, schema: Schema) -> None:
        record = self._records.get(plugin)
        if record is not None and record.version >= schema.version:
            if record.version > schema.version:
                problem = f"its tables have version {record.version}, this plugin knows {schema.version}"
                raise ConfigError("database", f"plugins.{plugin}", problem, "install the newer plugin again.")
            return
        owned = {table for known in self._records.values() for table in known.tables if known.plugin != plugin}
        if taken := sorted(owned & set(schema.metadata.tables)):
            raise ConfigError("database", f"plugins.{plugin}", f"the table {taken[0]} is there and is not its own", "rename it.")
        with self._engine.begin() as connection:
            if record is None:
                schema.metadata.create_all(connection)
            else:
                _upgrade(connection, schema, record.version)
        self._records[plugin] = SchemaRecord(plugin, schema.version, tuple(sorted(schema.metadata.tables)))

    async def read(self, statement: sa.Executable) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return connection.execute(statement).all()

    async def write(self, statements: Sequence[sa.Executable]) -> list[int]:
        try:
            with self._engine.begin() as connection:
                return [connection.execute(statement, execution_options=_COUNTED).rowcount for statement in statements]
        except IntegrityError as exc:
            raise (AlreadyExists if "UNIQUE" in str(exc.orig) else ValueError)(str(exc.orig)) from exc

    async def schemas(self) -> list[SchemaRecord]:
        return [self._records[plugin] for plugin in sorted(self._records)]


def _upgrade(connection: sa.Connection, schema: Schema, old: int) -> None:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    operations = Operations(MigrationContext.configure(connection))
    for migration in schema.migrations[old - 1 :]:
        migration(operations)
