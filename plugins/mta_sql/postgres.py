"""PostgreSQL: the same batches over psycopg 3, through SQLAlchemy's engine and pool.

Each transaction writes a token into ``commits``. When the connection is lost in COMMIT, its outcome is found out by writing
the same token again over a new connection: that waits for the old transaction to end, and conflicts if it was committed.
So no client is told "try again" for what is there, and nothing is acknowledged that is not.

A batch locks the mailboxes it knows it will change in the order of their ids, so that processes do not deadlock; what it
did not know is repaired by running the transaction again.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import errors
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mta.model.errors import ConfigError, StorageFull, StorageReadOnly, TemporaryFailure
from mta_sql.alchemy import execute
from mta_sql.dialect import Connection, Translation
from mta_sql.migrate import check, migrate, version_of
from mta_sql.reader import THREADS, Read, bounded, limited
from mta_sql.transaction import Effects
from mta_sql.writer import Again, Busy

if TYPE_CHECKING:
    import sqlalchemy as sa

T = TypeVar("T")

_log = logging.getLogger("mta.sql")
_MIGRATING = 0x6D7461  # the advisory lock under which one process migrates
_MARK = "INSERT INTO commits (token, made) VALUES ('{}', {:f})"
_DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
_LIMITS = "SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '60s'; SET statement_timeout = '120s'"


def connect(url: str) -> "tuple[PostgresWriteSide, PostgresReader]":
    """Migrate, and return both sides. Raises ConfigError, TemporaryFailure when the server is away."""
    engine, where = _engine(url)
    translation = Translation("postgresql")
    borrowed = _borrow(engine, where)
    try:
        connection = Connection(_driver(borrowed), "postgresql", translation)
        if not check(connection, where):
            connection.execute("SELECT pg_advisory_lock(?)", (_MIGRATING,))
            migrate(
                connection, where, lambda old: _log.warning("sql.no_backup", extra={"fields": {"database": where, "version": old}})
            )
    except psycopg.Error as exc:
        raise (failure(exc) or ConfigError(where, "database", str(exc), "check the account's rights")) from exc
    finally:
        borrowed.invalidate()  # ends the session, and with it the advisory lock
    return PostgresWriteSide(engine, translation), PostgresReader(engine, translation)


def look_on(url: str) -> "PostgresReader":
    """The read side alone, over sessions that cannot write. Raises FileNotFoundError when nothing was ever written, and as ``connect``."""
    engine, where = _engine(url, "-c default_transaction_read_only=on")
    translation = Translation("postgresql")
    borrowed = _borrow(engine, where)
    try:
        if not version_of(Connection(_driver(borrowed), "postgresql", translation)):
            raise FileNotFoundError(where)
    except psycopg.Error as exc:
        raise (failure(exc) or ConfigError(where, "database", str(exc), "check the account's rights")) from exc
    finally:
        borrowed.close()
    return PostgresReader(engine, translation)


def _engine(url: str, options: str = "") -> tuple[Engine, str]:
    """The pool, and its name for messages."""
    more = {"options": options} if options else {}
    try:
        target = make_url(url).set(drivername="postgresql+psycopg")
        engine = create_engine(
            target,
            isolation_level="AUTOCOMMIT",
            pool_size=THREADS + 1,
            max_overflow=0,
            pool_timeout=10.0,
            connect_args={"connect_timeout": 5, **more},
        )
    except Exception as exc:
        raise ConfigError("database", "database", f"no usable URL: {exc}", "write postgresql://user@host/name") from exc
    return engine, target.render_as_string(hide_password=True)


def _borrow(engine: Engine, where: str) -> Any:
    try:
        return engine.raw_connection()
    except (psycopg.Error, DBAPIError) as exc:
        raise TemporaryFailure(f"{where}: {exc}") from exc


def _driver(borrowed: Any) -> Any:
    return borrowed.driver_connection


def failure(exc: BaseException) -> Exception | None:
    """Translate an error of the driver; None when it is the operation's own."""
    if isinstance(exc, DBAPIError) and exc.orig is not None:
        exc = exc.orig
    if isinstance(exc, PoolTimeout):
        return TemporaryFailure(str(exc))
    if not isinstance(exc, psycopg.Error):
        return None
    if isinstance(exc, errors.SerializationFailure | errors.DeadlockDetected | errors.IntegrityError):
        return Again(str(exc))  # unique violation: another process made the same mailbox in the meantime
    if isinstance(exc, errors.DiskFull):
        return StorageFull(str(exc))
    if isinstance(exc, errors.ReadOnlySqlTransaction):
        return StorageReadOnly(str(exc))
    if isinstance(exc, psycopg.OperationalError | psycopg.InterfaceError | psycopg.InternalError):
        return TemporaryFailure(f"database: {exc}")
    return None


