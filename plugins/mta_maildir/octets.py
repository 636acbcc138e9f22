"""Octets of messages as clients get them: CRLF line ends, whatever lies on the disk.

What we write lies there with CRLF, octet for octet. Files of others have LF alone; they are converted when read, and the last ones
converted are kept, since a large message is read in pieces.
"""
# SPDX-License-Identifier: Apache-2.0

import re
import threading
from collections import OrderedDict

from mta.model.ids import BlobId

_BARE = re.compile(rb"(?<!\r)\n")
_KEPT = 32 * 2**20


class Reader:
    """Used in many threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[BlobId, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def read(self, blob: BlobId, path: str, size: int, start: int, length: int | None) -> bytes:
        """``size``: what it has with CRLF. Raises OSError."""
        with self._lock:
            if (kept := self._kept.get(blob)) is not None:
                self._kept.move_to_end(blob)
        if kept is None:
            with open(path, "rb", buffering=0) as file:
                if file.seek(0, 2) == size:
                    file.seek(start)
                    return _all(file, max(0, size - start) if length is None else length)
                file.seek(0)
                kept = _BARE.sub(b"\r\n", file.read())
            self._keep(blob, kept)
        return kept[start : None if length is None else start + length]

    def _keep(self, blob: BlobId, octets: bytes) -> None:
        with self._lock:
            if blob not in self._kept:
                self._kept[blob] = octets
                self._size += len(octets)
            while self._size > _KEPT and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1])


def _all(file: object, length: int) -> bytes:
    """One read may return less than asked."""
    read = file.read  # type: ignore[attr-defined]
    pieces = []
    while length > 0 and (piece := read(length)):
        pieces.append(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
