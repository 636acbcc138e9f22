"""``Blobs``: one compressed file for each, ``<two letters>/<key>``, durable with its name before ``put`` returns."""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import errno
import os
import re
import time
from collections.abc import Container, Iterator
from pathlib import Path

from mta.model.errors import StorageDead, StorageFull, StorageReadOnly, TemporaryFailure
from mta.model.message import Content
from mta_zlib.chunks import Damaged, packed, read_index, read_piece

AGE = 3600.0
TWICE = 600.0
"""A body waits seconds for its row; a jump of the wall clock must not make it look like an hour."""

_KEY = re.compile(r"[a-z0-9-]{1,64}\Z")


class ZlibBlobs:
    """See ``mta_hooks.backends.Blobs``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: set[str] = set()
        self._unnamed: dict[Path, float] = {}

    def put(self, key: str, content: Content) -> None:
        path = self._path(key)
        temporary = path.with_name(f".{key}.new")
        try:
            self._make_folder(path.parent)
            with temporary.open("xb") as file:
                os.fchmod(file.fileno(), 0o600)
                for octets in packed(content.chunks(2**20)):
                    file.write(octets)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
            _sync(path.parent)
        except BaseException as exc:
            for left in (temporary, path):
                with contextlib.suppress(OSError):
                    left.unlink()
            if isinstance(exc, OSError):
                raise _meaning(exc) from exc
            raise

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        path = self._path(key)
        try:
            with path.open("rb") as file:
                return read_piece(file, start, length)
        except FileNotFoundError:
            raise KeyError(key) from None
        except (Damaged, OSError) as exc:
            raise TemporaryFailure(f"{path}: {exc}") from exc

    def size(self, key: str) -> int:
        path = self._path(key)
        try:
            with path.open("rb") as file:
                return read_index(file).size
        except FileNotFoundError:
            raise KeyError(key) from None
        except (Damaged, OSError) as exc:
            raise TemporaryFailure(f"{path}: {exc}") from exc

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def keys(self) -> Iterator[str]:
        return (path.name for path in self._files() if _KEY.match(path.name))

    def sweep(self, named: Container[str]) -> int:
        """What has a time stamp an hour old and was unnamed ten minutes before too, by a clock that cannot jump."""
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

    def _files(self) -> Iterator[Path]:
        for folder in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
            if folder.is_dir():
                yield from folder.iterdir()

    def _path(self, key: str) -> Path:
        if not _KEY.match(key):
            raise KeyError(key)
        return self._folder / key[:2] / key

    def _make_folder(self, folder: Path) -> None:
        if folder.name not in self._known:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync(folder.parent)
            _sync(folder.parent.parent)
            self._known.add(folder.name)


def _meaning(exc: OSError) -> Exception:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(str(exc))
    if exc.errno == errno.EROFS:
        return StorageReadOnly(str(exc))
    if exc.errno == errno.EIO:
        return StorageDead(str(exc))
    return TemporaryFailure(str(exc))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
