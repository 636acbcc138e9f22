"""The structure of a message as byte offsets (RFC 2045, RFC 2046, RFC 6532), in one pass, without recursion.

One scan finds header ends and lines that begin with "--"; such a line is looked up among the boundaries that are open, so
a boundary of an outer multipart ends all inside it, and every octet is looked at once however deep the nesting.
Bounds: ``MAX_DEPTH`` levels, ``MAX_PARTS`` entities, ``headers.MAX_HEADER`` octets of a header section; what lies beyond is
opaque (application/octet-stream, or part of the last part's body), never an error. Octets are never refused: whatever
arrives has a structure. Bare LF ends a line too; a bare CR does not.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from itertools import pairwise

from mta.wire.mime.entity import Entity
from mta.wire.mime.headers import MAX_HEADER, unfold
from mta.wire.mime.parameters import Pairs, split_value

MAX_DEPTH = 100
MAX_PARTS = 10_000
MAX_BOUNDARY = 2048
"""Longer boundaries are none; RFC 2046 §5.1.1 allows 70."""
_PREFIXED = 8
"""Innermost levels whose boundary may be followed by junk on its line; bounds the work for each line."""

_HEADER_STOP = re.compile(rb"\n(?:\r?\n|--)")
_TYPE = re.compile(rb"\s*([^\s/;\"]+)\s*/\s*([^\s/;\"]+)\s*\Z")
_KEPT = frozenset(
    b"content-" + name
    for name in (b"type", b"transfer-encoding", b"disposition", b"id", b"description", b"language", b"location", b"md5")
)


def parse(octets: bytes) -> Entity:
    """Return the message's structure. Never raises; linear in ``len(octets)``."""
    return _Parser(octets).run()


