"""Durable writes, and what a failure of the file system means."""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from mta.model.errors import MailError, StorageDead, StorageFull, StorageReadOnly, TemporaryFailure
from mta.model.message import Content

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def meaning(exc: OSError) -> MailError:
    """The failure to raise instead."""
    text = f"{exc.filename or 'maildir'}: {exc.strerror or exc}"
    if exc.errno in _FULL:
        return StorageFull(text)
    if exc.errno == errno.EROFS:
        return StorageReadOnly(text)
    return TemporaryFailure(text)


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """Within: an OSError becomes the failure it means."""
    try:
        yield
    except OSError as exc:
        raise meaning(exc) from exc


def create(path: str, flags: int, mode: int) -> int:
    """Open a file, making it when it is not there; never through a link that somebody left in its place.

    Made by root, as an administrator's command is, it belongs to whom the folder does.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | flags, mode)
    if os.geteuid() == 0:
        _give(fd, path)
    return fd


def make_folders(path: str, mode: int) -> None:
    """With those above that are missing; none is no error."""
    above = os.path.dirname(path)
    if not os.path.isdir(above):
        make_folders(above, mode)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
        if os.geteuid() == 0:
            _give(path, path)


def _give(made: int | str, path: str) -> None:
    owner = os.stat(os.path.dirname(path))
    if owner.st_uid:
        os.chown(made, owner.st_uid, owner.st_gid)


def flush(fd: int, name: str) -> None:
    """Raises StorageDead when the disk's state is unknown: a second fsync may lie."""
    try:
        os.fsync(fd)
    except OSError as exc:
        if exc.errno == errno.EIO:
            raise StorageDead(f"fsync of {name}: {exc.strerror}") from exc
        raise


def flush_folder(path: str) -> None:
    """Make entries that came or went durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flush(fd, path)
    finally:
        os.close(fd)


def write(path: str, content: Content, date: int, mode: int) -> None:
    """A new file with these octets, durable but for its name; its time is the date that clients see. Nothing remains after a failure."""
    fd = create(path, os.O_EXCL, mode)
    try:
        try:
            for piece in content.chunks():
                view = memoryview(piece)
                while view:
                    view = view[os.write(fd, view) :]
            os.utime(fd, (date, date))
            flush(fd, path)
        finally:
            os.close(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def replace(path: str, octets: bytes, mode: int) -> None:
    """Write a small file anew: all of it or as it was. Within the account's lock."""
    temporary = f"{path}.mta-tmp"
    fd = create(temporary, os.O_TRUNC, mode)
    try:
        view = memoryview(octets)
        while view:
            view = view[os.write(fd, view) :]
        flush(fd, path)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    flush_folder(str(Path(path).parent))


def read(path: str) -> bytes | None:
    """None: there is no such file."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
