"""Blobs as files, ``<folder>/<two letters>/<key>``: all of ``Blobs`` but how the octets lie in a file.

A file is complete and on stable storage, with its name, before ``put`` returns: temporary name, fsync, rename, fsync of the
folder. A crash in between leaves a file that no row names; ``sweep`` deletes those.
"""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import errno
import os
import re
import time
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from mta.model.errors import StorageDead, StorageFull, StorageReadOnly, TemporaryFailure
from mta.model.message import Content

AGE = 3600.0
TWICE = 600.0
"""A body waits seconds for its row; a jump of the wall clock must not make it look like an hour."""

_KEY = re.compile(r"[a-z0-9-]{1,64}\Z")


def storage_failure(exc: OSError) -> Exception:
    """What an error of the file system means to who wanted something stored."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(str(exc))
    if exc.errno == errno.EROFS:
        return StorageReadOnly(str(exc))
    if exc.errno == errno.EIO:
        return StorageDead(str(exc))
    return TemporaryFailure(str(exc))


class BlobFolder:
    """Files as they are. One that packs them differently overrides ``pack``, ``piece_of`` and ``size_of``.

    What a command makes as root belongs to whoever owns the folder above, the data folder: the server could not read it else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: set[str] = set()
        self._unnamed: dict[Path, float] = {}

    # ---- how it lies in a file

    def pack(self, chunks: Iterable[bytes]) -> Iterable[bytes]:
        """What to write for a message in pieces of a MiB."""
        return chunks

    def piece_of(self, file: BinaryIO, start: int, length: int | None) -> bytes:
        """See ``Blobs.read``. Raises ValueError when the file is damaged."""
        file.seek(start)
        return file.read(-1 if length is None else length)

    def size_of(self, file: BinaryIO) -> int:
        """See ``Blobs.size``. Raises ValueError when the file is damaged."""
        return os.fstat(file.fileno()).st_size

    # ---- Blobs

    def put(self, key: str, content: Content) -> None:
        path = self._path(key)
        temporary = path.with_name(f".{key}.new")
        try:
            self._make_folder(path.parent)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                for octets in self.pack(content.chunks(2**20)):
                    _write(descriptor, octets)
                _give(descriptor, self.folder.parent)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(temporary, path)
            _sync(path.parent)
        except BaseException as exc:
            for left in (temporary, path):
                with contextlib.suppress(OSError):
                    left.unlink()
            if isinstance(exc, OSError):
                raise storage_failure(exc) from exc
            raise

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        with self._opened(key) as file:
            return self.piece_of(file, start, length)

    def size(self, key: str) -> int:
        with self._opened(key) as file:
            return self.size_of(file)

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def keys(self) -> Iterator[str]:
        return (path.name for path in self._files() if _KEY.match(path.name))

    def sweep(self, named: Container[str]) -> int:
        """Delete files that no row names, and left-over temporary ones: those whose time stamp is ``AGE`` old and that an earlier
        sweep, ``TWICE`` before by a clock that cannot jump, found unnamed too. Returns how many."""
        now, before = time.monotonic(), time.time() - AGE
        unnamed: dict[Path, float] = {}
        gone = 0
        for path in self._files():
            if path.name in named:
                continue
            first = self._unnamed.get(path, now)
            with contextlib.suppress(FileNotFoundError):
                if now - first >= TWICE and path.stat().st_mtime < before:
                    path.unlink()
                    gone += 1
                    continue
            unnamed[path] = first
        self._unnamed = unnamed
        return gone

    # ---- files

    @contextlib.contextmanager
    def _opened(self, key: str) -> Iterator[BinaryIO]:
        path = self._path(key)
        try:
            with path.open("rb") as file:
                yield file
        except FileNotFoundError:
            raise KeyError(key) from None
        except (OSError, ValueError) as exc:
            raise TemporaryFailure(f"{path}: {exc}") from exc

    def _files(self) -> Iterator[Path]:
        for folder in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            if folder.is_dir():
                yield from folder.iterdir()

    def _path(self, key: str) -> Path:
        if not _KEY.match(key):
            raise KeyError(key)
        return self.folder / key[:2] / key

    def _make_folder(self, folder: Path) -> None:
        if folder.name in self._known:
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for made in (folder, folder.parent):
            descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            _give(descriptor, self.folder.parent)
            os.close(descriptor)
        _sync(folder.parent)
        _sync(folder.parent.parent)
        self._known.add(folder.name)


def _give(descriptor: int, folder: Path) -> None:
    if os.geteuid() == 0 and (owner := folder.stat()).st_uid != 0:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _write(descriptor: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
