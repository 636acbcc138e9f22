"""Which index goes with which database: PostgreSQL keeps its own in tables; for every other store it is a SQLite file in the data folder."""
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path
from typing import Any

from mta.model.errors import ConfigError
from mta_hooks.backends.database import DatabaseOptions
from mta_hooks.backends.search import Search
from mta_sql.database import SqlDatabase
from mta_sql.dialect import Connection
from mta_sql.search import SqliteSearch

FILE = "search.db"
_IDENTITY = "SELECT min(made) FROM schema_version"
_NEWEST = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'blobs'"


def make_search(url: str, database: Any, options: DatabaseOptions) -> Search:
    """``url`` is the scheme alone: there is nothing to name. Raises ConfigError."""
    if url.partition(":")[2]:
        raise ConfigError(
            "storage.search", "storage.search", f"{url!r}: {url.partition(':')[0]} takes nothing behind it", "write sql."
        )
    path = Path(options.data_dir) / FILE
    if not isinstance(database, SqlDatabase):
        return SqliteSearch(path, _unknown, options.reserve)
    core = database.core
    if database.url.startswith("postgresql"):
        from mta_sql.search_postgres import PostgresSearch

        return PostgresSearch(core.reader)

    def look(connection: Connection) -> tuple[str, int]:
        return str(connection.execute(_IDENTITY).fetchone()[0]), int(connection.execute(_NEWEST).fetchone()[0])

    async def about() -> tuple[str, int]:
        return await core.read(look)

    return SqliteSearch(path, about, options.reserve)


async def _unknown() -> tuple[str, int]:
    """A store that says nothing of itself."""
    return "", 2**63 - 1
