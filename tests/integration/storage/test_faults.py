"""What SQLite storage does when the disk is full, dead, read-only, locked or damaged (reliability: disks and databases)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import pytest

from mta.model.errors import ConfigError, StorageDead, StorageFull, StorageReadOnly, TemporaryFailure
from mta.model.message import OctetContent
from mta.testing.conformance import Backend, append, arrive, intake, rows
from mta_hooks.backends import Database, blobfolder
from mta_sql import writer
from mta_sql.sqlite import driver

IOERR_FSYNC, IOERR_WRITE, IOERR_READ = 1034, 778, 266


class Faulty:
    """A connection whose statements fail as told; everything else goes through."""

    def __init__(self, raw: Any, code: int, when: str, name: str = "SQLITE_IOERR") -> None:
        self._raw, self._code, self._when, self._name = raw, code, when, name
        self.tried = 0

    def execute(self, sql: str, params: Any = ()) -> Any:
        if sql.startswith(self._when):
            self.tried += 1
            error = driver.OperationalError("disk I/O error")
            error.sqlite_errorcode, error.sqlite_errorname = self._code, self._name
            raise error
        return self._raw.execute(sql, params)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


def side(db: Any) -> Any:
    return db._core.writer._side


def break_commits(db: Any, code: int, when: str = "COMMIT") -> Faulty:
    faulty = Faulty(side(db)._connection.raw, code, when)
    side(db)._execute = faulty.execute
    return faulty


def test_a_commit_is_synced(sqlite: Backend) -> None:
    async def scenario(db: Database) -> None:
        raw = side(db)._connection.raw
        assert raw.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    sqlite.run(scenario)


@pytest.mark.parametrize("code", [IOERR_FSYNC, IOERR_WRITE])
def test_an_io_error_in_commit_is_the_end(sqlite: Backend, code: int) -> None:
    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        faulty = break_commits(db, code)
        waiting = [asyncio.ensure_future(db.spool.accept(intake(user))) for _ in range(5)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(result) for result in results} == {StorageDead}
        with pytest.raises(StorageDead):
            await db.spool.accept(intake(user))
        with pytest.raises(StorageDead):
            await append(db, inbox)
        await asyncio.sleep(0)
        assert len(sqlite.told.dead) == 1
        assert faulty.tried == 1  # a second fsync may lie
        assert await rows(db, inbox) == []

    sqlite.run(scenario)


def test_eio_from_a_body_file_is_the_end_too(sqlite: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async def scenario(db: Database) -> None:
        user, _ = await arrive(db)
        monkeypatch.setattr(blobfolder.os, "fsync", fsync)
        with pytest.raises(StorageDead):
            await db.spool.accept(intake(user, octets=b"x" * 300_000))
        with pytest.raises(StorageDead):
            await db.spool.accept(intake(user))
        await asyncio.sleep(0)
        assert len(sqlite.told.dead) == 1

    sqlite.run(scenario)


def test_an_unreadable_page_kills_nobody(sqlite: Backend) -> None:
    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        break_commits(db, IOERR_READ, "BEGIN")
        with pytest.raises(TemporaryFailure):
            await db.spool.accept(intake(user))
        side(db)._execute = side(db)._connection.raw.execute
        await db.spool.accept(intake(user))
        assert len(await rows(db, inbox)) == 1
        assert sqlite.told.dead == []

    sqlite.run(scenario)


def test_a_full_disk_refuses_and_recovers(sqlite: Backend) -> None:
    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        await append(db, inbox, 3)
        raw = side(db)._connection.raw
        pages = raw.execute("PRAGMA page_count").fetchone()[0]
        raw.execute(f"PRAGMA max_page_count = {pages + 5}")
        results = await asyncio.gather(
            *[db.spool.accept(intake(user, octets=b"x" * 90_000)) for _ in range(4)], return_exceptions=True
        )
        assert {type(result) for result in results} == {StorageFull}
        assert len(await rows(db, inbox)) == 3  # reading goes on
        await db.store.remove(inbox.id, [(await rows(db, inbox))[0].uid])  # and deleting
        raw.execute("PRAGMA max_page_count = 1000000")
        await db.spool.accept(intake(user, octets=b"x" * 90_000))
        assert len(await rows(db, inbox)) == 3

    sqlite.run(scenario)


def test_new_mail_is_refused_below_the_reserve_and_nothing_else(sqlite: Backend) -> None:
    async def prepare(db: Database) -> None:
        user, inbox = await arrive(db)
        await append(db, inbox, 2)
        await db.spool.accept(intake(user, queued=["far@x.test"]))

    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        for size in (10, 300_000):
            with pytest.raises(StorageFull):
                await db.spool.accept(intake(user, octets=b"x" * size))
            with pytest.raises(StorageFull):
                await append(db, inbox, octets=b"x" * size)
        found = await rows(db, inbox)
        assert len(found) == 3
        assert await db.store.read(found[0].blob) == b"x\r\n"
        await db.store.remove(inbox.id, [found[0].uid])
        assert await db.queue.lease("me", 1, 60.0, now=time.time())
        assert list(db.blobs.keys()) == []

    sqlite.run(prepare)
    sqlite.run(scenario, reserve=2**60)


def test_enospc_for_a_body_file_leaves_nothing_behind(sqlite: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def scenario(db: Database) -> None:
        user, _ = await arrive(db)
        with monkeypatch.context() as patch:
            patch.setattr(blobfolder.os, "fsync", fsync)
            with pytest.raises(StorageFull):
                await db.spool.accept(intake(user, octets=b"x" * 300_000))
        assert [path for path in (sqlite.data_dir / "blobs").rglob("*") if path.is_file()] == []
        await db.spool.accept(intake(user, octets=b"x" * 300_000))
        assert sqlite.told.dead == []

    sqlite.run(scenario)


def test_a_read_only_database_is_read(sqlite: Backend) -> None:
    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        await append(db, inbox)
        raw = side(db)._connection.raw
        raw.execute("PRAGMA query_only = ON")
        with pytest.raises(StorageReadOnly):
            await db.spool.accept(intake(user))
        assert len(await rows(db, inbox)) == 1
        raw.execute("PRAGMA query_only = OFF")
        await db.spool.accept(intake(user))

    sqlite.run(scenario)


def _by_flock(backend: Backend) -> Callable[[], None]:
    descriptor = os.open(backend.data_dir / "mta.db.lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return lambda: os.close(descriptor)


def _by_transaction(backend: Backend) -> Callable[[], None]:
    # In another process: see sqlite.py on closing files.
    import subprocess
    import sys

    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN EXCLUSIVE'); print(flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(backend.data_dir / "mta.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()

    def release() -> None:
        process.communicate()

    return release


@pytest.mark.parametrize("lock", [_by_flock, _by_transaction])
def test_a_lock_held_elsewhere_is_waited_for_but_not_for_ever(
    sqlite: Backend, monkeypatch: pytest.MonkeyPatch, lock: Callable[[Backend], Callable[[], None]]
) -> None:
    monkeypatch.setattr(writer, "PATIENCE", 1.0)

    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        await append(db, inbox)
        release = lock(sqlite)
        try:
            began = time.monotonic()
            waiting = asyncio.gather(*[db.spool.accept(intake(user)) for _ in range(3)], return_exceptions=True)
            longest = 0.0
            while not waiting.done():  # reads go on, the loop is free
                before = time.monotonic()
                assert len(await rows(db, inbox)) == 1
                await asyncio.sleep(0.01)
                longest = max(longest, time.monotonic() - before)
            assert {type(result) for result in await waiting} == {TemporaryFailure}
            assert 0.9 < time.monotonic() - began < 3.0
            assert longest < 0.5
        finally:
            release()
        await db.spool.accept(intake(user))
        assert len(await rows(db, inbox)) == 2

    sqlite.run(scenario)


def test_a_file_that_is_no_database_is_a_configuration_error(sqlite: Backend) -> None:
    (sqlite.data_dir / "mta.db").write_bytes(b"this is not a database at all" * 100)

    async def scenario(_db: Database) -> None: ...

    with pytest.raises(ConfigError):
        sqlite.run(scenario)


def test_verify_finds_what_is_damaged(sqlite: Backend) -> None:
    async def prepare(db: Database) -> None:
        user, inbox = await arrive(db)
        await append(db, inbox, 3)
        await db.spool.accept(intake(user, octets=b"x" * 300_000, queued=["far@x.test"]))

    async def scenario(db: Database) -> None:
        damage = "\n".join(await db.verify(lambda _done, _total: None))
        for text in ("counters say", "its octets are gone (blob 1)", "its file", "not below the mailbox's next", "no recipients"):
            assert text in damage

    sqlite.run(prepare)
    with sqlite3.connect(sqlite.data_dir / "mta.db") as connection:
        connection.execute("UPDATE mailboxes SET messages = 7 WHERE name = 'INBOX'")
        connection.execute("DELETE FROM blobs WHERE id = 1")
        connection.execute("UPDATE messages SET modseq = 99 WHERE uid = 2")
        connection.execute("DELETE FROM queue")
    connection.close()
    for path in (sqlite.data_dir / "blobs").rglob("*"):
        if path.is_file():
            path.unlink()
    sqlite.run(scenario, sound=False)


def test_files_that_no_row_names_are_swept_when_old(sqlite: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        await db.spool.accept(intake(user, octets=b"x" * 300_000))
        db.blobs.put("orphan-old", OctetContent(b"x"))
        db.blobs.put("orphan-new", OctetContent(b"x"))
        left_over = sqlite.data_dir / "blobs" / "or" / ".half.new"
        left_over.write_bytes(b"x")
        named = next(key for key in list(db.blobs.keys()) if not key.startswith("orphan"))
        for path in (sqlite.data_dir / "blobs" / "or" / "orphan-old", left_over, sqlite.data_dir / "blobs" / named[:2] / named):
            os.utime(path, (time.time() - 7200, time.time() - 7200))
        await db.housekeep(now=time.time())
        await db.housekeep(now=time.time())
        assert "orphan-old" in list(db.blobs.keys())  # the clock may have jumped: it is looked at again later
        monkeypatch.setattr(blobfolder, "TWICE", 0.0)
        await db.housekeep(now=time.time())
        assert sorted(db.blobs.keys()) == sorted([named, "orphan-new"])
        assert not left_over.exists()
        assert len(await db.store.read((await rows(db, inbox))[0].blob)) == 300_000

    sqlite.run(scenario)
