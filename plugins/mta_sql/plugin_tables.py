"""Versions of plugins' tables: made whole, brought up step by step, refused when newer (docs/decisions/migrations.md).

Over SQLAlchemy, so imported only where a plugin has tables.
"""
# SPDX-License-Identifier: Apache-2.0

import logging
import time

import sqlalchemy as sa

from mta.model.errors import AlreadyExists, ConfigError
from mta_hooks.backends import Schema, SchemaRecord

_log = logging.getLogger("mta.sql")

_RECORDS = sa.Table(
    "plugin_schemas",
    sa.MetaData(),
    sa.Column("plugin", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("tables", sa.Text, nullable=False),
    sa.Column("made", sa.Float, nullable=False),
)


def bring_up(alchemy: sa.Connection, plugin: str, schema: Schema) -> None:
    """Within a transaction. Raises ConfigError, and what a migration raises."""
    _RECORDS.create(alchemy, checkfirst=True)
    found = record(alchemy, plugin)
    if found is not None and is_current(found, schema):
        return
    before = set(sa.inspect(alchemy).get_table_names())
    wanted = set(schema.metadata.tables)
    if taken := sorted(wanted & before - set(found.tables if found else ())):
        raise _mistake(plugin, f"the table {taken[0]} is there and is not its own", "rename the plugin's table.")
    if found is None:
        schema.metadata.create_all(alchemy, checkfirst=False)
    else:
        _upgrade(alchemy, schema, found.version)
    _check(plugin, before, set(sa.inspect(alchemy).get_table_names()), wanted, set(found.tables if found else ()))
    alchemy.execute(_RECORDS.delete().where(_RECORDS.c.plugin == plugin))
    values = {"plugin": plugin, "version": schema.version, "tables": " ".join(sorted(wanted)), "made": time.time()}
    alchemy.execute(_RECORDS.insert().values(values))
    _log.info(
        "sql.plugin_migrated", extra={"fields": {"plugin": plugin, "old": found.version if found else 0, "new": schema.version}}
    )


def _upgrade(alchemy: sa.Connection, schema: Schema, old: int) -> None:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    operations = Operations(MigrationContext.configure(alchemy))
    for migration in schema.migrations[old - 1 :]:
        migration(operations)


def _check(plugin: str, before: set[str], after: set[str], wanted: set[str], owned: set[str]) -> None:
    if foreign := sorted((before ^ after) - wanted - owned):
        raise _mistake(plugin, f"its migrations make or drop {foreign[0]}, which is not its own", "mend the plugin.")
    if lacking := sorted(wanted - after):
        raise _mistake(plugin, f"its migrations do not make the table {lacking[0]} of its metadata", "mend the plugin.")


def is_current(record: SchemaRecord, schema: Schema) -> bool:
    """Raises ConfigError for data newer than the plugin."""
    if record.version > schema.version:
        problem = f"its tables have version {record.version}, this plugin knows {schema.version}"
        raise _mistake(record.plugin, problem, "install the newer plugin again.")
    return record.version == schema.version


def _mistake(plugin: str, problem: str, fix: str) -> ConfigError:
    return ConfigError("database", f"plugins.{plugin}", problem, fix)


def records(alchemy: sa.Connection) -> list[SchemaRecord]:
    if not sa.inspect(alchemy).has_table(_RECORDS.name):
        return []
    rows = alchemy.execute(_RECORDS.select().order_by(_RECORDS.c.plugin)).all()
    return [SchemaRecord(row.plugin, row.version, tuple(row.tables.split())) for row in rows]


def record(alchemy: sa.Connection, plugin: str) -> SchemaRecord | None:
    return next((record for record in records(alchemy) if record.plugin == plugin), None)


def violated(exc: Exception) -> Exception | None:
    """What a violated constraint is for the plugin; None for another error."""
    state = str(getattr(exc, "sqlstate", None) or "")
    name = str(getattr(exc, "sqlite_errorname", None) or "")
    if state == "23505" or str(exc).startswith(
        "UNIQUE constraint failed"
    ):  # SQLite says so of primary keys too; not every driver has its code
        return AlreadyExists(str(exc))
    return ValueError(str(exc)) if state.startswith("23") or name.startswith("SQLITE_CONSTRAINT") else None
