"""Header sections as octets: where they end, which fields they hold, and edits on them (RFC 5322 §2.2, §3.6.7).

Fields that no edit names keep every octet, so signatures over them stay good. This is the one writer of header fields:
names and values that could start another field are refused here.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Iterable

from mta.model.message import Content
from mta_hooks.edits import AddHeader, HeaderEdit, RemoveHeader, ReplaceHeader

MAX_HEADER = 2**20  # octets read as header; what follows is passed on as it is

MAX_LINE = 998  # octets of a line without its CRLF (RFC 5322 §2.1.1)

_FIELDS = re.compile(rb"(?>(?:[!-9;-~]++[ \t]*+:[^\r\n]*+\r\n(?>(?:[ \t][^\r\n]*+\r\n)*))*)")
_FIELD = re.compile(rb"([!-9;-~]++)[ \t]*+:([^\r\n]*+\r\n(?>(?:[ \t][^\r\n]*+\r\n)*))")
_NAME = re.compile(r"[!-9;-~]{1,200}\Z")
_UNFOLD = re.compile(r"\r\n(?=[ \t])")


def read_head(content: Content) -> tuple[bytes, bytes, int]:
    """Return the header fields, what must stand between them and the rest, and where the rest begins.

    The separator is CRLF when the message has no empty line behind its fields (a body without a header, or a malformed
    line in it): so that fields put on top cannot merge with a body.
    """
    octets = content.raw() if content.size <= MAX_HEADER else next(content.chunks(MAX_HEADER))
    end = fields_end(octets)
    separated = end == content.size or octets.startswith(b"\r\n", end)
    return octets[:end], b"" if separated else b"\r\n", end


def fields_end(octets: bytes) -> int:
    """Where the well-formed fields at the start of ``octets`` end."""
    match = _FIELDS.match(octets)
    return match.end() if match else 0


def split_fields(head: bytes) -> list[tuple[bytes, bytes]]:
    """Return (name in lower case, whole field with its CRLF) pairs."""
    return [(m[1].lower(), m[0]) for m in _FIELD.finditer(head)]


def parse_fields(head: bytes) -> list[tuple[str, str]]:
    """Return (name as written, value unfolded) pairs; UTF-8, other octets as surrogates."""
    return [
        (m[1].decode("ascii"), _UNFOLD.sub("", m[2].decode("utf-8", "surrogateescape")[:-2]).strip(" \t"))
        for m in _FIELD.finditer(head)
    ]


def build_field(name: str, value: str) -> bytes:
    """Return ``name: value`` CRLF. Raises ValueError for what would not be exactly one field."""
    if not _NAME.match(name):
        raise ValueError("malformed header name")
    plain = _UNFOLD.sub("", value)
    if "\r" in plain or "\n" in plain or "\0" in plain:
        raise ValueError("CR, LF or NUL in a header value")
    if any(not line.strip(" \t") for line in value.split("\r\n")[1:]):
        raise ValueError("empty continuation line")  # RFC 5322 §3.2.2: other readers end the header there
    field = f"{name}: {value}\r\n".encode("utf-8", "surrogateescape")
    if len(field) > MAX_LINE and any(len(line) > MAX_LINE for line in field.split(b"\r\n")):
        raise ValueError(f"a header line of more than {MAX_LINE} octets")
    return field


class Header:
    """Header fields while edits are applied to them.

    Two kinds are told apart: those that hooks saw, which an index counts however many edits went before, and those that came
    since, which it counts only where hooks saw none. ``above``: fields of ours, which hooks did not see and edits do not reach.
    """

    def __init__(self, head: bytes, above: bytes = b"") -> None:
        self._above = above
        self._seen: list[tuple[bytes, bytes | None]] = [*split_fields(head)]
        self._top: list[tuple[bytes, bytes | None]] = []  # the last is the uppermost
        self._end: list[tuple[bytes, bytes | None]] = []

    @property
    def head(self) -> bytes:
        """All but ``above`` and what was put on top of it."""
        return b"".join(field for _, field in (*self._seen, *self._end) if field)

    @property
    def octets(self) -> bytes:
        return b"".join(field for _, field in reversed(self._top) if field) + self._above + self.head

    def replace(self, head: bytes) -> None:
        """Another header in place of what hooks saw."""
        self._seen = [*split_fields(head)]
        self._end.clear()

    def apply(self, edit: HeaderEdit) -> None:
        """Raises ValueError, see ``build_field``."""
        name = edit.name.lower().encode("ascii", "replace")
        match edit:
            case AddHeader():
                (self._top if edit.top else self._end).append((name, build_field(edit.name, edit.value)))
            case RemoveHeader():
                chosen = self._places(name)
                if edit.index is not None:
                    chosen = chosen[edit.index : edit.index + 1] if edit.index >= 0 else []
                else:
                    chosen = [(part, i) for part in (self._top, self._seen, self._end) for i, f in enumerate(part) if f[0] == name]
                for part, place in chosen:
                    part[place] = (name, None)
            case ReplaceHeader():
                built = build_field(edit.name, edit.value)
                places = self._places(name)
                part, place = places[edit.index] if 0 <= edit.index < len(places) else (self._end, -1)
                if place >= 0 and part[place][1] is not None:
                    part[place] = (name, built)
                else:
                    self._end.append((name, built))

    def put(self, name: str, value: str) -> None:
        """Make this the only field of its name. Raises ValueError."""
        octets = name.lower().encode()
        built = build_field(name, value)
        known = [(part, i) for part in (self._top, self._seen, self._end) for i, f in enumerate(part) if f[0] == octets]
        kept = next(((part, i) for part, i in known if part[i][1] is not None), None)
        for part, place in known:
            part[place] = (octets, None)
        if kept is None:
            self._end.append((octets, built))
        else:
            kept[0][kept[1]] = (octets, built)

    def _places(self, name: bytes) -> list[tuple[list[tuple[bytes, bytes | None]], int]]:
        seen = [(self._seen, i) for i, (known, _) in enumerate(self._seen) if known == name]
        if seen:
            return seen
        top = [(self._top, i) for i in range(len(self._top) - 1, -1, -1) if self._top[i][0] == name]
        return top + [(self._end, i) for i, (known, _) in enumerate(self._end) if known == name]


def apply_edits(head: bytes, edits: Iterable[HeaderEdit]) -> bytes:
    """Return the header with edits done one after the other. Raises ValueError, see ``build_field``."""
    header = Header(head)
    for edit in edits:
        header.apply(edit)
    return header.octets
