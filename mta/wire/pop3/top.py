"""TOP: the header section, the blank line and some lines of the body (RFC 1939 §7), from a message that comes in pieces."""
# SPDX-License-Identifier: Apache-2.0

import re

_BLANK = re.compile(rb"\n\r?\n")


class TopCutter:
    """Feed pieces in order until ``done``."""

    __slots__ = ("_left", "_tail", "done")

    def __init__(self, lines: int) -> None:
        self._left = lines
        self._tail: bytes | None = b"\n"  # last octets of the header section so far; None: in the body
        self.done = False

    def feed(self, octets: bytes) -> bytes:
        """Return the part of the piece that belongs to the answer."""
        body = 0
        if self._tail is not None:
            seen = len(self._tail)
            data = self._tail + octets
            found = _BLANK.search(data)
            if found is None:
                self._tail = data[-2:]
                return octets
            self._tail = None
            body = found.end() - seen
        at = body
        there = octets.count(b"\n", body)
        if there >= self._left:
            while self._left:
                at = octets.index(b"\n", at) + 1
                self._left -= 1
            self.done = True
            return octets[:at]
        self._left -= there
        return octets
