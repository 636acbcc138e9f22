"""SQLite: connections, the turn between processes, what its errors mean.

WAL and synchronous=FULL: a commit returns after the log is on stable storage. Processes that share the file take turns by
flock on a file beside it, which the kernel hands over at once and releases when its holder dies, instead of SQLite's
own polling.

Never open the database file or its -shm by other means in this process: closing any descriptor of a file drops all
POSIX locks that SQLite holds on it.
"""
# SPDX-License-Identifier: Apache-2.0

import errno
import fcntl
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mta.model.errors import ConfigError, StorageDead, StorageFull, StorageReadOnly, TemporaryFailure
from mta_hooks.backends.blobfolder import storage_failure
from mta_sql import checkpoint
from mta_sql.checkpoint import Checkpoint
from mta_sql.dialect import Connection, Translation
from mta_sql.migrate import migrate
from mta_sql.transaction import Effects
from mta_sql.writer import Busy

try:
    from pysqlite3 import dbapi2 as _driver  # brings a newer SQLite than the system's
except ImportError:
    import sqlite3 as _driver

driver: Any = _driver

_log = logging.getLogger("mta.sql")

# Primary result codes (https://sqlite.org/rescode.html); extended codes carry them in the low octet.
_BUSY, _LOCKED, _READONLY, _INTERRUPT, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 5, 6, 8, 9, 10, 11, 13, 14, 26
_IOERR_READ, _IOERR_SHORT_READ = 266, 522


def sound() -> bool:
    """False when this SQLite has the WAL-reset bug (fixed in 3.51.3, 3.50.7, 3.44.6)."""
    version = driver.sqlite_version_info
    minimum = {(3, 50): 7, (3, 44): 6}.get(version[:2])
    return bool(version >= (3, 51, 3) or (minimum is not None and version[2] >= minimum))


def error_code(exc: BaseException) -> int:
    """The extended result code, 0 when it is no error of SQLite's."""
    return getattr(exc, "sqlite_errorcode", 0) or 0


def meaning(exc: BaseException, place: str) -> Exception | None:
    """Translate an error of the driver or the system; None when it is neither."""
    if isinstance(exc, OSError):
        return storage_failure(exc)
    if not isinstance(exc, driver.Error):
        return None
    code = error_code(exc)
    text = f"{exc} ({getattr(exc, 'sqlite_errorname', code)})"
    primary = code & 0xFF
    if primary in (_BUSY, _LOCKED):
        return TemporaryFailure(f"database locked: {text}")
    if primary == _INTERRUPT:
        return TemporaryFailure(f"database: the statement took too long: {text}")
    if primary == _FULL:
        return StorageFull(f"database: {text}")
    if primary in (_READONLY, _CANTOPEN):
        return StorageReadOnly(f"database: {text}")
    if primary == _IOERR and code not in (_IOERR_READ, _IOERR_SHORT_READ):
        return StorageReadOnly(f"database: {text}") if _is_read_only(place) else StorageDead(f"database: {text}")
    if primary in (_IOERR, _CORRUPT, _NOTADB):
        return TemporaryFailure(f"database damaged or unreadable: {text}")
    return None