class _Parser:
    """State of one parse: the open entities from the root inwards, and the boundaries among them."""

    __slots__ = ("_active", "_boundaries", "_count", "_messages", "_octets", "_open", "_prefixes", "_texts")

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._open: list[Entity] = []
        self._active: list[tuple[int, bytes]] = []  # (index in _open, boundary) of multiparts that wait for a boundary line
        self._boundaries: dict[bytes, list[int]] = {}  # the same by boundary; a list, as inner and outer may use one boundary
        self._prefixes: tuple[bytes, ...] = ()  # boundaries of the innermost levels
        self._count = 0
        self._texts: list[Entity] = []
        self._messages: list[Entity] = []

    def run(self) -> Entity:
        octets = self._octets
        root = Entity(0)
        entity: Entity | None = root
        at = 0
        while entity is not None:
            self._count += 1
            self._open.append(entity)
            at, found = self._read_header(entity, at)
            if entity.message is not None:
                entity = entity.message
                continue
            entity, at = self._next_part(at, found)
        self._close(0, len(octets))
        self._count_lines()
        return root

    # ---- header sections

    def _read_header(self, entity: Entity, start: int) -> tuple[int, int]:
        """Find the end of the header section at ``start``, take the Content-* fields, decide what the body is.

        Returns where to go on, and the offset of a boundary line that cut the header short, or -1.
        """
        octets = self._octets
        entity.header_start = start
        found = -1
        if octets.startswith((b"\r\n", b"\n"), start):
            end = start + (1 if octets[start] == 10 else 2)
        else:
            end = len(octets)
            at = max(start - 1, 0)
            while stop := _HEADER_STOP.search(octets, at):
                at = stop.end()
                if octets[at - 1] == 10:
                    end = at
                    break
                if self._boundaries and self._delimiter(at)[0] >= 0:
                    end, found = max(start, stop.start() + 1), stop.start()
                    break
        entity.body_start = entity.end = end
        entity.raw = _content_fields(octets[start : min(end, start + MAX_HEADER)])
        self._decide_type(entity, complete=found < 0)
        return end, found

    def _decide_type(self, entity: Entity, *, complete: bool) -> None:
        parent = self._open[-2] if len(self._open) > 1 else None
        value = entity.raw.get(b"content-type")
        if value is None and parent is not None and parent.maintype == "multipart" and parent.subtype == "digest":
            entity.maintype, entity.subtype = "message", "rfc822"  # RFC 2046 §5.1.5
        pairs: Pairs = []
        if value:
            kind, pairs = split_value(value)
            if match := _TYPE.match(kind):  # anything else is text/plain (RFC 2045 §5.2)
                entity.maintype, entity.subtype = match[1].decode("latin-1"), match[2].decode("latin-1")
        full = len(self._open) >= MAX_DEPTH or self._count >= MAX_PARTS
        if entity.maintype == "multipart":
            boundary = next((v.rstrip(b" \t") for name, v in pairs if name == b"boundary"), b"")[: MAX_BOUNDARY + 1]
            if full:
                _make_opaque(entity, "application", "octet-stream")
            elif 0 < len(boundary) <= MAX_BOUNDARY and complete:
                self._active.append((len(self._open) - 1, boundary))
                self._boundaries.setdefault(boundary, []).append(len(self._open) - 1)
                self._prefixes = tuple(b for _, b in self._active[-_PREFIXED:])
        elif entity.maintype == "message" and entity.subtype in ("rfc822", "global"):
            if full or not complete or entity.encoding in ("base64", "quoted-printable"):
                _make_opaque(entity, "application", "octet-stream")
            else:
                entity.message = Entity(entity.body_start)
                self._messages.append(entity)
        elif entity.maintype == "text":
            self._texts.append(entity)

    # ---- boundaries

    def _next_part(self, at: int, found: int) -> tuple[Entity | None, int]:
        """Go from boundary line to boundary line until one opens a part; close what it ends. None: no more parts."""
        octets = self._octets
        while self._boundaries and self._count < MAX_PARTS:
            if found < 0:
                # One open boundary is the common case; a long needle is found ten times as fast in base64.
                needle = b"\n--" + self._active[0][1] if len(self._active) == 1 else b"\n--"
                found = octets.find(needle, max(at - 1, 0))
                if found < 0:
                    break
            level, closing, at = self._delimiter(found + 3)
            if level >= 0:
                cut = found - 1 if found and octets[found - 1] == 13 else found
                self._close(level + 1, cut)
                multipart = self._open[level]
                if not closing:
                    child = Entity(at)
                    multipart.children.append(child)
                    return child, at
                self._deactivate(level)
            found = -1
        return None, at

    def _delimiter(self, at: int) -> tuple[int, bool, int]:
        """Look up the line whose "--" ends at ``at``: (level of the multipart or -1, is the last one, start of the next line)."""
        octets = self._octets
        line_end = octets.find(b"\n", at)
        behind = len(octets) if line_end < 0 else line_end + 1
        line = octets[at : min(behind, at + MAX_BOUNDARY + 80)].rstrip(b" \t\r\n")
        if levels := self._boundaries.get(line):
            return levels[-1], False, behind
        if line.endswith(b"--") and (levels := self._boundaries.get(line[:-2])):
            return levels[-1], True, behind
        # "It is sufficient that the boundary appear in its entirety following the CRLF" (RFC 2046 §5.1.1); longest wins.
        if not line.startswith(self._prefixes):
            return -1, False, behind
        best, level = b"", -1
        for index, boundary in reversed(self._active[-_PREFIXED:]):
            if len(boundary) > len(best) and line.startswith(boundary):
                best, level = boundary, index
        return level, line.startswith(b"--", len(best)), behind

    def _close(self, level: int, end: int) -> None:
        """End all open entities from ``level`` inwards."""
        while len(self._open) > level:
            entity = self._open.pop()
            entity.end = max(entity.body_start, end)
            if entity.maintype == "multipart" and not entity.children:
                _make_opaque(entity, "text", "plain")
                self._texts.append(entity)
        self._deactivate(level)

    def _deactivate(self, level: int) -> None:
        """Forget the boundaries of the multiparts from ``level`` inwards."""
        if not self._active or self._active[-1][0] < level:
            return
        while self._active and self._active[-1][0] >= level:
            boundary = self._active.pop()[1]
            self._boundaries[boundary].pop()
            if not self._boundaries[boundary]:
                del self._boundaries[boundary]
        self._prefixes = tuple(b for _, b in self._active[-_PREFIXED:])

    def _count_lines(self) -> None:
        """Count line ends of texts, which lie side by side, and of messages, which nest: each stretch of octets once."""
        count = self._octets.count
        for entity in self._texts:
            entity.lines = count(b"\n", entity.body_start, entity.end)
        if not self._messages:
            return
        points = sorted({p for e in self._messages for p in (e.body_start, e.end)})
        total = {points[0]: 0}
        for before, point in pairwise(points):
            total[point] = total[before] + count(b"\n", before, point)
        for entity in self._messages:
            entity.lines = total[entity.end] - total[entity.body_start]


def _make_opaque(entity: Entity, maintype: str, subtype: str) -> None:
    entity.maintype, entity.subtype, entity.opaque = maintype, subtype, True


def _content_fields(header: bytes) -> dict[bytes, bytes]:
    """Return the first of each Content-* field that somebody asks for, unfolded."""
    header = b"\n" + header
    lowered = header.lower()
    out: dict[bytes, bytes] = {}
    at = lowered.find(b"\ncontent-")
    while at >= 0:
        end = header.find(b"\n", at + 1)
        while end >= 0 and header.startswith((b" ", b"\t"), end + 1):
            end = header.find(b"\n", end + 1)
        if end < 0:
            end = len(header)
        colon = lowered.find(b":", at, min(end, at + 80))
        if colon > 0:
            name = lowered[at + 1 : colon].rstrip(b" \t")
            if name in _KEPT and name not in out:
                out[name] = unfold(header[colon + 1 : end])
        at = lowered.find(b"\ncontent-", end)
    return out
