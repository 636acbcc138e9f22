"""``Database``: put together on open, taken apart on close. What the servers see of this plugin."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mta.model.errors import ConfigError
from mta_hooks.backends import Blobs, DatabaseOptions, Directory, MailStore, Outbox, Queue, Spool, Tables, Traces
from mta_hooks.backends.database import KeyValues
from mta_sql import housekeeping, verify
from mta_sql.blobs import blobs_of
from mta_sql.core import Core
from mta_sql.directory import SqlDirectory
from mta_sql.looking import NoWriteSide
from mta_sql.outbox import SqlOutbox
from mta_sql.queue import SqlQueue
from mta_sql.reader import Reader, SqliteReader
from mta_sql.spool import SqlSpool
from mta_sql.sqlite import SqliteFile, SqliteWriteSide, driver, prepare, sound
from mta_sql.store import SqlStore
from mta_sql.tables import SqlTables
from mta_sql.traces import SqlKeyValues, SqlTraces
from mta_sql.transaction import Effects
from mta_sql.writer import Writer

if TYPE_CHECKING:
    from mta_hooks.backends.backup import Copied
    from mta_sql.postgres import PostgresWriteSide

_log = logging.getLogger("mta.sql")


class SqlDatabase:
    """See ``mta_hooks.backends.Database``. Opened and used in one event loop."""

    spool: Spool
    store: MailStore
    queue: Queue
    directory: Directory
    outbox: Outbox
    traces: Traces
    kv: KeyValues
    blobs: Blobs
    tables: Tables

    def __init__(self, url: str, options: DatabaseOptions) -> None:
        self._url = self.url = url
        self._options = options
        self._core: Core | None = None

    async def open(self) -> None:
        folder = Path(self._options.data_dir)
        blobs = blobs_of(self._options.blobs, folder)
        side, reader = await asyncio.get_running_loop().run_in_executor(None, self._connect, folder)
        writer = Writer(side, self._told, self._options.dead)
        core = self._core = Core(self._options, writer, reader, blobs)
        self.blobs = blobs
        self.spool = SqlSpool(core)
        self.store = SqlStore(core)
        self.queue = SqlQueue(core)
        self.directory = SqlDirectory(core)
        self.outbox = SqlOutbox(core)
        self.traces = SqlTraces(core)
        self.kv = SqlKeyValues(core)
        self.tables = SqlTables(core, side)

    async def close(self) -> None:
        if self._core is not None:
            core, self._core = self._core, None
            await core.writer.close()
            await core.reader.close()

    async def housekeep(self, *, now: float) -> None:
        await housekeeping.housekeep(self._opened, now)

    async def verify(self, progress: Callable[[int, int], None]) -> list[str]:
        return await verify.verify(self._opened, progress)

    async def back_up(self, folder: str, progress: Callable[[int, int], None], *, check: bool) -> "Copied":
        from mta_sql import backup

        return await backup.back_up(self._opened, self.url, Path(folder), progress, check=check)

    async def is_in_use(self) -> bool:
        folder = Path(self._options.data_dir)
        if self._url.startswith("postgresql"):
            from mta_sql import postgres

            return await asyncio.to_thread(postgres.is_in_use, self._url)
        return sqlite_path(self._url, folder).exists()

    async def restore(self, folder: str, *, aside: str, progress: Callable[[int, int], None]) -> None:
        from mta_sql import backup

        data_dir = Path(self._options.data_dir)
        path = None if self._url.startswith("postgresql") else sqlite_path(self._url, data_dir)
        await asyncio.to_thread(backup.restore, self._url, path, data_dir, Path(folder), Path(aside), progress)

    @property
    def core(self) -> Core:
        """What other roles of this plugin are made of."""
        return self._opened

    @property
    def _opened(self) -> Core:
        if self._core is None:
            raise RuntimeError("the database is not open")
        return self._core

    def _connect(self, folder: Path) -> "tuple[SqliteWriteSide | PostgresWriteSide | NoWriteSide, Reader]":
        if self._url.startswith("postgresql"):
            from mta_sql import postgres

            if self._options.read_only:
                return NoWriteSide(), postgres.look_on(self._url)
            return postgres.connect(self._url)
        if self._options.read_only:
            return NoWriteSide(), SqliteReader(SqliteFile(sqlite_path(self._url, folder), read_only=True))
        path = sqlite_path(self._url, folder)
        if not sound():
            _log.warning(
                "sql.sqlite_old",
                extra={
                    "fields": {
                        "version": driver.sqlite_version,
                        "fix": "install pysqlite3: SQLite before 3.51.3 has the WAL-reset bug",
                    }
                },
            )
        file = SqliteFile(path)
        turn = prepare(file)
        return SqliteWriteSide(file, turn), SqliteReader(file)

    def _told(self, effects: Effects) -> None:
        """In the loop, after a commit."""
        options = self._options
        if effects.changed:
            options.changed(tuple(effects.changed))
        if effects.queued:
            options.queued()
        if effects.outbox:
            options.noted()
        for user, level in effects.quotas.items():
            options.quota_reached(user, level)


def sqlite_path(url: str, folder: Path) -> Path:
    """``sqlite``: a file in the data folder; ``sqlite:///relative`` and ``sqlite:////absolute`` as SQLAlchemy spells them."""
    rest = url.removeprefix("sqlite")
    if rest in ("", ":", "://", ":///"):
        return folder / "mta.db"
    if not rest.startswith(":///"):
        raise ConfigError("database", "database", f"{url!r} is no SQLite URL", "write sqlite, or sqlite:////path/to/file")
    return folder / rest.removeprefix(":///")
