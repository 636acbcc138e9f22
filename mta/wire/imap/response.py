"""What a server says (RFC 9051 §7): strings, tagged and untagged status, capability, LIST, STATUS, ESEARCH."""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Sequence

from mta.wire.imap.mailbox import encode_name
from mta.wire.imap.sequence import encode_numbers, partial_of

_QUOTABLE = re.compile(rb"[\x20\x21\x23-\x5b\x5d-\x7e]*\Z")
_ESCAPABLE = re.compile(rb"[\x20-\x7e]*\Z")
_ESCAPE = re.compile(rb'(["\\])')
LONGEST_QUOTED = 1000


def string(octets: bytes) -> bytes:
    """Quoted when it can be, else a literal: what every client since 1996 reads. NUL, which no string may hold, becomes "?"."""
    if len(octets) <= LONGEST_QUOTED:
        if _QUOTABLE.match(octets):
            return b'"' + octets + b'"'
        if _ESCAPABLE.match(octets):
            return b'"' + _ESCAPE.sub(rb"\\\1", octets) + b'"'
    clean = octets.replace(b"\0", b"?") if b"\0" in octets else octets
    return b"{%d}\r\n%b" % (len(clean), clean)


def nstring(octets: bytes | None) -> bytes:
    return b"NIL" if octets is None else string(octets)


def status_line(condition: bytes, code: bytes, text: bytes) -> bytes:
    """``OK [CODE] text`` without tag and CRLF."""
    return b"%b [%b] %b" % (condition, code, text) if code else b"%b %b" % (condition, text)


def untagged(octets: bytes) -> bytes:
    return b"* %b\r\n" % octets


def list_line(attributes: Sequence[bytes], name: str, *, utf8: bool, verb: bytes = b"LIST", extended: bytes = b"") -> bytes:
    return b'* %b (%b) "/" %b%b\r\n' % (verb, b" ".join(attributes), encode_name(name, utf8=utf8), extended)


def status_response(name: str, items: Sequence[tuple[str, int | bytes]], *, utf8: bool) -> bytes:
    pairs = b" ".join(
        b"%b %b" % (item.encode("ascii"), value if isinstance(value, bytes) else b"%d" % value) for item, value in items
    )
    return b"* STATUS %b (%b)\r\n" % (encode_name(name, utf8=utf8), pairs)


def search_response(numbers: Sequence[int], modseq: int | None = None) -> bytes:
    """RFC 3501 §7.2.5; with MODSEQ: RFC 7162 §3.1.5."""
    tail = b"" if modseq is None or not numbers else b" (MODSEQ %d)" % modseq
    return b"* SEARCH" + (b" " + " ".join(map(str, numbers)).encode("ascii") if numbers else b"") + tail + b"\r\n"


def sort_response(numbers: Sequence[int], modseq: int | None = None) -> bytes:
    """RFC 5256 §4; with MODSEQ: RFC 7162 §3.1.6."""
    return b"* SORT" + search_response(numbers, modseq)[8:]


def esearch_response(
    tag: bytes,
    numbers: Sequence[int],
    options: frozenset[str],
    *,
    uid: bool,
    modseq: int | None = None,
    partial: tuple[int, int] | None = None,
    scores: Sequence[int] | None = None,
    mailbox: tuple[bytes, int] | None = None,
) -> bytes:
    """RFC 9051 §7.3.4; ``numbers`` ascending, or as they were sorted (RFC 5267 §3). ``scores``: one for each (RFC 6203 §4).
    ``mailbox``: name and uidvalidity (RFC 7377 §2.1)."""
    where = b"" if mailbox is None else b" MAILBOX %b UIDVALIDITY %d" % mailbox
    out = [b"* ESEARCH (TAG %b%b)" % (string(tag), where)]
    if uid:
        out.append(b"UID")
    if numbers:
        if "MIN" in options:
            out.append(b"MIN %d" % numbers[0])
        if "MAX" in options:
            out.append(b"MAX %d" % numbers[-1])
        if "ALL" in options:
            out.append(b"ALL " + encode_numbers(numbers))
    if partial is not None:
        shown = encode_numbers(partial_of(numbers, partial)) or b"NIL"
        out.append(b"PARTIAL (%d:%d %b)" % (*partial, shown))
    if scores is not None and numbers:
        told = scores if partial is None else partial_of(scores, partial)
        out.append(b"RELEVANCY (%b)" % " ".join(map(str, told)).encode("ascii"))
    if "COUNT" in options:
        out.append(b"COUNT %d" % len(numbers))
    if modseq is not None and numbers:
        out.append(b"MODSEQ %d" % modseq)
    return b" ".join(out) + b"\r\n"