class PostgresWriteSide:
    """See ``writer.WriteSide``."""

    late = False

    def __init__(self, engine: Engine, translation: Translation) -> None:
        self._engine = engine
        self._translation = translation
        self._borrowed: Any = None
        self._connection: Connection | None = None
        self._token = ""
        self._mailboxes: set[int] = set()

    def begin(self, mailboxes: Iterable[int]) -> Connection:
        self._mailboxes = set(mailboxes)
        try:
            return self._begin()
        except psycopg.Error as exc:
            if self._connection is not None and not self._connection.raw.closed:  # type: ignore[attr-defined]
                self.abandon()
                meaning = failure(exc)
                raise (Busy() if isinstance(meaning, Again) else meaning or exc) from exc
        self._drop()  # the server went away since the last batch
        try:
            return self._begin()
        except (psycopg.Error, DBAPIError, PoolTimeout) as exc:
            self._drop()
            raise (failure(exc) or exc) from exc

    def _begin(self) -> Connection:
        if self._connection is None:
            self._borrowed = self._engine.raw_connection()
            raw = _driver(self._borrowed)
            raw.execute(_LIMITS)
            raw.execute(_DURABLE)
            self._connection = Connection(raw, "postgresql", self._translation)
        self._token = secrets.token_hex(12)
        begin = "BEGIN; " + _MARK.format(self._token, time.time())
        if self._mailboxes:
            begin += f"; SELECT 1 FROM mailboxes WHERE id IN ({','.join(map(str, self._mailboxes))}) ORDER BY id FOR UPDATE"  # noqa: S608
        self._connection.raw.execute(begin)
        return self._connection

    def restart(self, mailboxes: Iterable[int]) -> Connection:
        assert self._connection is not None
        self._mailboxes.update(mailboxes)
        self._connection.raw.execute("ROLLBACK")
        return self._begin()

    def commit(self, effects: Effects) -> None:
        assert self._connection is not None
        try:
            cursor = self._connection.raw.execute("COMMIT")
        except psycopg.Error:
            if not self._connection.raw.closed:  # type: ignore[attr-defined]
                raise
            self._drop()
            if not self._was_committed():
                raise
            return
        if cursor.statusmessage != "COMMIT":  # a failed transaction ends in ROLLBACK without an error
            raise TemporaryFailure("the transaction could not be committed")

    def _was_committed(self) -> bool:
        """Raises psycopg or DBAPI errors when the server stays away: then the outcome is unknown."""
        token = self._token
        deadline = time.monotonic() + 5.0
        while True:
            try:
                connection = self._begin()
                done: bool = connection.raw.execute(_MARK.format(token, time.time()) + " ON CONFLICT DO NOTHING").rowcount == 0
                connection.raw.execute("ROLLBACK")
            except (psycopg.Error, DBAPIError):
                self._drop()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                _log.warning("sql.commit_resolved", extra={"fields": {"committed": done}})
                return done

    def abandon(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.raw.execute("ROLLBACK")
        except psycopg.Error:
            self._drop()

    def failure(self, exc: BaseException) -> Exception | None:
        meaning = failure(exc)
        if isinstance(meaning, StorageReadOnly):  # a standby after a failover: connect anew next time
            self._drop()
        return meaning

    def alone(self, keep: Callable[[Connection], None], work: Callable[[Connection], None]) -> None:
        """See ``plugin_tables.Alone``."""
        borrowed = self._engine.raw_connection()
        try:
            connection = Connection(_driver(borrowed), "postgresql", self._translation)
            connection.execute("SELECT pg_advisory_lock(?)", (_MIGRATING,))
            keep(connection)
            connection.execute("BEGIN")
            try:
                work(connection)
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
        except psycopg.Error as exc:
            raise (failure(exc) or exc) from exc
        finally:
            borrowed.invalidate()  # ends the session, and with it the advisory lock

    def keep(self, connection: Connection, name: str, tables: Sequence[str]) -> None:
        _log.warning("sql.no_backup", extra={"fields": {"database": name, "tables": " ".join(tables)}})

    def tidy(self) -> None: ...

    def close(self) -> None:
        self._drop()

    def _drop(self) -> None:
        borrowed, self._borrowed, self._connection = self._borrowed, None, None
        if borrowed is not None:
            borrowed.invalidate()


class PostgresReader:
    """Every read in a thread: the loop never waits for the server."""

    def __init__(self, engine: Engine, translation: Translation) -> None:
        self._engine = engine
        self._translation = translation
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="mta-sql-reader")

    async def read(self, work: Read[T], *, big: bool = False) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.threads, self._threaded, work)

    async def rows(self, statement: "sa.Executable") -> list[Any]:
        def once() -> list[Any]:
            with self._engine.connect() as alchemy:
                return bounded(execute(alchemy, limited(statement)))

        return await asyncio.get_running_loop().run_in_executor(self.threads, self._twice, once)

    def _threaded(self, work: Read[T]) -> T:
        return self._twice(lambda: self._once(work))

    def _twice(self, once: Callable[[], T]) -> T:
        try:
            return once()
        except (psycopg.OperationalError, psycopg.InterfaceError, DBAPIError):
            self._engine.dispose()  # the others in the pool are as dead
        try:
            return once()
        except (psycopg.Error, DBAPIError, PoolTimeout) as exc:
            raise (failure(exc) or exc) from exc

    def _once(self, work: Read[T]) -> T:
        borrowed = self._engine.raw_connection()
        try:
            return work(Connection(_driver(borrowed), "postgresql", self._translation))
        except psycopg.Error:
            borrowed.invalidate()
            raise
        finally:
            borrowed.close()

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self.threads.shutdown)
        await loop.run_in_executor(None, self._engine.dispose)


def is_in_use(url: str) -> bool:
    """Whether our tables are there. Raises TemporaryFailure when the server is away."""
    engine, where = _engine(url)
    borrowed = _borrow(engine, where)
    try:
        return version_of(Connection(_driver(borrowed), "postgresql", Translation("postgresql"))) > 0
    finally:
        borrowed.close()
        engine.dispose()
