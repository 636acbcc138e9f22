"""APPEND (RFC 9051 §6.3.12), with several messages in one command (RFC 3502), as literal8 (RFC 3516 §4.4), in UTF8 () (RFC 6855 §4)."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass

from mta.model.message import Content, OctetContent
from mta.wire.imap.dates import read_date_time
from mta.wire.imap.flags import FlagList, read_flags
from mta.wire.imap.mailbox import decode_name
from mta.wire.imap.scanner import Literal, Malformed, Scanner


@dataclass(frozen=True, slots=True)
class Appendix:
    """One message. ``date`` None: now."""

    content: Content
    flags: FlagList = FlagList()
    date: int | None = None


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
    octets = _read_octets(scan, utf8)
    return Appendix(OctetContent(octets) if isinstance(octets, bytes) else octets, flags, date)


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
