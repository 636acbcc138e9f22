"""Lines and commands (RFC 1939 §3, RFC 2449 §4).

A line ends with CRLF; a bare LF is taken too, as people type it. Keywords are case-insensitive. The password of PASS is
everything behind the one space, spaces included (RFC 1939 §7).
"""
# SPDX-License-Identifier: Apache-2.0

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

VERBS = frozenset(
    {"CAPA", "QUIT", "USER", "PASS", "AUTH", "STLS", "STAT", "LIST", "UIDL", "RETR", "TOP", "DELE", "RSET", "NOOP", "UTF8", "LANG"}
)
"""Those that have a meaning here."""
MAX_LINE = 1024
"""Octets of a command; RFC 2449 §4 says 255, long user names and passwords exist."""
MAX_AUTH_LINE = 12288
"""Octets of a SASL response in base64 (RFC 4954 §4, which RFC 5034 follows)."""


class LineTooLong(Exception):
    """The peer sends a line without end: -ERR, then close."""


class Command(NamedTuple):
    """``verb`` in upper case, "" for an empty or foreign line; ``argument`` what stands behind the first space, octets."""

    verb: str
    argument: bytes


def parse(line: bytes) -> Command:
    """Take a line without its end apart. Never raises."""
    verb, _, argument = line.partition(b" ")
    if len(verb) > 12 or not verb.isalnum():
        return Command("", argument)
    return Command(verb.decode("ascii").upper(), argument)


class Lines:
    """What a peer sent and nobody obeyed yet, as lines without their ends."""

    __slots__ = ("_lines", "_rest", "size")

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self.size = 0
        """Octets held."""

    def feed(self, octets: bytes) -> None:
        """Add octets. Raises LineTooLong."""
        self.size += len(octets)
        *lines, self._rest = (self._rest + octets if self._rest else octets).split(b"\n")
        if len(self._rest) > MAX_AUTH_LINE:
            raise LineTooLong
        self._lines.extend(lines)

    def next(self) -> bytes | None:
        """Take the next whole line; None when there is none."""
        if not self._lines:
            return None
        line = self._lines.popleft()
        self.size -= len(line) + 1
        return line[:-1] if line.endswith(b"\r") else line

    def upcoming(self) -> Iterator[Command]:
        """Look at the commands that wait, without taking them."""
        return (parse(line.rstrip(b"\r")) for line in self._lines)
