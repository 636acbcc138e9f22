"""Bodies too large for a row, as files: ``blobs/<two letters>/<key>``.

A file is complete and on stable storage, with its name, before the row that refers to it is written: temporary name,
fsync, rename, fsync of the folder. A crash in between leaves a file that no row names; ``housekeep`` sweeps those, but
never one whose row may be on its way.
"""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import os
import re
import secrets
import time
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from mta.model.message import Content
from mta_hooks.backends import Blobs
from mta_sql.sqlite import os_failure

INLINE = 256 * 1024
"""Bodies below this lie in the row: one read, one fsync, no file."""

AGE = 3600.0
TWICE = 600.0
"""A body waits seconds for its row; a jump of the wall clock must not make it look like an hour."""

_KEY = re.compile(r"[a-z0-9-]{1,64}\Z")


def new_key() -> str:
    return secrets.token_hex(16)


class FileBlobs:
    def __init__(self, folder: Path) -> None:
        self.folder = self._folder = folder
        self._known: set[str] = set()
        self._unnamed: dict[Path, float] = {}

    def put(self, key: str, content: Content) -> None:
        path = self._path(key)
        temporary = path.with_name(f".{key}.new")
        try:
            self._make_folder(path.parent)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                for chunk in content.chunks(2**20):
                    _write(descriptor, chunk)
                _give(descriptor, self._folder.parent)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(temporary, path)
            _sync_folder(path.parent)
        except BaseException as exc:
            for left in (temporary, path):
                with contextlib.suppress(OSError):
                    left.unlink()
            if isinstance(exc, OSError):
                raise os_failure(exc) from exc
            raise

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        try:
            with self._path(key).open("rb") as file:
                file.seek(start)
                return file.read(-1 if length is None else length)
        except FileNotFoundError:
            raise KeyError(key) from None

    def size(self, key: str) -> int:
        """Raises KeyError."""
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError:
            raise KeyError(key) from None

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def keys(self) -> Iterator[str]:
        for path in self._files():
            if _KEY.match(path.name):
                yield path.name

    def sweep(self, named: Container[str]) -> int:
        """Delete files that no row names, and left-over temporary ones: those whose time stamp is ``AGE`` old and that an earlier
        sweep, ``TWICE`` before by a clock that cannot jump, found unnamed too. Returns how many. Blocking."""
        now = time.monotonic()
        before = time.time() - AGE
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
        if self._folder.is_dir():
            for folder in sorted(self._folder.iterdir()):
                if folder.is_dir():
                    yield from folder.iterdir()

    def _path(self, key: str) -> Path:
        if not _KEY.match(key):
            raise KeyError(key)
        return self._folder / key[:2] / key

    def _make_folder(self, folder: Path) -> None:
        if folder.name in self._known:
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for made in (folder, folder.parent):
            descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            _give(descriptor, self._folder.parent)
            os.close(descriptor)
        _sync_folder(folder.parent)
        _sync_folder(folder.parent.parent)
        self._known.add(folder.name)


class LayeredBlobs:
    """New ones go into the first layer; all are read, so that another may be put first at any time."""

    def __init__(self, layers: Sequence[Blobs]) -> None:
        self._layers = layers
        self.put = layers[0].put

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        for layer in self._layers:
            with contextlib.suppress(KeyError):
                return layer.read(key, start, length)
        raise KeyError(key)

    def size(self, key: str) -> int:
        for layer in self._layers:
            with contextlib.suppress(KeyError):
                return layer.size(key)
        raise KeyError(key)

    def delete(self, key: str) -> None:
        for layer in self._layers:
            layer.delete(key)

    def keys(self) -> Iterator[str]:
        for layer in self._layers:
            yield from layer.keys()

    def sweep(self, named: Container[str]) -> int:
        return sum(layer.sweep(named) for layer in self._layers)


def blobs_of(layers: Sequence[Blobs], data_dir: Path) -> Blobs:
    """``layers`` as the config has them, and behind them the files that have been there from the first day."""
    own = FileBlobs(data_dir / "blobs")
    if any(isinstance(layer, FileBlobs) and layer.folder == own.folder for layer in layers):
        return layers[0] if len(layers) == 1 else LayeredBlobs(layers)
    return LayeredBlobs((*layers, own)) if layers else own


def files_at(url: str, data_dir: str) -> FileBlobs:
    """``file:`` alone, ``file:folder`` below the data folder, ``file:/absolute``."""
    path = url.removeprefix("file:").removeprefix("//")
    return FileBlobs(Path(data_dir) / (path or "blobs"))


def _give(descriptor: int, folder: Path) -> None:
    """What a command makes as root belongs to the server, which could not read it else: to whom the data folder belongs."""
    if os.geteuid() == 0 and (owner := folder.stat()).st_uid != 0:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _write(descriptor: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
