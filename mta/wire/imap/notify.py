"""NOTIFY (RFC 5465 §8): groups of mailboxes and the events that are to be told of each."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass
from typing import Literal

from mta.wire.imap.fetch import Item, read_items
from mta.wire.imap.mailbox import decode_name
from mta.wire.imap.scanner import Malformed, Scanner

Kind = Literal["selected", "selected-delayed", "inboxes", "personal", "subscribed", "subtree", "mailboxes"]
EVENTS = {
    name.upper(): name
    for name in (
        "MessageNew",
        "MessageExpunge",
        "FlagChange",
        "AnnotationChange",
        "MailboxName",
        "SubscriptionChange",
        "MailboxMetadataChange",
        "ServerMetadataChange",
    )
}
_MESSAGE_EVENTS = frozenset({"MessageNew", "MessageExpunge", "FlagChange", "AnnotationChange"})
_KINDS: dict[str, Kind] = {
    "SELECTED": "selected",
    "SELECTED-DELAYED": "selected-delayed",
    "INBOXES": "inboxes",
    "PERSONAL": "personal",
    "SUBSCRIBED": "subscribed",
    "SUBTREE": "subtree",
    "MAILBOXES": "mailboxes",
}
_MOST_GROUPS, _MOST_NAMES = 50, 1000


@dataclass(frozen=True, slots=True)
class Group:
    """``events`` in our spelling, or upper case for one that nobody knows; ``items``: of new messages in the open mailbox."""

    kind: Kind
    names: tuple[str, ...]
    events: frozenset[str]
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Notify:
    """``groups`` empty: NONE. ``status``: tell how things stand at once."""

    groups: tuple[Group, ...] = ()
    status: bool = False


def read_notify(scan: Scanner, _uid: bool, utf8: bool) -> Notify:
    word = scan.word()
    if word == "NONE":
        return Notify()
    if word != "SET":
        raise Malformed("expected NONE or SET")
    scan.space()
    status = False
    if scan.peek() != 0x28:
        if scan.word() != "STATUS":
            raise Malformed("expected STATUS or a group")
        status = True
        scan.space()
    groups = [_group(scan, utf8)]
    while scan.take(b" "):
        groups.append(_group(scan, utf8))
    if len(groups) > _MOST_GROUPS or sum(len(group.names) for group in groups) > _MOST_NAMES:
        raise Malformed("too much to watch in one command")
    if sum(group.kind.startswith("selected") for group in groups) > 1:
        raise Malformed("the selected mailbox twice")  # RFC 5465 §6.1
    return Notify(tuple(groups), status)


def _group(scan: Scanner, utf8: bool) -> Group:
    scan.expect(b"(")
    kind = _KINDS.get(scan.word())
    if kind is None:
        raise Malformed("no such group of mailboxes")
    names: tuple[str, ...] = ()
    scan.space()
    if kind in ("subtree", "mailboxes"):
        names = _names(scan, utf8)
        scan.space()
    events: set[str] = set()
    items: tuple[Item, ...] = ()
    if scan.peek() == 0x28:
        for name, of_new in scan.parenthesised(_event, empty=False):
            events.add(name)
            items = items or of_new
    elif scan.word() != "NONE":
        raise Malformed("expected events or NONE")
    scan.expect(b")")
    _check(kind, events, items)
    return Group(kind, names, frozenset(events), items)


def _names(scan: Scanner, utf8: bool) -> tuple[str, ...]:
    def name(inner: Scanner) -> str:
        return decode_name(inner.astring(), utf8=utf8)

    return tuple(scan.parenthesised(name, empty=False)) if scan.peek() == 0x28 else (name(scan),)


def _event(scan: Scanner) -> tuple[str, tuple[Item, ...]]:
    word = scan.word()
    name = EVENTS.get(word, word)
    if name == "MessageNew" and scan.text.startswith(b" (", scan.pos):
        scan.space()
        return name, read_items(scan)
    return name, ()


def _check(kind: Kind, events: set[str], items: tuple[Item, ...]) -> None:
    """What makes no sense is BAD (RFC 5465 §5, §6.1)."""
    if ("MessageNew" in events) != ("MessageExpunge" in events):
        raise Malformed("MessageNew and MessageExpunge go together")
    if events & {"FlagChange", "AnnotationChange"} and "MessageNew" not in events:
        raise Malformed("FlagChange needs MessageNew and MessageExpunge")
    if kind.startswith("selected"):
        if events - _MESSAGE_EVENTS and events & set(EVENTS.values()) - _MESSAGE_EVENTS:
            raise Malformed("only events of messages for the selected mailbox")
    elif items:
        raise Malformed("items of new messages only for the selected mailbox")
