"""Which mailboxes: ``filter-mailboxes`` of RFC 5465 §8, as ESEARCH (RFC 7377 §2.2) names where to look."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass

from mta.wire.imap.mailbox import decode_name
from mta.wire.imap.scanner import Malformed, Scanner

_PLAIN = frozenset({"SELECTED", "SELECTED-DELAYED", "INBOXES", "PERSONAL", "SUBSCRIBED"})
_NAMED = frozenset({"SUBTREE", "SUBTREE-ONE", "MAILBOXES"})
_MOST_NAMES = 1000


@dataclass(frozen=True, slots=True)
class MailboxFilter:
    """``kind`` in upper case; ``names`` for SUBTREE, SUBTREE-ONE and MAILBOXES."""

    kind: str
    names: tuple[str, ...] = ()


def read_filter(scan: Scanner, utf8: bool) -> MailboxFilter:
    kind = scan.word()
    if kind in _PLAIN:
        return MailboxFilter(kind)
    if kind not in _NAMED:
        raise Malformed("no such way to name mailboxes")
    scan.space()
    if scan.peek() != 0x28:
        return MailboxFilter(kind, (decode_name(scan.astring(), utf8=utf8),))
    names = scan.parenthesised(lambda inner: decode_name(inner.astring(), utf8=utf8), empty=False)
    if len(names) > _MOST_NAMES:
        raise Malformed("too many mailboxes")
    return MailboxFilter(kind, tuple(names))
