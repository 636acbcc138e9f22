"""What the indexer reads: which messages came since, and which of those it knows are still there. See ``mta_hooks.backends.search``."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from typing import Any

from mta.model.ids import BlobId
from mta.model.search import Backlog
from mta_sql.core import Core
from mta_sql.dialect import Connection

_HELD = "EXISTS (SELECT 1 FROM messages WHERE blob_id = blobs.id)"
_ABOVE = f"SELECT id, size, {_HELD} FROM blobs WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"  # noqa: S608
_OF = f"SELECT id, size, {_HELD} FROM blobs WHERE id IN ARRAY ?"  # noqa: S608
_NEWEST_SQLITE = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'blobs'"
_NEWEST_POSTGRESQL = (
    "SELECT (SELECT coalesce(max(id), 0) FROM blobs), pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint"
    " FROM pg_current_snapshot() s"
)


class Horizon:
    """The highest id below which nothing can appear any more.

    SQLite has one writer, so ids appear in their order. PostgreSQL's appear when their transactions commit: an id is below the horizon
    once every transaction that ran when it was seen has ended (each takes its number before its first id: ``postgres.begin``).
    """

    def __init__(self) -> None:
        self._seen: tuple[int, int] | None = None  # newest id, first transaction that began later
        self._safe = 0

    def read(self, connection: Connection) -> tuple[int, int]:
        """(horizon, newest id)."""
        if connection.dialect == "sqlite":
            newest = connection.execute(_NEWEST_SQLITE).fetchone()[0]
            return newest, newest
        newest, oldest_running, next_one = connection.execute(_NEWEST_POSTGRESQL).fetchone()
        if self._seen is None:
            self._seen = (newest, next_one)
        if oldest_running >= self._seen[1]:
            self._safe = self._seen[0]
            self._seen = (newest, next_one)
            if oldest_running >= next_one:
                self._safe = newest
        return self._safe, newest


async def backlog(core: Core, horizon: Horizon, after: int, limit: int) -> Backlog:
    def read(connection: Connection) -> Backlog:
        safe, newest = horizon.read(connection)
        rows: list[Any] = connection.execute(_ABOVE, (after, safe, limit)).fetchall()
        upto = rows[-1][0] if len(rows) == limit and rows else max(after, safe)
        held = [(BlobId(row[0]), int(row[1])) for row in rows if row[2]]
        return Backlog(held, [BlobId(row[0]) for row in rows if not row[2]], upto, newest)

    return await core.read(read, big=True)


async def holding(core: Core, blobs: Sequence[BlobId]) -> tuple[list[tuple[BlobId, int]], list[BlobId]]:
    def read(connection: Connection) -> tuple[list[tuple[BlobId, int]], list[BlobId]]:
        rows: list[Any] = connection.execute(_OF, (connection.array(blobs),)).fetchall()
        there = {row[0] for row in rows}
        return [(BlobId(row[0]), int(row[1])) for row in rows if row[2]], [blob for blob in blobs if blob not in there]

    return await core.read(read, big=True)
