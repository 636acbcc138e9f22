"""Header sections: splitting into fields, unfolding, subsets (RFC 5322 §2.2, §2.2.3; RFC 9051 §6.4.5.1).

Tolerant of what the net sends: bare LF line ends, 8-bit octets, fields without a colon (kept in subsets by nobody, passed
over by ``headers``), white space before the colon (RFC 5322 §4.5), no blank line at the end. Everything is linear in
the octets; only the first ``MAX_HEADER`` octets are looked at, the rest of a longer header is opaque.
Not here: decoding of encoded words (words.py), addresses (addresses.py).
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

MAX_HEADER = 2**20
"""Octets of one header section that are searched for fields."""

_FIELD = re.compile(rb"[^\n]*+\n?+(?>(?:[ \t][^\n]*+\n?+)*)")
_NAME = re.compile(r"[\x21-\x39\x3b-\x7e]++[ \t]*+\Z")  # one word: "From joe Tue 09:04" of an mbox is no field
_RAW_NAME = re.compile(rb"([\x21-\x39\x3b-\x7e]++)(?>(?:[ \t]|\r?\n(?=[ \t]))*):")
_BLANK = re.compile(rb"\n\r?\n")
_FOLD = re.compile(rb"\r?\n(?=[ \t])")


class Field(NamedTuple):
    """One header field. ``name`` in lower case; offsets into the octets given: the field is ``[start, end)`` with its
    line end, its value as written ``[value, end)``."""

    name: bytes
    start: int
    value: int
    end: int


def header_end(octets: bytes, start: int = 0, end: int | None = None) -> int:
    """Return the offset behind the blank line that ends the header section at ``start``, or ``end`` when there is none."""
    stop = len(octets) if end is None else end
    if octets.startswith((b"\r\n", b"\n"), start, stop):
        return start + (1 if octets[start] == 10 else 2)
    found = _BLANK.search(octets, start, stop)
    return found.end() if found else stop


def headers(octets: bytes) -> list[tuple[str, str]]:
    """Return (name as written, unfolded value) of every field in order.

    ``octets`` is a message, or any prefix that holds its header section. UTF-8 with surrogateescape; white space around the
    value is gone. Lines without a colon are passed over.
    """
    raw = octets[: min(header_end(octets, 0, min(len(octets), MAX_HEADER)), MAX_HEADER)]
    text = raw.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\n ", " ").replace("\n\t", "\t")
    out = []
    for line in text.split("\n"):
        name, colon, value = line.partition(":")
        if colon and _NAME.match(name):
            out.append((name.rstrip(" \t"), value.strip(" \t")))
    return out


def fields(octets: bytes, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """Yield the fields of the header section ``[start, end)`` in order; ``end`` None: up to the blank line."""
    stop = min(header_end(octets, start) if end is None else end, start + MAX_HEADER)
    for match in _FIELD.finditer(octets, start, stop):
        at, behind = match.span()
        if name := _RAW_NAME.match(octets, at, behind):
            yield Field(name[1].lower(), at, name.end(), behind)


def unfold(value: bytes) -> bytes:
    """Return a field's value without line ends and without white space around it (RFC 5322 §2.2.3)."""
    value = value.strip(b" \t\r\n")
    return _FOLD.sub(b"", value).replace(b"\r", b"").replace(b"\n", b"") if b"\n" in value else value


def subset(octets: bytes, start: int, end: int, names: Collection[bytes], *, without: bool = False) -> bytes:
    """Return the fields whose lower-case name is in ``names`` (``without``: is not), as written, and a blank line.

    HEADER.FIELDS and HEADER.FIELDS.NOT of RFC 9051 §6.4.5.1.
    """
    chosen = [octets[f.start : f.end] for f in fields(octets, start, end) if (f.name in names) is not without]
    if chosen and not chosen[-1].endswith(b"\n"):
        chosen.append(b"\r\n")
    chosen.append(b"\r\n")
    return b"".join(chosen)
