"""Reads: short ones inline on SQLite (about 10 µs, less than a thread hop), everything else in a few threads.

Each thread has a connection of its own, so a scan of a big mailbox never stands in the way of a look-up. Every read
function is one statement, hence one snapshot.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mta_sql.dialect import Connection
from mta_sql.sqlite import SqliteFile, driver, meaning

if TYPE_CHECKING:
    import sqlalchemy as sa

T = TypeVar("T")
Read = Callable[[Connection], T]

THREADS = 4


class Reader(Protocol):
    threads: ThreadPoolExecutor

    async def read(self, work: Read[T], *, big: bool = False) -> T:
        """Run ``work`` on a reader connection. ``big``: may take longer than a millisecond."""
        ...

    async def rows(self, statement: "sa.Executable") -> list[Any]:
        """All rows of a plugin's statement, in a thread."""
        ...

    async def close(self) -> None: ...


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
            return list(execute(over(connection), statement))

        return await self.read(work, big=True)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.threads.shutdown)
        for connection in (self._inline, *self._opened):
            connection.raw.close()
