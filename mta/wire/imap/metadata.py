"""GETMETADATA and SETMETADATA (RFC 5464 §4): entries of the server and of mailboxes."""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mta.wire.imap.mailbox import decode_name, encode_name
from mta.wire.imap.response import string
from mta.wire.imap.scanner import Malformed, Scanner

MAX_ENTRIES = 100
"""In one command."""
_ENTRY = re.compile(r"/(?:private|shared)(?:/[^/*%\x00-\x1f\x7f-\U0010ffff]+)+\Z")
_SCOPE = re.compile(r"/(?:private|shared)\Z")
_LONGEST_ENTRY = 1000


@dataclass(frozen=True, slots=True)
class GetMetadata:
    """``depth``: levels below each entry, 2 for infinity. ``max_size``: longer values are left out; None: no bound."""

    mailbox: str
    entries: tuple[str, ...]
    depth: int = 0
    max_size: int | None = None


@dataclass(frozen=True, slots=True)
class SetMetadata:
    """None removes an entry."""

    mailbox: str
    values: Mapping[str, bytes | None]


def read_get_metadata(scan: Scanner, _uid: bool, utf8: bool) -> GetMetadata:
    """Options stand before the mailbox by the grammar, behind it in the examples of RFC 5464 §4.2.1: both are read."""
    options: dict[str, int] = {}
    if scan.peek() == 0x28:
        options = _options(scan)
        scan.space()
    name = decode_name(scan.astring(), utf8=utf8)
    scan.space()
    if not options and scan.peek() == 0x28 and scan.text[scan.pos + 1 : scan.pos + 2] not in (b"/", b'"', b"{"):
        options = _options(scan)
        scan.space()
    return GetMetadata(name, read_entries(scan), options.get("DEPTH", 0), options.get("MAXSIZE"))


def _options(scan: Scanner) -> dict[str, int]:
    return dict(scan.parenthesised(_option, empty=False))


def _option(scan: Scanner) -> tuple[str, int]:
    word = scan.word()
    scan.space()
    if word == "MAXSIZE":
        return word, scan.number()
    if word != "DEPTH":
        raise Malformed("no such GETMETADATA option")
    depth = {"0": 0, "1": 1, "INFINITY": 2}.get(scan.word())
    if depth is None:
        raise Malformed("DEPTH is 0, 1 or infinity")
    return word, depth


def read_entries(scan: Scanner) -> tuple[str, ...]:
    """One entry, or several in parentheses."""
    entries = scan.parenthesised(_entry, empty=False) if scan.peek() == 0x28 else [_entry(scan)]
    if len(entries) > MAX_ENTRIES:
        raise Malformed("too many entries")
    return tuple(dict.fromkeys(entries))


def _entry(scan: Scanner) -> str:
    name = _entry_name(scan)
    if not _ENTRY.match(name) and not _SCOPE.match(name):
        raise Malformed("no such entry name")
    return name


def _entry_name(scan: Scanner) -> str:
    """In lower case: entries compare without regard to it (RFC 5464 §3.2)."""
    name = scan.astring().decode("latin-1").lower()
    if len(name) > _LONGEST_ENTRY:
        raise Malformed("entry name too long")
    return name


def read_set_metadata(scan: Scanner, _uid: bool, utf8: bool) -> SetMetadata:
    name = decode_name(scan.astring(), utf8=utf8)
    scan.space()
    pairs = scan.parenthesised(_pair, empty=False)
    if len(pairs) > MAX_ENTRIES:
        raise Malformed("too many entries")
    return SetMetadata(name, dict(pairs))


def _pair(scan: Scanner) -> tuple[str, bytes | None]:
    name = _entry_name(scan)
    if not _ENTRY.match(name):
        raise Malformed("no such entry name")
    scan.space()
    if scan.peek() in (0x22, 0x7B, 0x7E):
        return name, scan.string()
    return name, scan.nstring()


def metadata_line(mailbox: str, values: Sequence[tuple[str, bytes | None]], *, utf8: bool) -> bytes:
    """``mailbox`` "": the server."""
    pairs = b" ".join(string(entry.encode("latin-1")) + b" " + _value(value) for entry, value in values)
    return b"* METADATA %b (%b)\r\n" % (encode_name(mailbox, utf8=utf8) if mailbox else b'""', pairs)


def _value(value: bytes | None) -> bytes:
    if value is None:
        return b"NIL"
    return b"~{%d}\r\n%b" % (len(value), value) if b"\0" in value else string(value)
