"""Tables that belong to plugins, in the same database as everything else."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # SQLAlchemy is imported by plugins that have tables, not by everybody
    from alembic.operations import Operations
    from sqlalchemy import Executable, MetaData

Migration = Callable[["Operations"], None]


@dataclass(frozen=True, slots=True)
class Schema:
    """What a plugin keeps.

    metadata    its tables as they are now, for a database that has none of them
    migrations  from version 1 to 2, from 2 to 3, …, over alembic's operations; one that was released is never changed
    """

    metadata: "MetaData"
    migrations: tuple[Migration, ...] = ()

    @property
    def version(self) -> int:
        return 1 + len(self.migrations)


@dataclass(frozen=True, slots=True)
class SchemaRecord:
    """What the database has of a plugin, whether it is still installed or not."""

    plugin: str
    version: int
    tables: tuple[str, ...]


class Tables(Protocol):
    """One for all plugins; which tables a plugin may name is its host's business."""

    async def migrate(self, plugin: str, schema: Schema) -> None:
        """Bring the plugin's tables to the schema's version, all or nothing, one process at a time; quick when they are there.

        Raises ConfigError when the data is newer than the schema, when a table is there that is not the plugin's, when a
        migration does not lead to the metadata or touches tables of others; and whatever a migration raises.
        """
        ...

    async def read(self, statement: "Executable") -> Sequence[Any]:
        """Rows of one SELECT, as SQLAlchemy's ``Row``. Never blocks the event loop."""
        ...

    async def write(self, statements: Sequence["Executable"]) -> list[int]:
        """Run INSERT, UPDATE and DELETE in one durable transaction, all or none; how many rows each one touched.

        Raises AlreadyExists when a row with such a key is there, ValueError for another constraint, TemporaryFailure and the
        others of ``Spool.accept``.
        """
        ...

    async def schemas(self) -> list[SchemaRecord]: ...
