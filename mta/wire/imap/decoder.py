"""A stream of octets to requests (RFC 9051 §2.2.1, §4.3; LITERAL+ and LITERAL-: RFC 7888).

Pull style: ``feed`` octets, then ask ``request()`` until it says None. Lines end with CRLF; a bare LF makes the request
malformed, and a bare CR is an octet that no grammar takes. Everything is bounded: a line, the text of a request, its literals,
what may lie in memory; beyond a threshold a literal goes to a sink that the owner provides (a file).
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal as Either
from typing import Protocol

from mta.model.message import Content
from mta.wire.imap.scanner import Literal

_MARKER = re.compile(rb"(~?)\{([0-9]{1,10})(\+?)\}\Z")
_MESSAGE = re.compile(rb"[^ ]{1,256} (?:APPEND|append|Append|(?:UID )?REPLACE|(?:uid )?replace) ")
_TAG = re.compile(rb'[^\x00-\x1f\x7f-\xff(){ %*"\\+]{1,256}(?= )')


class Sink(Protocol):
    """Takes the octets of one large literal."""

    @property
    def full(self) -> bool:
        """More lies in memory than should: the owner calls ``spill`` before it feeds on."""
        ...

    def write(self, octets: bytes) -> None: ...

    def spill(self) -> None:
        """Blocking."""
        ...

    def finish(self) -> Content: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request may be. Octets, but for ``literals``.

    line       one line, without its literals; and all lines of a request together
    request    everything before login: text and literals together; 0: no such bound
    plain      a non-synchronising literal above this ends the connection; 0: it is passed over and the request refused
    string     a literal that is a string; message: a literal of APPEND and REPLACE
    literals   how many in one request
    memory     literals of one request kept in memory; beyond, each goes to a sink
    files      how many sinks of one request may be given more than ``SMALL`` octets
    total      literals of one request together
    """

    line: int = 65536
    request: int = 0
    plain: int = 0
    string: int = 65536
    message: int = 50 * 2**20
    literals: int = 1000
    memory: int = 2**20
    files: int = 100
    total: int = 200 * 2**20


BEFORE_LOGIN = Bounds(line=8192, request=8192, plain=4096, string=8192, message=0, literals=8, memory=8192, total=8192)

SMALL = 65536
"""Octets that a sink may well keep in memory."""
Problem = Either["", "malformed", "too big", "limit", "no room"]


