"""Octets that arrived and were not obeyed yet, and command lines out of them.

A line ends with CRLF only. A bare LF ends the session (a peer that sends it means something else than we read), an overlong
line is thrown away as it comes and answered once. Not more than one read of the socket beyond ``HIGH_WATER`` is ever kept.
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Final


class Lines:
    """``progressed``: a line was taken since the flag was last cleared."""

    TOO_LONG: Final = b"too long"
    BARE_LF: Final = b"bare LF"

    __slots__ = ("_octets", "_overlong", "_position", "progressed")

    def __init__(self) -> None:
        self._octets = b""
        self._position = 0
        self._overlong = False
        self.progressed = True

    def add(self, octets: bytes) -> None:
        if self._position == len(self._octets):
            self._octets = octets
        else:
            self._octets = self._octets[self._position :] + octets
        self._position = 0

    @property
    def waiting(self) -> int:
        return len(self._octets) - self._position

    @property
    def starts_auth(self) -> bool:
        """The next line is AUTH, which may be longer than others."""
        return self._octets[self._position : self._position + 5].upper() == b"AUTH "

    def next(self, limit: int) -> bytes | None:
        """Return the next line without CRLF, None when it is not complete, or ``TOO_LONG`` or ``BARE_LF`` (by identity).

        ``limit``: octets of a line with its CRLF.
        """
        octets, start = self._octets, self._position
        end = octets.find(b"\n", start)
        if end < 0:
            if len(octets) - start > limit:
                self._overlong = True
                self._octets, self._position = octets[-1:], 0  # a CR may wait for its LF
            return None
        self._position = end + 1
        self.progressed = True
        if end == start or octets[end - 1] != 0x0D:
            return self.BARE_LF
        if self._overlong or end + 1 - start > limit:
            self._overlong = False
            return self.TOO_LONG
        return octets[start : end - 1]

    def take(self) -> bytes:
        """Return everything that waits."""
        octets = self._octets[self._position :] if self._position else self._octets
        self._octets, self._position = b"", 0
        return octets

    def take_at_most(self, size: int) -> bytes:
        """Return what waits, but not more than ``size`` octets of it."""
        start = self._position
        self._position = min(start + size, len(self._octets))
        return self._octets[start : self._position]

    def put_back(self, octets: bytes) -> None:
        """What a message did not need; it comes before what has arrived since."""
        self._octets, self._position = octets + self._octets[self._position :], 0
        self.progressed = True
