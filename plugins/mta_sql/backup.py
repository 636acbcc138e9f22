"""Backup and restore. See ``mta_hooks.backends.backup``.

SQLite: its online backup API in one step, one read transaction, so writers go on and no restart is needed; the copy leaves WAL mode and
is one file. PostgreSQL: pg_dump and pg_restore, which have to be installed. Bodies kept outside, wherever ``storage.blobs`` has
them, become files ``blobs/<two letters>/<key>``: before the database, and again behind it, so that whatever the copy of the database
names is there though the server sweeps meanwhile. They never change, so one that is there is not copied again. The
full-text index is left out: it is made anew.
"""
# SPDX-License-Identifier: Apache-2.0

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from mta.model.errors import MailError, TemporaryFailure
from mta_hooks.backends import DatabaseOptions
from mta_hooks.backends.backup import Copied, Progress
from mta_hooks.backends.blobfolder import BlobFolder
from mta_hooks.backends.blobs import Blobs
from mta_sql.dialect import Connection
from mta_sql.sqlite import driver

if TYPE_CHECKING:
    from mta_sql.core import Core

FILE, DUMP, BLOBS = "mta.db", "mta.pgdump", "blobs"
_NEW = ".new"
_PIECE = 2**20
_FILES = "SELECT file FROM blobs WHERE file IS NOT NULL"


class _Body:
    """Content that lies among blobs."""

    def __init__(self, blobs: Blobs, key: str) -> None:
        self._blobs, self._key = blobs, key
        self.size = blobs.size(key)

    def chunks(self, size: int = 65536) -> Iterator[bytes]:
        for start in range(0, self.size, size):
            yield self._blobs.read(self._key, start, min(size, self.size - start))

    def raw(self) -> bytes:
        return self._blobs.read(self._key)


class _Files:
    """The bodies of one backup."""

    def __init__(self, source: Blobs, folder: Path, progress: Progress) -> None:
        self._source = source
        self._target = BlobFolder(folder / BLOBS)
        self._progress = progress
        self.had = set(self._target.keys())
        self.copied: set[str] = set()
        self.octets = 0

    def copy(self, keys: set[str]) -> None:
        missing = sorted(keys - self.had - self.copied)
        for done, key in enumerate(missing, 1):
            try:
                body = _Body(self._source, key)
                self._target.put(key, body)
            except KeyError:  # swept meanwhile; or lost, as the check will say
                continue
            self.copied.add(key)
            self.octets += body.size
            self._progress(done, len(missing))

    def keep_only(self, keys: set[str]) -> int:
        extra = (self.had | self.copied) - keys
        for key in extra:
            self._target.delete(key)
        return len(extra)


def _keys(connection: Connection) -> set[str]:
    return {row[0] for row in connection.execute(_FILES).fetchall()}


async def back_up(core: "Core", url: str, folder: Path, progress: Progress, *, check: bool) -> Copied:
    files = _Files(core.blobs, folder, progress)

    def before(connection: Connection) -> set[str]:
        keys = _keys(connection)
        files.copy(keys)
        return keys

    first = await core.read(before, big=True)
    if url.startswith("postgresql"):
        made, damage = folder / DUMP, None

        def dump(connection: Connection) -> set[str]:
            _pg("pg_dump", url, "--format=custom", f"--file={folder / (DUMP + _NEW)}")
            _pg("pg_restore", "", "--list", str(folder / (DUMP + _NEW)))
            keys = _keys(connection) | first
            files.copy(keys)
            return keys

        named = await core.read(dump, big=True)
    else:
        made = folder / FILE

        def copy(connection: Connection) -> set[str]:
            keys = _copy_file(connection, folder / (FILE + _NEW))
            files.copy(keys)
            return keys

        named = await core.read(copy, big=True)
        damage = tuple(await _check(folder, progress)) if check else ()
    unfinished = made.with_name(made.name + _NEW)
    octets = files.octets + unfinished.stat().st_size
    if damage:
        return Copied(len(files.copied), len(files.had), 0, octets, damage)
    _sync(unfinished)
    unfinished.replace(made)
    _sync(folder)
    removed = files.keep_only(named)
    return Copied(len(files.copied), len(files.had & named), removed, octets, damage)


