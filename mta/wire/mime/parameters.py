"""Values with parameters: Content-Type and Content-Disposition (RFC 2045 §5.1, RFC 2183, RFC 2231 §3, §4).

Two readings of the same octets: raw pairs in order, as IMAP's BODYSTRUCTURE shows them, and a decoded mapping with
continuations joined, percent-encoding, charset and encoded words (which RFC 2047 §5 forbids here, and everyone sends)
undone. Comments are passed over. Linear in the octets, 100,000 continuations included.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from mta.wire.mime.charsets import decode
from mta.wire.mime.words import decode_words

Pairs = list[tuple[bytes, bytes]]

_SHORT = 200

_TOKEN = re.compile(rb'[^\x00-\x20()<>@,;:\\"\[\]?=]++')
_SPACE = re.compile(rb"[\s;]*+")
_QUOTED = re.compile(rb'"((?>(?:[^"\\]|\\.)*))"?', re.DOTALL)
_BARE = re.compile(rb"[^;]*+")
_JUNK = re.compile(rb"[^;]*+")
_EQUALS = re.compile(rb"\s*+=\s*+")
_PIECE = re.compile(rb'[^"(]++|"(?>(?:[^"\\]|\\.)*)"?|\(', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_COMMENT = re.compile(rb"[()]|\\.", re.DOTALL)
_CONTINUED = re.compile(r"([^*]+)\*(\d{1,6})(\*?)\Z")


def split_value(octets: bytes) -> tuple[bytes, Pairs]:
    """Return what stands before the first parameter, lower-cased, and (lower-case name, value unquoted) pairs in order.

    The pairs are not the caller's to change: most mail has one of a few values, and these are read once.
    """
    return _known(octets) if len(octets) <= _SHORT else _split(octets)


@lru_cache(maxsize=1000)
def _known(octets: bytes) -> tuple[bytes, Pairs]:
    return _split(octets)


def _split(octets: bytes) -> tuple[bytes, Pairs]:
    octets = strip_comments(octets)
    head, _, _ = octets.partition(b";")
    at = len(head)
    pairs: Pairs = []
    size = len(octets)
    while at < size:
        at = _SPACE.match(octets, at).end()  # type: ignore[union-attr]  # matches empty
        name = _TOKEN.match(octets, at)
        equals = _EQUALS.match(octets, name.end()) if name else None
        if name is None or equals is None:
            at = _JUNK.match(octets, at).end()  # type: ignore[union-attr]  # matches empty
            continue
        at = equals.end()
        if quoted := _QUOTED.match(octets, at):
            value, at = unescape(quoted[1]), quoted.end()
        else:
            bare = _BARE.match(octets, at)
            assert bare is not None
            value, at = bare[0].rstrip(), bare.end()  # unquoted white space is wrong and common: name=my file.pdf
        pairs.append((name[0].lower(), value))
    return head.strip().lower(), pairs


def decoded(pairs: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the parameters as text, names in lower case; of two with one name the first counts (RFC 2231 forms win)."""
    plain: dict[str, str] = {}
    extended: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[bytes, bool]]] = {}
    for raw, value in pairs:
        name = raw.decode("latin-1")
        if "*" not in name:
            plain.setdefault(name, decode_words(value))
        elif match := _CONTINUED.match(name):
            pieces.setdefault(match[1], {}).setdefault(int(match[2]), (value, bool(match[3])))
        elif name.endswith("*"):
            extended.setdefault(name[:-1], _extended(value))
    for name, numbered in pieces.items():
        if 0 in numbered:
            extended.setdefault(name, _joined(numbered))
    return plain | extended


def unescape(octets: bytes) -> bytes:
    """Undo the quoted pairs of a quoted string's inside (RFC 5322 §3.2.1)."""
    return _ESCAPE.sub(rb"\1", octets) if b"\\" in octets else octets


def strip_comments(octets: bytes) -> bytes:
    """Return the value without its comments (RFC 822 §3.1.4); parentheses inside quoted strings stay."""
    if b"(" not in octets:
        return octets
    out = []
    at = 0
    while piece := _PIECE.match(octets, at):
        at = piece.end()
        if piece[0] == b"(":
            at = comment_end(octets, at - 1)
        else:
            out.append(piece[0])
    return b"".join(out)


def comment_end(octets: bytes, opening: int) -> int:
    """Return the offset behind the comment that opens at ``opening``; an open one ends with the octets."""
    depth = 0
    for match in _COMMENT.finditer(octets, opening):
        depth += {b"(": 1, b")": -1}.get(match[0], 0)
        if depth == 0:
            return match.end()
    return len(octets)


def _extended(value: bytes) -> str:
    charset, first, rest = value.partition(b"'")
    _language, second, text = rest.partition(b"'")
    if not (first and second):
        return decode(unquote_to_bytes(value), "utf-8")
    return decode(unquote_to_bytes(text), charset.decode("latin-1"))


def _joined(numbered: dict[int, tuple[bytes, bool]]) -> str:
    """Join ``name*0*``, ``name*1`` … up to the first gap (RFC 2231 §4.1): the charset stands in the first piece."""
    charset = "utf-8"
    out: list[bytes] = []
    for number in range(len(numbered)):
        if number not in numbered:
            break
        value, percent = numbered[number]
        if percent and number == 0 and value.count(b"'") >= 2:
            name, _language, value = value.split(b"'", 2)
            charset = name.decode("latin-1")
        out.append(unquote_to_bytes(value) if percent else value)
    return decode(b"".join(out), charset)
