"""A few numbers that all processes of one server see: shared memory, one row for each worker, one writer for each row."""
# SPDX-License-Identifier: Apache-2.0

import mmap
from typing import NamedTuple

SLOTS = 256
"""Workers of two generations and their crashed predecessors; more than 4 × 64."""

_FIELDS = ("pid", "smtp", "imap", "pop3", "dispatch", "accepting", "http")
_SIZE = len(_FIELDS)


class Line(NamedTuple):
    """pid 0: free. Then open connections by protocol; whether it holds the dispatch lock; whether it takes connections."""

    pid: int
    smtp: int
    imap: int
    pop3: int
    dispatch: int
    accepting: int
    http: int = 0

    @property
    def connections(self) -> int:
        return self.smtp + self.imap + self.pop3 + self.http


class Board:
    """Made before the fork. Words of eight octets are written whole, so a reader never sees half a number."""

    def __init__(self) -> None:
        self._words = memoryview(mmap.mmap(-1, SLOTS * _SIZE * 8)).cast("q")

    def read(self, slot: int) -> Line:
        return Line(*self._words[slot * _SIZE : (slot + 1) * _SIZE])

    def write(self, slot: int, line: Line) -> None:
        for i, value in enumerate(line):
            self._words[slot * _SIZE + i] = value

    def clear(self, slot: int) -> None:
        self.write(slot, Line(0, 0, 0, 0, 0, 0))

    def free_slot(self, taken: set[int]) -> int:
        return next(slot for slot in range(SLOTS) if slot not in taken)

    def least_connections(self, slot: int, slots: int) -> int | None:
        """The smallest number of connections of the other workers that accept; None when there is no other."""
        least = None
        words = self._words
        for other in range(slots):
            base = other * _SIZE
            if other != slot and words[base] and words[base + 5]:
                count = words[base + 1] + words[base + 2] + words[base + 3] + words[base + 6]
                least = count if least is None or count < least else least
        return least