def _copy_file(connection: Connection, target: Path) -> set[str]:
    """Returns the keys that the copy names."""
    target.unlink(missing_ok=True)
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    raw: Any = driver.connect(str(target), isolation_level=None)
    try:
        source: Any = connection.raw
        source.backup(raw)
        raw.execute("PRAGMA journal_mode = DELETE").fetchall()
        return {row[0] for row in raw.execute(_FILES).fetchall()}
    except driver.Error as exc:
        raise TemporaryFailure(f"{target}: the copy failed: {exc}") from exc
    finally:
        raw.close()


async def _check(folder: Path, progress: Progress) -> list[str]:
    """What ``mta mailbox verify`` says of the copy."""
    from mta_sql.database import SqlDatabase

    database = SqlDatabase(f"sqlite:///{FILE}{_NEW}", DatabaseOptions(str(folder), read_only=True))
    await database.open()
    try:
        return await database.verify(progress)
    finally:
        await database.close()


def check_complete(folder: Path, *, postgres: bool) -> Path:
    """The file that ``restore`` reads. Raises MailError."""
    wanted, other = (DUMP, FILE) if postgres else (FILE, DUMP)
    if (folder / wanted).exists():
        return folder / wanted
    if (folder / other).exists():
        kind = "SQLite" if postgres else "PostgreSQL"
        raise MailError(f"{folder}: is a backup of {kind}, and the config's database is none")
    raise MailError(f"{folder}: has no {wanted}: no backup, or one that was never complete")


def restore(url: str, path: Path | None, data_dir: Path, folder: Path, aside: Path, progress: Progress) -> None:
    """``path``: the database file; None: PostgreSQL."""
    source = check_complete(folder, postgres=path is None)
    if path is None:
        _pg("pg_restore", url, "--clean", "--if-exists", "--no-owner", "--single-transaction", "--exit-on-error", str(source))
    else:
        _restore_file(source, path, aside)
    own, kept = BlobFolder(data_dir / BLOBS), BlobFolder(folder / BLOBS)
    keys = sorted(set(kept.keys()) - set(own.keys()))
    for done, key in enumerate(keys, 1):
        own.put(key, _Body(kept, key))
        progress(done, len(keys))
    for index in data_dir.glob("search.db*"):
        index.unlink()  # made anew by the server


def _restore_file(source: Path, path: Path, aside: Path) -> None:
    """The old files first go out of the way, the log of changes with its file; the new one has its name when it is complete."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + _NEW)
    with source.open("rb") as octets, os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        shutil.copyfileobj(octets, out, _PIECE)
    _sync(unfinished)
    if path.exists():
        aside.mkdir(mode=0o700, parents=True)
        for suffix in ("", "-wal", "-shm"):
            old = path.with_name(path.name + suffix)
            if old.exists():
                old.rename(aside / old.name)
        _sync(aside)
    unfinished.rename(path)
    _sync(path.parent)


def _pg(program: str, url: str, *words: str) -> None:
    """Its password goes by the environment: arguments are everybody's to see."""
    found = shutil.which(program)
    if found is None:
        raise MailError(
            f"{program} is not installed: backups of PostgreSQL are made with it (Debian: apt install postgresql-client)"
        )
    environment = dict(os.environ)
    target = []
    if url:
        parts = urlsplit(url.replace("postgresql+psycopg://", "postgresql://", 1))
        if parts.password:
            environment["PGPASSWORD"] = unquote(parts.password)
        user, at, host = parts.netloc.rpartition("@")
        plain = urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}"))
        target = [f"--dbname={plain}"]
    done = subprocess.run([found, *target, *words], env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise MailError(f"{program}: {done.stderr.strip() or f'exit status {done.returncode}'}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
