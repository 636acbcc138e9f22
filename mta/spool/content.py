"""The octets of one message on their way in: in memory up to a limit, then in a file that has no name.

The file is on the disk of the data directory, not in /tmp, which may be memory. It has no name from the start (or loses it
at once), so a crash leaves nothing to sweep. It is not synced: responsibility begins with the database's commit.
"""
# SPDX-License-Identifier: Apache-2.0

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence

from mta.model.errors import StorageFull, StorageReadOnly, TemporaryFailure
from mta.model.message import Content, OctetContent

_PIECES = 256  # an object costs 34 octets beside its content: a peer that sends single octets must not multiply them


class SpooledContent:
    """Write pieces, ``finish``, read any number of times; fulfils Content.

    ``write`` only collects. When ``full`` says so, the writer calls ``spill`` off the event loop before it writes on: so at
    most ``limit`` and one piece are in memory, and no disk stalls the loop.
    """

    __slots__ = ("_fd", "_filed", "_folder", "_limit", "_pieces", "size")

    def __init__(self, limit: int, folder: str) -> None:
        """``limit``: octets kept in memory. ``folder``: where the file is made when it is needed."""
        self._limit = limit
        self._folder = folder
        self._pieces: list[bytes] = []
        self._fd = -1
        self._filed = 0
        self.size = 0

    def write(self, octets: bytes) -> None:
        self._pieces.append(octets)
        self.size += len(octets)
        if len(self._pieces) > _PIECES:
            self._pieces = [b"".join(self._pieces)]

    @property
    def full(self) -> bool:
        return self.size - self._filed > self._limit

    @property
    def in_memory(self) -> bool:
        return self._fd < 0

    def spill(self) -> None:
        """Move what is in memory to the file. Blocking. Raises StorageFull, StorageReadOnly, TemporaryFailure."""
        octets = memoryview(b"".join(self._pieces))
        try:
            if self._fd < 0:
                self._fd = _unnamed_file(self._folder)
            position = 0
            while position < len(octets):
                position += os.pwrite(self._fd, octets[position:], self._filed + position)
        except OSError as exc:
            raise storage_failure(exc) from exc
        self._filed += len(octets)
        self._pieces.clear()

    def finish(self) -> None:
        """No more is written. What did not go to the file stays in memory."""
        if len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]

    def chunks(self, size: int = 65536) -> Iterator[bytes]:
        for start in range(0, self._filed, size):
            yield self._read(start, min(size, self._filed - start))
        for piece in self._pieces:
            yield from OctetContent(piece).chunks(size)

    def raw(self) -> bytes:
        if self._fd < 0 and len(self._pieces) == 1:
            return self._pieces[0]
        return b"".join((self._read(0, self._filed), *self._pieces) if self._filed else self._pieces)

    def _read(self, start: int, length: int) -> bytes:
        parts = []
        while length > 0:
            part = os.pread(self._fd, length, start)
            if not part:
                raise TemporaryFailure("spool file is shorter than what was written")
            parts.append(part)
            start += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def __del__(self) -> None:
        # The last reader closes the file, not the first to be done with it: a writer thread may still read what a session dropped.
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)
            self._fd = -1


class JoinedContent:
    """New octets in front of the rest of other content; fulfils Content without a copy."""

    __slots__ = ("_head", "_rest", "_start", "size")

    def __init__(self, head: bytes, rest: Content, start: int) -> None:
        """``rest`` from its octet ``start`` on."""
        self._head, self._rest, self._start = head, rest, start
        self.size = len(head) + rest.size - start

    def chunks(self, size: int = 65536) -> Iterator[bytes]:
        yield from OctetContent(self._head).chunks(size)
        skip = self._start
        for chunk in self._rest.chunks(size):
            if skip >= len(chunk):
                skip -= len(chunk)
                continue
            yield chunk[skip:] if skip else chunk
            skip = 0

    def raw(self) -> bytes:
        return b"".join((self._head, memoryview(self._rest.raw())[self._start :]))


class PiecedContent:
    """Stretches of other contents, one behind the other; fulfils Content without a copy."""

    __slots__ = ("_pieces", "size")

    def __init__(self, pieces: Sequence[tuple[Content, int, int]]) -> None:
        """(content, start, end) each."""
        self._pieces = [piece for piece in pieces if piece[2] > piece[1]]
        self.size = sum(end - start for _, start, end in self._pieces)

    def chunks(self, size: int = 65536) -> Iterator[bytes]:
        for content, start, end in self._pieces:
            at = 0
            for chunk in content.chunks(size):
                behind = at + len(chunk)
                if behind > start:
                    yield chunk[max(start - at, 0) : end - at] if at < start or behind > end else chunk
                at = behind
                if at >= end:
                    break

    def raw(self) -> bytes:
        return b"".join(self.chunks())


def join(head: bytes, rest: Content, start: int) -> Content:
    """Content of ``head`` and ``rest`` from ``start`` on: one string when all is in memory, else a view."""
    if not (isinstance(rest, OctetContent) or (isinstance(rest, SpooledContent) and rest.in_memory)):
        return JoinedContent(head, rest, start)
    return OctetContent(b"".join((head, memoryview(rest.raw())[start:])))


def storage_failure(exc: OSError) -> TemporaryFailure:
    """What the operating system's error means for the message at hand."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(str(exc))
    if exc.errno == errno.EROFS:
        return StorageReadOnly(str(exc))
    return TemporaryFailure(str(exc))


def _unnamed_file(folder: str) -> int:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        if exc.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    fd, path = tempfile.mkstemp(dir=folder)  # file systems without O_TMPFILE: NFS, overlays of old kernels
    os.unlink(path)
    return fd