def _is_read_only(place: str) -> bool:
    """Ask, then try: ext4 that stopped writing after an error still calls itself writable (Linux 6.15 and later)."""
    try:
        if os.statvfs(place).f_flag & os.ST_RDONLY:
            return True
        os.close(os.open(place, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        return exc.errno == errno.EROFS
    return False


class SqliteFile:
    """The database file: makes connections, knows its path. ``read_only``: connections that cannot write, checkpoint or migrate."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.translation = Translation("sqlite")
        self._read_only = read_only

    def connect(self, *, busy: float, cache: int) -> Connection:
        """Open a connection; ``busy`` seconds it waits for locks, ``cache`` octets of pages it keeps."""
        if self._read_only:
            return self._look_on(busy, cache)
        try:
            raw = driver.connect(str(self.path), timeout=busy, isolation_level=None, check_same_thread=False, cached_statements=256)
            for pragma in (
                "page_size = 8192",  # before the first table; 4 KiB messages in 4 KiB pages all spill to overflow pages
                "journal_mode = WAL",
                "synchronous = FULL",
                "foreign_keys = ON",
                "wal_autocheckpoint = 0",
                f"journal_size_limit = {8 * checkpoint.OCTETS}",
                f"cache_size = {-cache // 1024}",
                "temp_store = MEMORY",
            ):
                raw.execute(f"PRAGMA {pragma}").fetchall()
        except driver.Error as exc:
            raise self.unusable(exc) from exc
        return Connection(raw, "sqlite", self.translation)

    def _look_on(self, busy: float, cache: int) -> Connection:
        """Raises FileNotFoundError when there is no database."""
        if not self.path.exists():
            raise FileNotFoundError(str(self.path))
        try:
            url = f"file:{quote(str(self.path.absolute()))}?mode=ro"
            raw = driver.connect(url, uri=True, timeout=busy, isolation_level=None, check_same_thread=False, cached_statements=256)
            for pragma in ("query_only = ON", f"cache_size = {-cache // 1024}", "temp_store = MEMORY"):
                raw.execute(f"PRAGMA {pragma}").fetchall()
        except driver.Error as exc:
            raise self.unusable(exc) from exc
        return Connection(raw, "sqlite", self.translation)

    def unusable(self, exc: Any) -> Exception:
        code = error_code(exc) & 0xFF
        if code in (_CORRUPT, _NOTADB):
            return ConfigError(str(self.path), "database", f"not usable: {exc}", "restore a backup: mta restore")
        if code == _CANTOPEN:
            return ConfigError(str(self.path), "data_dir", f"cannot open the database: {exc}", "check folder and permissions")
        return meaning(exc, str(self.path.parent)) or exc


class Turn:
    """The right to write, one holder among all processes. Waiting has no limit of its own: the writer's timer has."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._held = False

    def take(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self._held = True

    def give(self) -> None:
        if self._held:
            self._held = False
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        self.give()
        os.close(self._descriptor)


def _lock_of(file: SqliteFile) -> Path:
    return file.path.with_name(file.path.name + ".lock")


def prepare(file: SqliteFile) -> Turn:
    """Make or migrate the file, one process at a time. Raises ConfigError, and what an error of the storage means."""
    try:
        file.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not file.path.exists():  # mail is nobody else's to read; SQLite gives its log the same mode
            os.close(os.open(file.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        turn = Turn(_lock_of(file))
    except OSError as exc:
        raise ConfigError(str(file.path), "data_dir", f"cannot be used: {exc.strerror}", "check folder and permissions") from exc
    try:
        turn.take()
        connection = file.connect(busy=10.0, cache=2**20)
        try:
            migrate(connection, str(file.path), lambda old: _back_up(connection, file.path, old))
        except driver.Error as exc:
            raise file.unusable(exc) from exc
        finally:
            connection.raw.close()
    except BaseException:
        turn.close()
        raise
    turn.give()
    return turn


def _back_up(connection: Connection, path: Path, old: int) -> None:
    """A copy beside the file, by SQLite itself: a copy of the file alone would miss the log."""
    target = path.with_name(f"{path.name}.version{old}")
    target.unlink(missing_ok=True)
    connection.execute("VACUUM INTO ?", (str(target),))
    _log.info("sql.backup", extra={"fields": {"file": str(target)}})


class SqliteWriteSide:
    """See ``writer.WriteSide``."""

    late = True

    def __init__(self, file: SqliteFile, turn: Turn) -> None:
        self._file = file
        self._place = str(file.path.parent)
        self._turn = turn
        self._connection = file.connect(busy=1.0, cache=32 * 2**20)
        self._execute = self._connection.raw.execute
        self._rows = 0
        self._checkpoint = Checkpoint(
            turn, self._connection, lambda: file.connect(busy=0.0, cache=2**20), self.failure, beside=sound()
        )

    def begin(self, mailboxes: Iterable[int]) -> Connection:
        self._turn.take()
        try:
            self._execute("BEGIN IMMEDIATE")
        except driver.Error as exc:
            self._turn.give()
            if error_code(exc) & 0xFF in (_BUSY, _LOCKED):  # a foreign program; ours hold the turn
                raise Busy from exc
            raise (meaning(exc, self._place) or exc) from exc
        return self._connection

    def restart(self, mailboxes: Iterable[int]) -> Connection:
        self._roll_back()
        self._execute("BEGIN IMMEDIATE")
        return self._connection

    def commit(self, effects: Effects) -> None:
        self._execute("COMMIT")
        rows = self._connection.raw.total_changes  # type: ignore[attr-defined]
        self._checkpoint.wrote(effects.octets + 1000 * (rows - self._rows) - 900 * effects.side_by_side)
        self._rows = rows
        self._turn.give()

    def abandon(self) -> None:
        try:
            self._roll_back()
        except driver.Error:
            _log.error("sql.rollback_failed", exc_info=True)
        finally:
            self._turn.give()

    def failure(self, exc: BaseException) -> Exception | None:
        return meaning(exc, self._place)

    def tidy(self) -> None:
        self._checkpoint.run()

    def alone(self, keep: Callable[[Connection], None], work: Callable[[Connection], None]) -> None:
        """See ``plugin_tables.Alone``."""
        turn = Turn(_lock_of(self._file))  # another than the writer's: they take turns
        connection = None
        try:
            turn.take()
            connection = self._file.connect(busy=10.0, cache=2**20)
            keep(connection)
            connection.execute("PRAGMA foreign_keys = OFF")  # a batch alteration drops and renames tables others refer to
            connection.execute("BEGIN IMMEDIATE")
            try:
                work(connection)
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
        except driver.Error as exc:
            raise (meaning(exc, self._place) or exc) from exc
        finally:
            if connection is not None:
                connection.raw.close()
            turn.close()

    def keep(self, connection: Connection, name: str, tables: Sequence[str]) -> None:
        """Only these tables: a copy of the whole database, mail and all, could take an hour."""
        target = self._file.path.with_name(f"{self._file.path.name}.{name}")
        target.unlink(missing_ok=True)
        connection.execute("ATTACH ? AS kept", (str(target),))
        try:
            for table in tables:
                connection.raw.execute(f'CREATE TABLE kept."{table}" AS SELECT * FROM main."{table}"')  # noqa: S608  # names that we wrote
        finally:
            connection.execute("DETACH kept")
        _log.info("sql.backup", extra={"fields": {"file": str(target)}})

    def close(self) -> None:
        self._checkpoint.close()
        self._connection.raw.close()
        self._turn.close()

    def _roll_back(self) -> None:
        if self._connection.raw.in_transaction:  # type: ignore[attr-defined]  # FULL and IOERR roll back by themselves
            self._execute("ROLLBACK")