@dataclass(frozen=True, slots=True)
class Request:
    """One whole command: its lines joined, literals as markers, their octets beside. ``problem``: refuse it, unread."""

    text: bytes
    literals: tuple[Literal, ...] = ()
    problem: Problem = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A synchronising literal waits for our "+" (RFC 9051 §7.6)."""

    size: int


@dataclass(frozen=True, slots=True)
class Overflow:
    """The stream cannot be followed any further: say BYE, close."""

    text: str


Event = Request | Wanted | Overflow


class Decoder:
    """Cuts one connection's input. ``sink(size)`` opens a place for a large literal."""

    def __init__(self, bounds: Bounds, sink: Callable[[int], Sink]) -> None:
        self.bounds = bounds
        self._sink = sink
        self._buffer = bytearray()
        self._start = 0  # of what is not consumed
        self._searched = 0  # no LF before here
        self._clear()

    def _clear(self) -> None:
        self._text = b""
        self._literals: list[Literal] = []
        self._problem: Problem = ""
        self._octets = 0
        self._in_memory = 0
        self._files = 0
        self._need = -1  # octets of the literal still to come; -1: a line comes next
        self._pieces: list[bytes] | None = None
        self._file: Sink | None = None

    def feed(self, octets: bytes) -> None:
        self._buffer += octets

    @property
    def buffered(self) -> int:
        """Octets not yet consumed; the owner stops reading above its bound."""
        return len(self._buffer) - self._start

    @property
    def amid(self) -> bool:
        """A request has begun and is not complete."""
        return bool(self._text) or self.buffered > 0

    @property
    def overfull(self) -> Sink | None:
        """The sink at work, when it is full."""
        return self._file if self._file is not None and self._file.full else None

    def refuse(self, problem: Problem) -> None:
        """The literal at work cannot be kept: pass over the rest of it, and have the request refused."""
        self._problem, self._pieces, self._file = problem, None, None

    def forget(self) -> None:
        """The client is gone: what it sent halfway is let go at once, memory and file."""
        self._buffer.clear()
        self._start = self._searched = 0
        self._clear()

    def line(self, longest: int) -> bytes | Overflow | None:
        """The next line as it is, without CRLF: SASL exchange and IDLE's DONE."""
        line = self._take_line(longest)
        return line if line is None or isinstance(line, Overflow) else line.rstrip(b"\r\n")

    def request(self) -> Event | None:
        """The next event; None: feed more."""
        while True:
            if self._need >= 0:
                if not self._take_literal():
                    return None
                continue
            bound = self.bounds.request - self._octets if self.bounds.request else self.bounds.line
            line = self._take_line(max(0, bound - len(self._text)))
            if line is None:
                return None
            if isinstance(line, Overflow):
                return line
            if not line.endswith(b"\r\n"):
                self._problem = "malformed"
                line = line[:-1] + b"\r\n"
            marker = _MARKER.search(line, max(0, len(line) - 16), len(line) - 2) if line.endswith(b"}\r\n") else None
            if marker is None:
                request = Request(self._text + line[:-2], tuple(self._literals), self._problem)
                self._clear()
                return request
            self._text += line
            event = self._begin_literal(int(marker[2]), bool(marker[3]))
            if event is not None:
                return event

    def _begin_literal(self, size: int, eager: bool) -> Event | None:
        """Decide on the literal announced by the line just read."""
        bounds = self.bounds
        longest = max(bounds.message, bounds.string) if _MESSAGE.match(self._text) else bounds.string
        if bounds.request and self._octets + len(self._text) + size > bounds.request:
            longest = -1
        in_memory = self._in_memory + size <= bounds.memory
        many = len(self._literals) >= bounds.literals or (not in_memory and size > SMALL and self._files >= bounds.files)
        if size > longest or self._octets + size > bounds.total or many or self._problem:
            if not self._problem:
                self._problem = "too big" if size > longest else "limit"
            if not eager:  # never sent, since we do not ask for it
                request = Request(self._text, tuple(self._literals), self._problem)
                self._clear()
                return request
            if (bounds.plain and size > bounds.plain) or (bounds.request and longest < 0):
                return Overflow("literal too large before login")
            self._need, self._pieces, self._file = size, None, None  # passed over
            return None
        if eager and bounds.plain and size > bounds.plain:
            return Overflow("literal too large before login")
        self._octets += size
        self._need, self._pieces, self._file = size, None, None
        if in_memory:
            self._in_memory += size
            self._pieces = []
        else:
            self._files += size > SMALL
            self._file = self._sink(size)
        return None if eager else Wanted(size)

    def _take_literal(self) -> bool:
        """Move octets into the literal; True when it is complete."""
        take = min(self._need, len(self._buffer) - self._start)
        if take:
            end = self._start + take
            if self._pieces is not None:
                self._pieces.append(bytes(memoryview(self._buffer)[self._start : end]))
            elif self._file is not None:
                self._file.write(bytes(memoryview(self._buffer)[self._start : end]))
            self._need -= take
            self._consume(end)
        if self._need:
            return False
        if self._pieces is not None:
            self._literals.append(self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces))
        elif self._file is not None:
            self._literals.append(self._file.finish())
        self._need, self._pieces, self._file = -1, None, None
        return True

    def _take_line(self, longest: int) -> bytes | Overflow | None:
        end = self._buffer.find(b"\n", max(self._searched, self._start))
        if end < 0:
            self._searched = len(self._buffer)
            return Overflow("line too long") if len(self._buffer) - self._start > longest else None
        if end - self._start > longest:
            return Overflow("line too long")
        line = bytes(memoryview(self._buffer)[self._start : end + 1])
        self._consume(end + 1)
        return line

    def _consume(self, end: int) -> None:
        if end == len(self._buffer):
            self._buffer.clear()
            self._start = 0
        elif end > 65536:  # rarely, so that a pipelined burst is not moved for each command
            del self._buffer[:end]
            self._start = 0
        else:
            self._start = end
        self._searched = self._start


def tag_of(text: bytes) -> bytes | None:
    """The tag of a request that was not parsed, for its answer."""
    found = _TAG.match(text)
    return found[0] if found else None
