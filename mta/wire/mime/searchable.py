"""The text of a message that SEARCH looks into, folded so that comparing is comparing characters (RFC 9051 §6.4.4, RFC 5051).

Header fields with encoded words undone, text parts of any charset with transfer encodings undone, header sections of messages inside,
names of attached files. Tags of HTML are text too: what a sender hides there can be found.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Iterator
from unicodedata import normalize

from mta.wire.mime.entity import Entity
from mta.wire.mime.headers import unfold
from mta.wire.mime.text import MAX_TEXT, text
from mta.wire.mime.words import decode_words

_BREAK = re.compile(r"\r?\n")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_BLANK_FOLD = re.compile(rb"\r?\n(?=[ \t])")


def fold(value: str) -> str:
    """Case and form do not count: RFC 5051's casemap, with full folding ("STRASSE" finds "Straße")."""
    if value.isascii():
        return value.lower()
    return normalize("NFKD", normalize("NFKD", value).casefold())


def header_lines(octets: bytes, end: int) -> list[str]:
    """The lines of the header section that ends at ``end``, unfolded."""
    header = _BLANK_FOLD.sub(b"", octets[:end])
    if header.isascii() and b"=?" not in header:  # most: in one step
        plain = header.decode("ascii").replace("\r\n", "\n").lower()
        return [line for line in _CONTROL.sub(" ", plain).split("\n") if line]
    lines = header.split(b"\n")
    return [fold(decode_words(line.rstrip(b"\r"))) for line in lines if line not in (b"", b"\r")]


def readable_parts(root: Entity, octets: bytes, limit: int = MAX_TEXT) -> Iterator[str]:
    """What the body says, line breaks as spaces: what a reader sees as one phrase is one phrase. At most ``limit`` octets are decoded."""
    for part in text(root, octets, limit):
        yield fold(_BREAK.sub(" ", part))
    for entity in root.walk():
        if entity is not root and entity.raw and (name := entity.filename):
            yield fold(_BREAK.sub(" ", name))


def readable_size(root: Entity) -> int:
    """Octets that ``readable_parts`` has to decode."""
    sizes = [part.message.body_start - part.message.header_start for part in root.walk() if part.message is not None]
    return sum(sizes) + sum([part.body_size for part in root.walk() if part.maintype == "text"])


def field_pattern(name: str) -> "re.Pattern[bytes]":
    """Finds the field ``name`` in a header section; group 1 is its value as written."""
    return re.compile(rb"(?im)^" + re.escape(name.encode("utf-8")) + rb"[ \t]*:([^\n]*+(?:\n[ \t][^\n]*+)*+)")


def field_values(pattern: "re.Pattern[bytes]", octets: bytes, end: int) -> list[str]:
    """The folded value of each occurrence of a field."""
    return [fold(decode_words(unfold(found[1]))) for found in pattern.finditer(octets, 0, end)]
