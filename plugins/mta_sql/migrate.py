"""Schema versions: an empty database is made whole, an older one is brought up step by step, a newer one is refused.

Each step is a function over alembic's operations, which know how SQLite alters tables; the order and the version are ours (docs/
decisions/migrations.md). All steps of one upgrade are one transaction, and on SQLite a copy of the file is made before.
"""
# SPDX-License-Identifier: Apache-2.0

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mta.model.errors import ConfigError
from mta_sql import upgrades
from mta_sql.dialect import Connection

if TYPE_CHECKING:
    from alembic.operations import Operations

Step = Callable[["Operations"], None]

STEPS: tuple[Step, ...] = (
    upgrades.refusals_and_terms,
    upgrades.troubles,
    upgrades.scram_keys,
    upgrades.placements,
    upgrades.queue_at_a_million,
    upgrades.sharing,
    upgrades.save_dates,
    upgrades.undelete,
    upgrades.app_passwords,
    upgrades.files_of_blobs,
    upgrades.together,
    upgrades.folders,
)
"""From version 1 to 2, from 2 to 3, …; a step is never changed once released."""

_log = logging.getLogger("mta.sql")
_SQLITE_HAS = "SELECT 1 FROM sqlite_master WHERE name = 'schema_version'"
_POSTGRESQL_HAS = "SELECT 1 WHERE to_regclass('schema_version') IS NOT NULL"
_VERSION = "SELECT max(version) FROM schema_version"
_STAMP = "INSERT INTO schema_version (version, made) VALUES (?, ?)"


def version_of(connection: Connection) -> int:
    """0: empty."""
    has = _SQLITE_HAS if connection.dialect == "sqlite" else _POSTGRESQL_HAS
    if connection.execute(has).fetchone() is None:
        return 0
    return int(connection.execute(_VERSION).fetchone()[0] or 0)


def check(connection: Connection, where: str, steps: tuple[Step, ...] | None = None) -> bool:
    """True when there is nothing to do. Raises ConfigError for data newer than the program."""
    newest = 1 + len(STEPS if steps is None else steps)
    found = version_of(connection)
    if found > newest:
        raise ConfigError(
            where, "database", f"the data has version {found}, this program knows {newest}", "install the newer program again"
        )
    return found == newest


def migrate(connection: Connection, where: str, backup: Callable[[int], None], steps: tuple[Step, ...] | None = None) -> None:
    """Called by one process at a time, outside a transaction. ``backup`` is called with the old version before a change."""
    steps = STEPS if steps is None else steps
    if check(connection, where, steps):
        return
    old = version_of(connection)
    if old:
        backup(old)
    if connection.dialect == "sqlite":  # a batch alteration drops and renames tables others refer to
        connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("BEGIN IMMEDIATE" if connection.dialect == "sqlite" else "BEGIN")
    try:
        if old == 0:
            _create(connection)
        else:
            _upgrade(connection, steps[old - 1 :])
        connection.execute(_STAMP, (1 + len(steps), time.time()))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    finally:
        if connection.dialect == "sqlite":
            connection.execute("PRAGMA foreign_keys = ON")
    _log.info("sql.migrated", extra={"fields": {"database": where, "old": old, "new": 1 + len(steps)}})


def _create(connection: Connection) -> None:
    from mta_sql.schema import statements

    for statement in statements(connection.dialect):
        connection.raw.execute(statement)
    # The one time the clock is asked: a database made anew after a loss must not repeat the values of the lost one.
    connection.execute("INSERT INTO counters (name, value) VALUES ('uid_validity', ?)", (int(time.time()),))


def _upgrade(connection: Connection, steps: tuple[Step, ...]) -> None:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    from mta_sql.alchemy import over

    operations = Operations(MigrationContext.configure(over(connection)))
    for step in steps:
        step(operations)
