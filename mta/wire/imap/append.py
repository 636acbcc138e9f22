"""APPEND (RFC 9051 §6.3.12), with several messages in one command (RFC 3502), as literal8
(RFC 3516 §4.4), in UTF8 () (RFC 6855 §4), of parts (CATENATE: RFC 4469 §3)."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass

from mta.model.message import Content, OctetContent
from mta.wire.imap.dates import read_date_time
from mta.wire.imap.flags import FlagList, read_flags
from mta.wire.imap.mailbox import decode_name
from mta.wire.imap.scanner import Literal, Malformed, Scanner

_MOST_PARTS = 1000


@dataclass(frozen=True, slots=True)
class Appendix:
    """One message. ``date`` None: now. ``parts``: what it is to be made of (RFC 4469): an IMAP URL as octets, or content; then ``content``
    is empty. ``binary``: a literal8, which may hold NUL."""

    content: Content
    flags: FlagList = FlagList()
    date: int | None = None
    parts: tuple[bytes | Content, ...] = ()
    binary: bool = False


@dataclass(frozen=True, slots=True)
class Append:
    mailbox: str
    messages: tuple[Appendix, ...]


def read_append(scan: Scanner, utf8: bool) -> Append:
    name = decode_name(scan.astring(), utf8=utf8)
    messages: list[Appendix] = []
    while not messages or not scan.done:
        scan.space()
        messages.append(read_message(scan, utf8))
    return Append(name, tuple(messages))


def read_message(scan: Scanner, utf8: bool) -> Appendix:
    flags, date = FlagList(), None
    if scan.peek() == 0x28:
        flags = read_flags(scan)
        scan.space()
    if scan.peek() == 0x22:
        date = read_date_time(scan)
        scan.space()
    if scan.text[scan.pos : scan.pos + 10].upper() == b"CATENATE (":
        scan.pos += 9
        parts = scan.parenthesised(_read_part, empty=False)
        if len(parts) > _MOST_PARTS:
            raise Malformed("too many parts")
        return Appendix(OctetContent(b""), flags, date, tuple(parts), b"~{" in scan.text)
    start = scan.pos
    octets = _read_octets(scan, utf8)
    content = OctetContent(octets) if isinstance(octets, bytes) else octets
    return Appendix(content, flags, date, binary=b"~{" in scan.text[start : scan.pos])


def _read_part(scan: Scanner) -> bytes | Content:
    kind = scan.word()
    scan.space()
    if kind == "URL":
        return scan.astring()
    if kind != "TEXT":
        raise Malformed("expected TEXT or URL")
    octets = scan.literal()
    return OctetContent(octets) if isinstance(octets, bytes) else octets


def _read_octets(scan: Scanner, utf8: bool) -> Literal:
    """A literal; after ENABLE UTF8=ACCEPT also ``UTF8 (~{n}…)``, which says nothing that we would not see ourselves."""
    if scan.text[scan.pos : scan.pos + 6].upper() != b"UTF8 (":
        return scan.literal()
    if not utf8:
        raise Malformed("ENABLE UTF8=ACCEPT first")
    scan.pos += 6
    octets = scan.literal()
    scan.expect(b")")
    return octets
