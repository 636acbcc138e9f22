"""LIST with selection and return options, LSUB, STATUS (RFC 9051 §6.3.9, §6.3.11; RFC 5258, RFC 5819, RFC 6154)."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass

from mta.wire.imap.mailbox import BadName, decode_name, decode_utf7
from mta.wire.imap.metadata import read_entries
from mta.wire.imap.scanner import Malformed, Scanner

STATUS_ITEMS = frozenset(
    {
        "MESSAGES",
        "UIDNEXT",
        "UIDVALIDITY",
        "UNSEEN",
        "DELETED",
        "DELETED-STORAGE",
        "SIZE",
        "RECENT",
        "HIGHESTMODSEQ",
        "APPENDLIMIT",
        "MAILBOXID",
    }
)
_SELECTIONS = frozenset({"SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"})
_MOST_PATTERNS = 100
_NOTHING = "\0"
"""A pattern that no name matches."""
_RETURNS = frozenset({"SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "MYRIGHTS"})


@dataclass(frozen=True, slots=True)
class List:
    """``extended``: written in the form of RFC 5258, which asks for other answers in corners. ``status``: items, in order."""

    reference: str
    patterns: tuple[str, ...]
    selection: frozenset[str] = frozenset()
    returns: frozenset[str] = frozenset()
    status: tuple[str, ...] = ()
    extended: bool = False
    metadata: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    mailbox: str
    items: tuple[str, ...]


def read_list(scan: Scanner, utf8: bool) -> List:
    extended = False
    selection: frozenset[str] = frozenset()
    if scan.peek() == 0x28:
        extended = True
        selection = frozenset(scan.parenthesised(_read_selection))
        scan.space()
        if "RECURSIVEMATCH" in selection and not selection & {"SUBSCRIBED", "SPECIAL-USE"}:
            raise Malformed("RECURSIVEMATCH needs a selection")  # RFC 5258 §3.5
    reference = decode_name(scan.astring(), utf8=utf8)
    scan.space()
    if scan.peek() == 0x28:
        extended = True
        patterns = tuple(scan.parenthesised(lambda s: _pattern(s, utf8), empty=False))
        if len(patterns) > _MOST_PATTERNS:
            raise Malformed("too many patterns")
    else:
        patterns = (_pattern(scan, utf8),)
    returns: set[str] = set()
    status: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    if scan.take(b" "):
        extended = True
        if scan.word() != "RETURN":
            raise Malformed("expected RETURN")
        scan.space()
        for name, items in scan.parenthesised(_read_return):
            returns.add(name)
            if name == "METADATA":
                metadata = metadata or items
            else:
                status = status or items
    return List(reference, patterns, selection, frozenset(returns), status, extended, metadata)


def _pattern(scan: Scanner, utf8: bool) -> str:
    octets = scan.list_mailbox()
    if utf8 or not octets.isascii():
        return decode_name(octets, utf8=True)
    try:
        return decode_utf7(octets)
    except BadName:
        return _NOTHING  # any "&" is a list-char (RFC 3501 §9); what no name looks like lists nothing


def _read_selection(scan: Scanner) -> str:
    word = scan.word()
    if word not in _SELECTIONS:
        raise Malformed("no such LIST selection")
    return word


def _read_return(scan: Scanner) -> tuple[str, tuple[str, ...]]:
    word = scan.word()
    if word == "STATUS":
        scan.space()
        return word, read_items(scan)
    if word == "METADATA":
        scan.space()
        return word, read_entries(scan)
    if word not in _RETURNS:
        raise Malformed("no such LIST return option")
    return word, ()


def read_lsub(scan: Scanner, utf8: bool) -> List:
    reference = decode_name(scan.astring(), utf8=utf8)
    scan.space()
    return List(reference, (_pattern(scan, utf8),), frozenset({"SUBSCRIBED"}))


def read_status(scan: Scanner, utf8: bool) -> Status:
    name = decode_name(scan.astring(), utf8=utf8)
    scan.space()
    return Status(name, read_items(scan))


def read_items(scan: Scanner) -> tuple[str, ...]:
    return tuple(dict.fromkeys(scan.parenthesised(_read_item, empty=False)))


def _read_item(scan: Scanner) -> str:
    word = scan.word()
    if word not in STATUS_ITEMS:
        raise Malformed("no such STATUS item")
    return word
