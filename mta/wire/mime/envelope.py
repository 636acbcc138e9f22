"""The envelope of a message as IMAP shows it (RFC 9051 §7.5.2): ten values from its header section, octets undecoded."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterable
from typing import NamedTuple

from mta.wire.mime.addresses import Mailbox, addresses
from mta.wire.mime.entity import Entity
from mta.wire.mime.headers import MAX_HEADER, fields, header_end, unfold

Mailboxes = tuple[Mailbox, ...]

_NAMES = frozenset((b"date", b"subject", b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc", b"in-reply-to", b"message-id"))
_LISTS = frozenset((b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc"))


class Envelope(NamedTuple):
    """Unfolded values; None when the field is absent. Of a repeated field the first counts, but recipient lists of repeated
    To, Cc and Bcc fields are joined. ``sender`` and ``reply_to`` are From's when absent or empty (RFC 9051 §7.5.2)."""

    date: bytes | None
    subject: bytes | None
    from_: Mailboxes
    sender: Mailboxes
    reply_to: Mailboxes
    to: Mailboxes
    cc: Mailboxes
    bcc: Mailboxes
    in_reply_to: bytes | None
    message_id: bytes | None


def envelope(entity: Entity, octets: bytes) -> Envelope:
    """Return the envelope of a message: the root, or the ``message`` of a message/rfc822 part."""
    return read_envelope(octets, entity.header_start, entity.body_start)


def read_envelope(octets: bytes, start: int = 0, end: int | None = None) -> Envelope:
    """Return the envelope from the header section ``[start, end)``; ``end`` None: up to the blank line."""
    values: dict[bytes, bytes] = {}
    more: dict[bytes, list[bytes]] = {}
    for name, value in _named(octets, start, header_end(octets, start) if end is None else end):
        if name not in values:
            values[name] = value
        elif name in (b"to", b"cc", b"bcc"):
            more.setdefault(name, [values[name]]).append(value)
    if more:
        values |= {name: b", ".join(lists) for name, lists in more.items()}
    lists = {name: addresses(values[name]) for name in _LISTS if name in values}
    author = lists.get(b"from", ())
    return Envelope(
        date=values.get(b"date"),
        subject=values.get(b"subject"),
        from_=author,
        sender=lists.get(b"sender") or author,
        reply_to=lists.get(b"reply-to") or author,
        to=lists.get(b"to", ()),
        cc=lists.get(b"cc", ()),
        bcc=lists.get(b"bcc", ()),
        in_reply_to=values.get(b"in-reply-to"),
        message_id=values.get(b"message-id"),
    )


def _named(octets: bytes, start: int, end: int) -> Iterable[tuple[bytes, bytes]]:
    """Lower-case name and unfolded value of the fields that an envelope has: what ``fields`` and ``unfold`` give, in half the time."""
    header = octets[start : min(end, start + MAX_HEADER)].replace(b"\r\n", b"\n")
    if b"\r" in header:  # inside a line it stays, where lines were folded it goes
        return [(f.name, unfold(octets[f.value : f.end])) for f in fields(octets, start, end) if f.name in _NAMES]
    found = []
    for line in header.replace(b"\n ", b" ").replace(b"\n\t", b"\t").split(b"\n"):
        written, colon, value = line.partition(b":")
        if colon and (name := written.rstrip(b" \t").lower()) in _NAMES:
            found.append((name, value.strip(b" \t")))
    return found
