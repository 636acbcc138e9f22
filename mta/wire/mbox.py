"""The mbox formats (RFC 4155, mboxrd, mboxo): ``From_`` lines, their quoting, and the fields that carry flags.

A ``From_`` line counts only with a date that can be read: "From the beginning" in a text that nobody quoted ends no message.
Flags travel as mutt, Dovecot and Thunderbird write them: Status, X-Status, X-Keywords, X-Mozilla-Status.
Not here: reading files, and Content-Length (mboxcl), which is wrong too often.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from mta.model.message import Flags
from mta.wire.imap.dates import MONTHS
from mta.wire.imap.flags import LONGEST_KEYWORD, MOST_KEYWORDS
from mta.wire.mime.headers import fields, unfold

Quoting = Literal["mboxrd", "mboxo"]

_LONGEST = 1000
_MONTH_NAMES = "|".join(MONTHS).encode()
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_FROM = re.compile(
    rb"From (?:.* )?(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +"
    rb"(?:(?P<m1>"
    + _MONTH_NAMES
    + rb") +(?P<d1>[0-9]{1,2})|(?P<d2>[0-9]{1,2}) +(?P<m2>"
    + _MONTH_NAMES
    + rb"))(?: +(?P<y1>[0-9]{4}))?"
    rb" +(?P<h>[0-9]{1,2}):(?P<min>[0-9]{2})(?::(?P<s>[0-9]{2}))?"
    rb"(?: +(?P<z1>[+-][0-9]{4})| +[A-Z]{1,5})?(?: +(?P<y2>[0-9]{4}))?(?: +(?P<z2>[+-][0-9]{4}))?[ \t\r\n]*\Z"
)
_QUOTED = re.compile(rb">+From ")
_KEYWORD = re.compile(r"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+\Z")
_STATUS = {"R": Flags.SEEN}
_X_STATUS = {"A": Flags.ANSWERED, "F": Flags.FLAGGED, "D": Flags.DELETED, "T": Flags.DRAFT}
_MOZILLA = {1: Flags.SEEN, 2: Flags.ANSWERED, 4: Flags.FLAGGED, 8: Flags.DELETED}
_METADATA = frozenset(
    b"status x-status x-keywords x-uid x-imap x-imapbase x-mozilla-status x-mozilla-status2 x-mozilla-keys".split()
)


def from_date(line: bytes) -> int | None:
    """Wall-clock seconds that a ``From_`` line names, UTC unless it says its zone; None: it is none."""
    if not line.startswith(b"From ") or len(line) > _LONGEST:
        return None
    found = _FROM.match(line)
    if found is None or not (year := found["y1"] or found["y2"]):
        return None
    month = MONTHS.index((found["m1"] or found["m2"]).decode()) + 1
    try:
        second = min(int(found["s"] or 0), 59)
        day = datetime(int(year), month, int(found["d1"] or found["d2"]), int(found["h"]), int(found["min"]), second, tzinfo=UTC)
    except ValueError:
        return None
    zone = found["z1"] or found["z2"] or b"+0000"
    offset = int(zone[1:3]) * 3600 + int(zone[3:5]) * 60
    return int(day.timestamp()) - (offset if zone.startswith(b"+") else -offset)


def from_line(date: int) -> bytes:
    """``From_`` for a message that came then. The sender is nobody's business here: Return-Path stays in the message."""
    moment = datetime.fromtimestamp(min(max(date, 0), 253402300799), UTC)
    text = f"From MAILER-DAEMON {_DAYS[moment.weekday()]} {MONTHS[moment.month - 1]} {moment:%d %H:%M:%S} {moment.year:04d}\n"
    return text.encode("ascii")


def quote(line: bytes) -> bytes:
    """mboxrd: one ``>`` in front of every line that is ``From `` behind any number of them."""
    return b">" + line if line.startswith(b"From ") or (line.startswith(b">") and _QUOTED.match(line)) else line


def unquote(line: bytes, quoting: Quoting) -> bytes:
    """The line as it was. In mboxo only ``>From `` was written by the quoting: lines with more signs were so before."""
    if quoting == "mboxo":
        return line[1:] if line.startswith(b">From ") else line
    return line[1:] if line.startswith(b">") and _QUOTED.match(line) else line


class Header(NamedTuple):
    """A header section without the fields that are the mailbox's, and what these said."""

    octets: bytes
    flags: Flags
    keywords: frozenset[str]
    pseudo: bool
    """No message: the record of UW imapd and c-client."""


def read_header(octets: bytes) -> Header:
    """``octets``: the header section with the blank line that ends it."""
    flags, words, kept, at, imap, subject = Flags(0), [], [], 0, False, b""
    for field in fields(octets, 0, len(octets)):
        if field.name not in _METADATA:
            subject = unfold(octets[field.value : field.end]) if field.name == b"subject" else subject
            continue
        kept.append(octets[at : field.start])
        at = field.end
        value = unfold(octets[field.value : field.end]).decode("ascii", "replace")
        imap = imap or field.name == b"x-imap"
        if field.name in (b"status", b"x-status"):
            for letter in value:
                flags |= (_STATUS if field.name == b"status" else _X_STATUS).get(letter, Flags(0))
        elif field.name in (b"x-keywords", b"x-mozilla-keys"):
            words += value.split()
        elif field.name == b"x-mozilla-status":
            flags |= _mozilla(value)
    kept.append(octets[at:])
    return Header(b"".join(kept), flags, usable(words), imap and subject.startswith(b"DON'T DELETE THIS MESSAGE"))


def _mozilla(value: str) -> Flags:
    try:
        bits = int(value, 16)
    except ValueError:
        return Flags(0)
    flags = Flags(0)
    for bit, flag in _MOZILLA.items():
        if bits & bit:
            flags |= flag
    return flags


def status_fields(flags: int, keywords: str) -> bytes:
    """Fields that say flags and keywords (as in a Row), LF line ends."""
    lines = ["Status: RO" if flags & Flags.SEEN else "Status: O"]
    if letters := "".join(letter for letter, flag in _X_STATUS.items() if flags & flag):
        lines.append(f"X-Status: {letters}")
    if keywords:
        lines.append(f"X-Keywords: {keywords}")
    return "".join(f"{line}\n" for line in lines).encode("ascii", "replace")


def usable(keywords: Iterable[str]) -> frozenset[str]:
    """Those that IMAP can name (RFC 9051 §9 flag-keyword), within the bounds of ours."""
    return frozenset([word for word in keywords if len(word) <= LONGEST_KEYWORD and _KEYWORD.match(word)][:MOST_KEYWORDS])
