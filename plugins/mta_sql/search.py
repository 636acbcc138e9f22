"""``Search`` on SQLite: FTS5 with trigrams in a file of its own, so that indexing never takes the turn of those who write mail.

The file is derived data. It is made anew when it is damaged, of another version, or of another database. Commits are not synced
one by one: a power loss takes the position back together with what was indexed.

``grams`` holds which trigram is in which message and no text (contentless, detail=none: about 0.8 octets for each of text); ``heads`` the
folded fields of ``FIELDS``. ``whole`` 0 marks messages that are candidates always: not held by a mailbox when they were passed,
or longer than what is indexed.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from mta.model.errors import TemporaryFailure
from mta.model.ids import BlobId
from mta.model.search import FIELDS, Document, Found
from mta_sql.dialect import json_array
from mta_sql.grams import asked, storable
from mta_sql.sqlite import Turn, driver, error_code

T = TypeVar("T")
About = Callable[[], Awaitable[tuple[str, int]]]
"""Tells which data is indexed, and its highest id so far: an index that is ahead of it belongs to other data."""

VERSION = 2
_OLDEST = (3, 43, 0)
"""First SQLite that can delete from a contentless table."""
_READERS = 2
_DAMAGED = (11, 26)
_SPARSE = 8
"""A range of ids that is so many times longer than the ids in it is not read through."""

_log = logging.getLogger("mta.sql")
_COLUMNS = ", ".join(f'"{name}"' for name in FIELDS)
_SCHEMA = (
    "CREATE TABLE state (version INTEGER NOT NULL, identity TEXT NOT NULL, position INTEGER NOT NULL)",
    "CREATE VIRTUAL TABLE grams USING fts5(text, tokenize = 'trigram case_sensitive 1', content = '', contentless_delete = 1, detail = none)",
    f"CREATE TABLE heads (blob INTEGER PRIMARY KEY, held INTEGER NOT NULL, whole INTEGER NOT NULL, {_COLUMNS})",
    "CREATE INDEX heads_always ON heads (blob, held) WHERE whole = 0",
    "CREATE TABLE sort_keys (blob INTEGER PRIMARY KEY, keys BLOB NOT NULL)",
)
_TABLES = ("state", "grams", "heads", "sort_keys")
_HEAD = f"INSERT OR REPLACE INTO heads (blob, held, whole, {_COLUMNS}) VALUES (?, 1, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_UNHELD = "INSERT OR REPLACE INTO heads (blob, held, whole) VALUES (?, 0, 0)"
_KEYS = "INSERT OR REPLACE INTO sort_keys (blob, keys) VALUES (?, ?)"
_ALWAYS = "SELECT blob FROM heads INDEXED BY heads_always WHERE whole = 0 AND blob BETWEEN ? AND ?"
_MATCH = "SELECT rowid FROM grams WHERE grams MATCH ? AND rowid BETWEEN ? AND ?"


class SqliteSearch:
    """See ``mta_hooks.backends.search.Search``."""

    def __init__(self, path: Path, about: About, reserve: int = 0) -> None:
        """``reserve``: octets of free disk below which nothing is indexed; mail comes first."""
        self._path, self._about, self._reserve = path, about, reserve
        self._identity, self._newest = "", 0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="mta-search-writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="mta-search")
        self._own: Any = None
        self._local = threading.local()
        self._opened: list[Any] = []

    # ---- life

    async def open(self) -> None:
        if driver.sqlite_version_info < _OLDEST:
            raise TemporaryFailure(f"search: SQLite {driver.sqlite_version} is older than 3.43; install pysqlite3")
        self._identity, self._newest = await self._about()
        await self._write(self._prepare)

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._writer.shutdown)
        await loop.run_in_executor(None, self._readers.shutdown)
        for raw in (self._own, *self._opened):
            if raw is not None:
                raw.close()

    def _prepare(self) -> None:
        """One process at a time: nobody makes the file anew while another opens it."""
        turn = Turn(self._path.with_name(self._path.name + ".lock"))
        try:
            turn.take()
            self._make_or_replace()
        finally:
            turn.close()

    def _make_or_replace(self) -> None:
        try:
            self._make()
        except driver.Error as exc:
            if error_code(exc) & 0xFF not in _DAMAGED:
                raise
            _log.warning("sql.search_damaged", extra={"fields": {"file": str(self._path), "error": str(exc)}})
            if self._own is not None:
                self._own.close()
            for ending in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
            self._make()

    def _make(self) -> None:
        self._own = self._connect(cache=16 * 2**20)
        self._begin()
        try:
            has = self._own.execute("SELECT 1 FROM sqlite_master WHERE name = 'state'").fetchone()
            row = self._own.execute("SELECT version, identity, position FROM state").fetchone() if has else None
            if row is None or row[0] != VERSION or row[1] != self._identity or row[2] > self._newest:
                self._empty()
            self._own.execute("COMMIT")
        except BaseException:
            self._own.execute("ROLLBACK")
            raise

    def _empty(self) -> None:
        for name in _TABLES:
            self._own.execute(f"DROP TABLE IF EXISTS {name}")
        for statement in _SCHEMA:
            self._own.execute(statement)
        self._own.execute("INSERT INTO state (version, identity, position) VALUES (?, ?, 0)", (VERSION, self._identity))

    def _connect(self, cache: int) -> Any:
        raw = driver.connect(str(self._path), timeout=10.0, isolation_level=None, check_same_thread=False)
        self._path.chmod(0o600)
        for pragma in (
            "page_size = 8192",
            "journal_mode = WAL",
            "synchronous = NORMAL",
            f"cache_size = {-cache // 1024}",
            "temp_store = MEMORY",
        ):
            raw.execute(f"PRAGMA {pragma}").fetchall()
        return raw

    # ---- writing

    async def position(self) -> int:
        return await self._read(lambda raw: int(raw.execute("SELECT position FROM state").fetchone()[0]))

    async def index(self, documents: Sequence[Document], *, after: int, upto: int, unheld: Sequence[BlobId] = ()) -> bool:
        def run() -> bool:
            self._check_room()
            if self._own.execute("UPDATE state SET position = ? WHERE position = ?", (upto, after)).rowcount != 1:
                return False
            self._put(documents)
            self._own.executemany(_UNHELD, [(blob,) for blob in unheld])
            return True

        return await self._write(lambda: self._transact(run))

    def _check_room(self) -> None:
        state = os.statvfs(self._path.parent)
        if state.f_bavail * state.f_frsize < self._reserve:
            raise TemporaryFailure("search: the disk is nearly full, and nothing is indexed")

    async def add(self, documents: Sequence[Document]) -> None:
        await self._write(lambda: self._transact(lambda: self._put(documents)))

    async def forget(self, blobs: Sequence[BlobId]) -> None:
        def run() -> None:
            for table, column in (("grams", "rowid"), ("heads", "blob"), ("sort_keys", "blob")):
                self._own.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(blob,) for blob in blobs])  # noqa: S608

        await self._write(lambda: self._transact(run))

    async def clear(self) -> None:
        await self._write(lambda: self._transact(self._empty))

    def _put(self, documents: Sequence[Document]) -> None:
        own = self._own
        own.executemany("DELETE FROM grams WHERE rowid = ?", [(document.blob,) for document in documents])
        own.executemany("INSERT INTO grams (rowid, text) VALUES (?, ?)", [(d.blob, storable(d.text)) for d in documents])
        heads = [(d.blob, int(d.complete), *[None if f is None else storable(f) for f in d.fields]) for d in documents]
        own.executemany(_HEAD, heads)
        own.executemany(_KEYS, [(document.blob, document.keys) for document in documents])

    def _begin(self) -> None:
        self._own.execute("BEGIN IMMEDIATE")

    def _transact(self, run: Callable[[], T]) -> T:
        self._begin()
        try:
            result = run()
            self._own.execute("COMMIT")
        except BaseException:
            if self._own.in_transaction:
                self._own.execute("ROLLBACK")
            raise
        return result

    # ---- reading

    async def known(self, after: int, limit: int) -> list[BlobId]:
        sql = "SELECT blob FROM heads WHERE blob > ? ORDER BY blob LIMIT ?"
        return await self._read(lambda raw: [row[0] for row in raw.execute(sql, (after, limit)).fetchall()])

    async def unheld(self, after: int, limit: int) -> list[BlobId]:
        sql = "SELECT blob FROM heads INDEXED BY heads_always WHERE whole = 0 AND held = 0 AND blob > ? ORDER BY blob LIMIT ?"
        return await self._read(lambda raw: [row[0] for row in raw.execute(sql, (after, limit)).fetchall()])

    async def candidates(self, text: str, among: Sequence[int]) -> Found | None:
        query = _query(text)
        if not query or not among:
            return None
        low, high = min(among), max(among)

        def run(raw: Any) -> Found:
            position = raw.execute("SELECT position FROM state").fetchone()[0]
            return Found(position, frozenset(), _ids(raw, f"{_MATCH} UNION ALL {_ALWAYS}", (query, low, high, low, high)))

        return await self._read(run)

    async def with_field(self, field: str, text: str, among: Sequence[int]) -> Found | None:
        if field not in FIELDS or not among:
            return None
        wanted, query = storable(text), _query(text)
        low, high = min(among), max(among)
        where, params = _where(among)

        def run(raw: Any) -> Found:
            position = raw.execute("SELECT position FROM state").fetchone()[0]
            narrowed = where if not query else f"{where} AND blob IN ({_MATCH} UNION ALL {_ALWAYS})"
            more = (query, low, high, low, high) if query else ()
            sure = _ids(raw, f'SELECT blob FROM heads WHERE {narrowed} AND instr("{field}", ?) > 0', (*params, *more, wanted))  # noqa: S608
            unsure = _ids(raw, f'SELECT blob FROM heads WHERE {narrowed} AND "{field}" IS NULL', (*params, *more))  # noqa: S608
            return Found(position, sure, unsure)

        return await self._read(run)

    async def keys(self, blobs: Sequence[int]) -> dict[int, bytes]:
        if not blobs:
            return {}
        where, params = _where(blobs)
        sql = f"SELECT blob, keys FROM sort_keys WHERE {where}"  # noqa: S608
        return await self._read(lambda raw: dict(raw.execute(sql, params).fetchall()))

    # ---- threads

    async def _write(self, work: Callable[[], T]) -> T:
        return await self._run(self._writer, work)

    async def _read(self, work: Callable[[Any], T]) -> T:
        return await self._run(self._readers, lambda: self._look(work))

    def _look(self, work: Callable[[Any], T]) -> T:
        raw = self._reader()
        raw.execute("BEGIN")  # position and answer are of one moment
        try:
            return work(raw)
        finally:
            raw.execute("ROLLBACK")

    async def _run(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, work)
        except (driver.Error, OSError) as exc:
            raise TemporaryFailure(f"search: {exc}") from exc

    def _reader(self) -> Any:
        raw = getattr(self._local, "raw", None)
        if raw is None:
            raw = self._local.raw = self._connect(cache=8 * 2**20)
            self._opened.append(raw)
        return raw


def _query(text: str) -> str:
    """All trigrams, as FTS5 reads it; "" when there are none."""
    return " AND ".join('"' + gram.replace('"', '""') + '"' for gram in asked(storable(text)))


def _where(blobs: Sequence[int]) -> tuple[str, tuple[Any, ...]]:
    low, high = min(blobs), max(blobs)
    if high - low > _SPARSE * len(blobs):
        return "blob IN (SELECT value FROM json_each(?))", (json_array(blobs),)
    return "blob BETWEEN ? AND ?", (low, high)


def _ids(raw: Any, sql: str, params: tuple[Any, ...]) -> frozenset[int]:
    return frozenset([row[0] for row in raw.execute(sql, params).fetchall()])
