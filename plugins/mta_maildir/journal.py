"""``mta-journal``: what Dovecot's files do not say of a folder, one line for each change, at the end; written anew when most of it is old.

    H 1 GUID VALIDITY FORGOTTEN        first line; FORGOTTEN: modseq up to which expunged uids are not all known
    M UID MODSEQ DATE SIZE KEYWORDS PLACE/NAME   a message as it is now; KEYWORDS: those without a letter; PLACE: c or n
    X UID MODSEQ AT NAME               expunged
    N UID MODSEQ                       next uid and highest modseq are at least these
    R UID                              first recent uid
    S …                                the folder's stamp once all this was done: who reads it need not look into the folder

Fields are separated by tabs. Read and written under the account's lock; a line without its end never happened.
"""
# SPDX-License-Identifier: Apache-2.0

import os
from collections.abc import Iterable, Iterator

from mta_maildir import disk

NAME = "mta-journal"
VERSION = "1"


def identity(folder: str) -> tuple[str, int] | None:
    """(guid, validity) that the journal was written for; None: there is none."""
    octets = disk.read(os.path.join(folder, NAME)) or b""
    head = octets.partition(b"\n")[0].decode("utf-8", "replace").split("\t")
    whole = len(head) == 5 and head[:2] == ["H", VERSION] and head[3].isdecimal()
    return (head[2], int(head[3])) if whole else None


class Journal:
    """``lines``: those written since it was made anew."""

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, NAME)
        self._inode = 0
        self._offset = 0
        self.lines = 0

    def news(self) -> tuple[bool, Iterator[list[str]]]:
        """(everything from the start, the records since the last call)."""
        try:
            fd = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            again, self._inode, self._offset = self._inode != 0, 0, 0
            return again, iter(())
        try:
            state = os.fstat(fd)
            again = state.st_ino != self._inode or state.st_size < self._offset
            if again:
                self._inode, self._offset, self.lines = state.st_ino, 0, 0
            octets = os.pread(fd, state.st_size - self._offset, self._offset) if state.st_size > self._offset else b""
        finally:
            os.close(fd)
        end = octets.rfind(b"\n") + 1
        self._offset += end
        lines = octets[:end].decode("utf-8", "surrogateescape").split("\n")[:-1]
        self.lines += len(lines)
        return again, (line.split("\t") for line in lines)

    def forget(self) -> None:
        """It is of no use: the next write makes it anew."""
        self._inode = self._offset = 0

    @property
    def exists(self) -> bool:
        return self._inode != 0

    def append(self, records: Iterable[str], mode: int) -> None:
        """Durable on return. Raises OSError, StorageDead; then nothing was added."""
        lines = [f"{record}\n" for record in records]
        octets = "".join(lines).encode("utf-8", "surrogateescape")
        fd = disk.create(self.path, 0, mode)
        try:
            os.ftruncate(fd, self._offset)  # what a crash left half
            view, at = memoryview(octets), self._offset
            try:
                while view:
                    written = os.pwrite(fd, view, at)
                    view, at = view[written:], at + written
                disk.flush(fd, self.path)
            except BaseException:
                os.ftruncate(fd, self._offset)
                raise
            self._offset, self._inode = at, os.fstat(fd).st_ino
        finally:
            os.close(fd)
        self.lines += len(lines)

    def replace(self, records: Iterable[str], mode: int) -> None:
        """All of it anew; a reader notices by the inode."""
        lines = [f"{record}\n" for record in records]
        octets = "".join(lines).encode("utf-8", "surrogateescape")
        disk.replace(self.path, octets, mode)
        self._inode, self._offset, self.lines = os.stat(self.path).st_ino, len(octets), len(lines)
