"""The text of a message that SEARCH looks into, folded so that comparing is comparing characters (RFC 9051 §6.4.4, RFC 5051 §2).

Header fields with encoded words undone, text parts of any charset with transfer encodings undone, header sections of messages inside,
names of attached files. Tags of HTML are text too: what a sender hides there can be found.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Iterator
from unicodedata import normalize

from mta.wire.mime.addresses import addresses
from mta.wire.mime.entity import Entity
from mta.wire.mime.headers import unfold
from mta.wire.mime.text import MAX_TEXT, text
from mta.wire.mime.words import decode_words

ADDRESSED = frozenset({"from", "sender", "reply-to", "to", "cc", "bcc"})
"""Fields that are compared as the envelope shows them, too (RFC 9051 §6.4.4 FROM)."""
_BROKEN = re.compile(rb"\(|[ \t\r\n][@.]|[@.][ \t\r\n]")
"""Signs that an address does not stand in one piece."""
_BREAK = re.compile(r"\r?\n")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_BLANK_FOLD = re.compile(rb"\r?\n(?=[ \t])")


def fold(value: str) -> str:
    """The "titlecased canonicalized" form of i;unicode-casemap (RFC 5051 §2): equal, part of, before and after are those of the results.

    Each character's simple titlecase mapping, then its compatibility decomposition. So "ﬁ" becomes "fi" and does not equal "FI".
    """
    if value.isascii():
        return value.upper()
    pieces = _OTHERWISE.split(value)
    pieces[::2] = [piece.upper() for piece in pieces[::2]]
    pieces[1::2] = [title if len(title := each.title()) == 1 else each for each in pieces[1::2]]
    return normalize("NFKD", "".join(pieces))


def _has_other_title(character: str) -> bool:
    return len(character.upper()) != 1 or character.upper() != character.title()


_OTHERWISE = re.compile(f"([{''.join(filter(_has_other_title, map(chr, [*range(0x80, 0x2000), *range(0xFB00, 0xFB20)])))}])")
"""Characters whose titlecase is not what ``str.upper`` makes of them: ß, ŉ, Ǆ, Georgian …; all lie in these ranges (a test looks)."""


def header_lines(octets: bytes, end: int) -> list[str]:
    """The lines of the header section that ends at ``end``, unfolded."""
    header = _BLANK_FOLD.sub(b"", octets[:end])
    if header.isascii() and b"=?" not in header:  # most: in one step
        plain = header.decode("ascii").replace("\r\n", "\n").upper()
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
    return re.compile(rb"(?im)^" + re.escape(name.encode("utf-8")) + rb"[ \t]*:([^\n]*+(?>(?:\n[ \t][^\n]*+)*))")


def field_values(pattern: "re.Pattern[bytes]", octets: bytes, end: int, *, addressed: bool = False) -> list[str]:
    """The folded value of each occurrence of a field; ``addressed``: with broken addresses in one piece behind it."""
    values = []
    for found in pattern.finditer(octets, 0, end):
        value = fold(decode_words(unfold(found[1])))
        if addressed and is_broken(found[1]):
            whole = [b"%b@%b" % (each.mailbox, each.host) for each in addresses(unfold(found[1])) if each.mailbox and each.host]
            value = ", ".join([value, *(fold(each.decode("utf-8", "replace")) for each in whole)])
        values.append(value)
    return values


def is_broken(value: bytes) -> bool:
    """Comments or white space may stand inside of addresses: ``joe (Joe)@ example.org``."""
    return _BROKEN.search(value) is not None
