"""What SORT and THREAD look at in one message (RFC 5256 §2, RFC 5957 §3), made once and kept beside the message.

Left out: nothing. Strings are folded, so that comparing them compares as i;unicode-casemap asks.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from datetime import UTC, datetime, timedelta

import msgspec

from mta.wire.imap.dates import MONTHS
from mta.wire.mime import Envelope, Mailbox, decode_words, read_envelope
from mta.wire.mime.headers import unfold
from mta.wire.mime.searchable import field_pattern, fold

VERSION = 2
MOST_REFERENCES = 100
_LONGEST = 500
"""Characters of a string that take part in sorting."""

_MESSAGE_ID = re.compile(rb"<([^<>\s]+)>")
_REFERENCES = field_pattern("references")
_SPACES = re.compile(r"\s+")
_BLOB = re.compile(r"\[[^\[\]]*\]\s*")
_LEADER = re.compile(r"(?:\[[^\[\]]*\]\s*)*(?:RE|FWD?)\s*(?:\[[^\[\]]*\])?\s*:\s*")
_TRAILER = re.compile(r"(?:\s*\(FWD\))+\s*$")
_DATE = re.compile(
    r"(?:[a-z]{3,9}\s*,\s*)?([0-9]{1,2})[\s-]+([a-z]{3})[a-z]*[\s-]+([0-9]{2,4})\s+([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?\s*([+-][0-9]{4}|[a-z]+)?",
    re.IGNORECASE,
)
_MONTHS = {name.lower(): number for number, name in enumerate(MONTHS, 1)}
_ZONES = {"est": -300, "edt": -240, "cst": -360, "cdt": -300, "mst": -420, "mdt": -360, "pst": -480, "pdt": -420}  # RFC 5322 §4.3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SortKeys(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """``sent`` seconds since 1970, None when there is no date to read; ``reply``: the subject says that it answers or forwards."""

    version: int
    sent: int | None
    subject: str
    reply: bool
    from_: str
    to: str
    cc: str
    display_from: str
    display_to: str
    message_id: str
    references: tuple[str, ...]

    def encode(self) -> bytes:
        return _encoder.encode(self)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SortKeys)


def decode_keys(octets: bytes | None) -> SortKeys | None:
    """None when there is nothing, or it was written by another version."""
    if not octets:
        return None
    try:
        found = _decoder.decode(octets)
    except msgspec.MsgspecError:
        return None
    return found if found.version == VERSION else None


def sort_keys(octets: bytes, end: int) -> SortKeys:
    """From the header section that ends at ``end``."""
    found = read_envelope(octets, 0, end)
    subject, reply = base_subject(decode_words(found.subject or b""))
    ids = _MESSAGE_ID.findall(found.message_id or b"")
    return SortKeys(
        VERSION,
        sent_seconds((found.date or b"").decode("latin-1")),
        subject[:_LONGEST],
        reply,
        _local(found.from_),
        _local(found.to),
        _local(found.cc),
        _display(found.from_),
        _display(found.to),
        _plain(ids[0]) if ids else "",
        _references(found, octets, end),
    )


def _references(found: Envelope, octets: bytes, end: int) -> tuple[str, ...]:
    """RFC 5256 §3, THREAD=REFERENCES: References, else the first of In-Reply-To."""
    field = _REFERENCES.search(octets, 0, end)
    ids = _MESSAGE_ID.findall(unfold(field[1])) if field else []
    if not ids:
        ids = _MESSAGE_ID.findall(found.in_reply_to or b"")[:1]
    if len(ids) > MOST_REFERENCES:
        ids = [ids[0], *ids[1 - MOST_REFERENCES :]]
    return tuple(map(_plain, ids))


def _plain(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")[:_LONGEST]


def _local(entries: tuple[Mailbox, ...]) -> str:
    """The mailbox of the first address, as ENVELOPE shows it (RFC 5256 §3)."""
    return fold(decode_words(entries[0].mailbox or b""))[:_LONGEST] if entries else ""


def _display(entries: tuple[Mailbox, ...]) -> str:
    """RFC 5957 §3: the display name, or the address when there is none."""
    if not entries:
        return ""
    name, _, mailbox, host = entries[0]
    if name:
        return fold(decode_words(name))[:_LONGEST]
    address = decode_words(mailbox or b"") + (f"@{decode_words(host)}" if host else "")
    return fold(address)[:_LONGEST]


def base_subject(subject: str) -> tuple[str, bool]:
    """RFC 5256 §2.1: (base subject, it is a reply or forward)."""
    text = fold(_SPACES.sub(" ", subject[:10_000]).strip())
    reply = False
    while True:
        text, changed = _TRAILER.subn("", text)
        reply |= bool(changed)
        text, led = _without_leaders(text.strip())
        reply |= led
        if not (text.startswith("[FWD:") and text.endswith("]")):
            return text, reply
        text, reply = text[5:-1].strip(), True


def _without_leaders(text: str) -> tuple[str, bool]:
    reply = False
    at = 0
    while True:
        if led := _LEADER.match(text, at):
            at, reply = led.end(), True
        elif (blob := _BLOB.match(text, at)) and blob.end() < len(text):
            at = blob.end()
        else:
            return text[at:], reply


def sent_seconds(text: str) -> int | None:
    """The Date field as seconds since 1970; a zone that cannot be read is UTC (RFC 5256 §2.2)."""
    found = _DATE.search(text)
    if found is None:
        return None
    day, month_name, year_text, hour, minute, second, zone = found.groups()
    year, month = int(year_text), _MONTHS.get(month_name.lower())
    if month is None:
        return None
    if len(year_text) < 4:  # RFC 5322 §4.3
        year += 2000 if year < 50 else 1900
    try:
        at = datetime(year, month, int(day), int(hour), int(minute), min(int(second or 0), 59), tzinfo=UTC)
    except ValueError:
        return None
    return int((at - _EPOCH) / timedelta(seconds=1)) - 60 * _zone(zone or "")


def _zone(text: str) -> int:
    """Minutes east of UTC."""
    if text[:1] in ("+", "-"):
        minutes = int(text[1:3]) * 60 + int(text[3:5])
        return -minutes if text[0] == "-" else minutes
    return _ZONES.get(text.lower(), 0)
