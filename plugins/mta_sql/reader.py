"""Reads: short ones inline on SQLite (about 10 µs, less than a thread hop), everything else in a few threads.

Each thread has a connection of its own, so a scan of a big mailbox never stands in the way of a look-up. Every read
function is one statement, hence one snapshot.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mta_sql.dialect import Connection
from mta_sql.sqlite import SqliteFile, driver, meaning

if TYPE_CHECKING:
    import sqlalchemy as sa

T = TypeVar("T")
Read = Callable[[Connection], T]

THREADS = 4
LONGEST = 120.0
"""Seconds that a plugin's SELECT may take; PostgreSQL has the same bound for every statement."""
MOST_ROWS = 1_000_000
"""That it may have: they are all in memory at once."""
_STEPS = 100_000  # of SQLite's machine between two looks at the clock: some milliseconds


class Reader(Protocol):
    threads: ThreadPoolExecutor

    async def read(self, work: Read[T], *, big: bool = False) -> T:
        """Run ``work`` on a reader connection. ``big``: may take longer than a millisecond."""
        ...

    async def rows(self, statement: "sa.Executable") -> list[Any]:
        """All rows of a plugin's statement, in a thread. Raises LookupError: more than MOST_ROWS; TemporaryFailure: it took too long."""
        ...

    async def close(self) -> None: ...


def limited(statement: Any) -> Any:
    """With the bound in it, where it has none of its own: PostgreSQL sends all that there is."""
    return statement.limit(MOST_ROWS + 1) if getattr(statement, "_limit_clause", statement) is None else statement


def bounded(found: Iterable[Any]) -> list[Any]:
    """All of them. Raises LookupError: they are more than MOST_ROWS."""
    rows = list(islice(found, MOST_ROWS + 1))
    if len(rows) > MOST_ROWS:
        raise LookupError(f"a SELECT of more than {MOST_ROWS} rows; read them in pages")
    return rows


class SqliteReader:
    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._place = str(file.path.parent)
        self._inline = file.connect(busy=0.0, cache=8 * 2**20)
        self._local = threading.local()
        self._opened: list[Connection] = []
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="mta-sql-reader")

    async def read(self, work: Read[T], *, big: bool = False) -> T:
        if not big:
            with contextlib.suppress(driver.Error):  # locked for a moment, or worse: the thread finds out
                return work(self._inline)
        return await asyncio.get_running_loop().run_in_executor(self.threads, self._threaded, work)

    def _threaded(self, work: Read[T]) -> T:
        try:
            connection: Connection | None = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = self._file.connect(busy=5.0, cache=4 * 2**20)
                self._opened.append(connection)
            return work(connection)
        except driver.Error as exc:
            raise (meaning(exc, self._place) or exc) from exc

    async def rows(self, statement: "sa.Executable") -> list[Any]:
        from mta_sql.alchemy import execute, over

        def work(connection: Connection) -> list[Any]:
            ends = time.monotonic() + LONGEST
            raw: Any = connection.raw
            raw.set_progress_handler(lambda: time.monotonic() > ends, _STEPS)
            try:
                return bounded(execute(over(connection), statement))
            finally:
                raw.set_progress_handler(None, 0)

        return await self.read(work, big=True)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.threads.shutdown)
        for connection in (self._inline, *self._opened):
            connection.raw.close()
