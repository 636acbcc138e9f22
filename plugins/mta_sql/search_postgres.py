"""``Search`` on PostgreSQL: trigrams as an array of numbers with a GIN index, which every server has (pg_trgm is an extension).

Tables in the same database, derived data: made anew when of another version, not migrated. Commits of the index do not wait for the
disk; the position goes back with what is lost.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mta.model.ids import BlobId
from mta.model.search import FIELDS, Document, Found
from mta_sql.dialect import Connection
from mta_sql.grams import asked, grams, number, storable
from mta_sql.reader import Reader

T = TypeVar("T")

VERSION = 2
_LOCK = "SELECT pg_advisory_xact_lock(1836345715)"
_SPARSE = 8

_COLUMNS = ", ".join(f'"{name}"' for name in FIELDS)
_TEXTS = ", ".join(f'"{name}" TEXT' for name in FIELDS)
_INDEX = (
    "CREATE TABLE search_index (blob BIGINT PRIMARY KEY, held BOOLEAN NOT NULL, whole BOOLEAN NOT NULL, grams INTEGER[],"
    f" {_TEXTS}, keys BYTEA)"
)
_SCHEMA = (
    "DROP TABLE IF EXISTS search_state, search_index",
    "CREATE TABLE search_state (version INTEGER NOT NULL, position BIGINT NOT NULL)",
    _INDEX,
    "CREATE INDEX search_grams ON search_index USING gin (grams)",
    "CREATE INDEX search_always ON search_index (blob) WHERE NOT whole",
)
_PUT = (
    f"INSERT INTO search_index (blob, held, whole, grams, {_COLUMNS}, keys) VALUES (?, TRUE, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
    " ON CONFLICT (blob) DO UPDATE SET held = TRUE, whole = excluded.whole, grams = excluded.grams, keys = excluded.keys, "
    + ", ".join(f'"{name}" = excluded."{name}"' for name in FIELDS)
)
_UNHELD = "INSERT INTO search_index (blob, held, whole) VALUES (?, FALSE, FALSE) ON CONFLICT (blob) DO NOTHING"
_MOVE = "UPDATE search_state SET position = ? WHERE position = ?"
_POSITION = "(SELECT position FROM search_state)"


class PostgresSearch:
    """Every call is one transaction on a connection of the readers' pool."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def open(self) -> None:
        def run(connection: Connection) -> None:
            connection.execute(_LOCK)
            has = connection.execute("SELECT to_regclass('search_state') IS NOT NULL").fetchone()[0]
            row = connection.execute("SELECT version FROM search_state").fetchone() if has else None
            if row is None or row[0] != VERSION:
                _empty(connection)

        await self._transact(run)

    async def close(self) -> None:
        """The pool is the database's."""

    # ---- writing

    async def position(self) -> int:
        return await self._reader.read(lambda connection: int(connection.execute(f"SELECT {_POSITION}").fetchone()[0]), big=True)

    async def index(self, documents: Sequence[Document], *, after: int, upto: int, unheld: Sequence[BlobId] = ()) -> bool:
        rows = [_row(document) for document in documents]

        def run(connection: Connection) -> bool:
            if connection.execute(_MOVE, (upto, after)).rowcount != 1:
                return False
            connection.executemany(_PUT, rows)
            connection.executemany(_UNHELD, [(blob,) for blob in unheld])
            return True

        return await self._transact(run)

    async def add(self, documents: Sequence[Document]) -> None:
        rows = [_row(document) for document in documents]
        await self._transact(lambda connection: connection.executemany(_PUT, rows))

    async def forget(self, blobs: Sequence[BlobId]) -> None:
        sql = "DELETE FROM search_index WHERE blob IN ARRAY ?"
        await self._transact(lambda connection: connection.execute(sql, (list(blobs),)))

    async def clear(self) -> None:
        def run(connection: Connection) -> None:
            connection.execute(_LOCK)
            _empty(connection)

        await self._transact(run)

    # ---- reading

    async def known(self, after: int, limit: int) -> list[BlobId]:
        return await self._list("SELECT blob FROM search_index WHERE blob > ? ORDER BY blob LIMIT ?", (after, limit))

    async def unheld(self, after: int, limit: int) -> list[BlobId]:
        sql = "SELECT blob FROM search_index WHERE NOT whole AND NOT held AND blob > ? ORDER BY blob LIMIT ?"
        return await self._list(sql, (after, limit))

    async def candidates(self, text: str, among: Sequence[int]) -> Found | None:
        wanted = _numbers(text)
        if not wanted or not among:
            return None
        where, params = _among(among)
        sql = f"SELECT {_POSITION}, NULL UNION ALL SELECT NULL, blob FROM search_index WHERE {where} AND (grams @> ?::int[] OR NOT whole)"  # noqa: S608
        rows = await self._rows(sql, (*params, wanted))
        return Found(rows[0][0], frozenset(), frozenset([row[1] for row in rows[1:]]))

    async def with_field(self, field: str, text: str, among: Sequence[int]) -> Found | None:
        if field not in FIELDS or not among:
            return None
        where, params = _among(among)
        wanted, gram = storable(text), _numbers(text)
        if gram:
            where, params = f"{where} AND (grams @> ?::int[] OR NOT whole)", (*params, gram)
        sql = (
            f'SELECT {_POSITION}, FALSE UNION ALL SELECT blob, "{field}" IS NULL FROM search_index WHERE {where}'  # noqa: S608
            f' AND ("{field}" IS NULL OR position(? IN "{field}") > 0)'
        )
        rows = await self._rows(sql, (*params, wanted))
        sure = frozenset([blob for blob, unsure in rows[1:] if not unsure])
        return Found(rows[0][0], sure, frozenset([blob for blob, unsure in rows[1:] if unsure]))

    async def keys(self, blobs: Sequence[int]) -> dict[int, bytes]:
        if not blobs:
            return {}
        where, params = _among(blobs)
        rows = await self._rows(f"SELECT blob, keys FROM search_index WHERE {where} AND keys IS NOT NULL", params)  # noqa: S608
        return {blob: bytes(keys) for blob, keys in rows}

    # ---- connections

    async def _rows(self, sql: str, params: tuple[Any, ...]) -> list[Any]:
        return await self._reader.read(lambda connection: connection.execute(sql, params).fetchall(), big=True)

    async def _list(self, sql: str, params: tuple[Any, ...]) -> list[BlobId]:
        return [row[0] for row in await self._rows(sql, params)]

    async def _transact(self, run: Callable[[Connection], T]) -> T:
        def work(connection: Connection) -> T:
            connection.execute("BEGIN")
            try:
                connection.execute("SET LOCAL synchronous_commit = off")
                result = run(connection)
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            return result

        return await self._reader.read(work, big=True)


def _empty(connection: Connection) -> None:
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute("INSERT INTO search_state (version, position) VALUES (?, 0)", (VERSION,))


def _row(document: Document) -> tuple[Any, ...]:
    fields = [None if field is None else storable(field) for field in document.fields]
    numbers = sorted(set(map(number, grams(storable(document.text)))))
    return (document.blob, document.complete, numbers, *fields, document.keys)


def _numbers(text: str) -> list[int]:
    return sorted(set(map(number, asked(storable(text)))))


def _among(blobs: Sequence[int]) -> tuple[str, tuple[Any, ...]]:
    low, high = min(blobs), max(blobs)
    if high - low > _SPARSE * len(blobs):
        return "blob IN ARRAY ?", (list(blobs),)
    return "blob BETWEEN ? AND ?", (low, high)
