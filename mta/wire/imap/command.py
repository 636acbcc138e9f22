"""A request to a command (RFC 9051 §6): tag, verb, and the verb's own value. One table; what is absent is BAD.

Strings that are mailbox names are decoded here; ``utf8`` tells how (RFC 9051 §5.1, after ENABLE IMAP4rev2).
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mta.wire.imap.acl import read_entry, read_set_acl
from mta.wire.imap.append import read_append
from mta.wire.imap.batches import read_batches
from mta.wire.imap.decoder import Request
from mta.wire.imap.fetch import read_fetch
from mta.wire.imap.listing import read_list, read_lsub, read_status
from mta.wire.imap.mailbox import decode_name
from mta.wire.imap.metadata import read_get_metadata, read_set_metadata
from mta.wire.imap.multisearch import read_multisearch
from mta.wire.imap.notify import read_notify
from mta.wire.imap.other import ImapCommand, read_arguments
from mta.wire.imap.replace import read_replace
from mta.wire.imap.scanner import Malformed, Scanner
from mta.wire.imap.search import read_search
from mta.wire.imap.sequence import SequenceSet, read_set
from mta.wire.imap.sort import read_sort, read_thread
from mta.wire.imap.store import Expunge, read_copy, read_store
from mta.wire.imap.urlauth import ResetKey, read_genurlauth, read_resetkey, read_urlfetch

_HEAD = re.compile(rb'([^\x00-\x1f\x7f-\xff(){ %*"\\+]{1,256}) ([A-Za-z0-9.\-]{1,32})( ?)')
_MECHANISM = re.compile(rb"[A-Za-z0-9_\-]{1,20}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_MOST_ID_PAIRS = 30


@dataclass(frozen=True, slots=True)
class Command:
    """``verb`` in upper case, "UID FETCH" for the UID forms; ``value`` is the verb's class, or None without arguments."""

    tag: bytes
    verb: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class Login:
    username: bytes = field(repr=False)
    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authenticate:
    """``initial`` None: not given; still in base64, "=" for empty (RFC 4959)."""

    mechanism: str
    initial: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Select:
    """SELECT and EXAMINE. ``qresync``: (uidvalidity, modseq, known uids, (sequence numbers, their uids))."""

    mailbox: str
    condstore: bool = False
    qresync: tuple[int, int, SequenceSet | None, tuple[SequenceSet, SequenceSet] | None] | None = None


@dataclass(frozen=True, slots=True)
class Create:
    mailbox: str
    special_use: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rename:
    mailbox: str
    new_name: str


@dataclass(frozen=True, slots=True)
class Id:
    """What the client says of itself, lower-case keys; None for NIL."""

    fields: tuple[tuple[str, str], ...] | None


def parse(request: Request, *, utf8: bool = False, others: Callable[[str], bool] | None = None) -> Command:
    """Raises Malformed, and search.UnknownCharset. The tag of a malformed request: ``decoder.tag_of``.

    others  may a verb that is not IMAP's be somebody's? Then the command is "OTHER", its value an ImapCommand
    """
    head = _HEAD.match(request.text)
    if head is None:
        raise Malformed("expected a tag and a command")
    verb = head[2].decode("ascii").upper()
    scan = Scanner(request.text, request.literals, head.end())
    if verb == "UID":
        if not head[3]:
            raise Malformed("command too short")
        inner = scan.word()
        read_uid = _UID.get(inner)
        if read_uid is None:
            raise Malformed("no such UID command")
        scan.space()
        value = read_uid(scan, True, utf8)
        verb = f"UID {inner}"
    elif verb in BARE:
        if head[3]:
            raise Malformed("unexpected text after the command")
        return Command(head[1], verb, Expunge() if verb == "EXPUNGE" else None)
    else:
        read = _READERS.get(verb)
        if read is None:
            if others is None or not others(verb):
                raise Malformed("no such command")
            value = ImapCommand(verb, read_arguments(scan) if head[3] else ())
            scan.end()
            return Command(head[1], OTHER, value)
        if not head[3]:
            if verb not in _OPTIONAL:
                raise Malformed("command too short")
            return Command(head[1], verb, _OPTIONAL[verb])
        value = read(scan, False, utf8)
    scan.end()
    return Command(head[1], verb, value)


def _mailbox(scan: Scanner, _uid: bool, utf8: bool) -> str:
    return decode_name(scan.astring(), utf8=utf8)


def _login(scan: Scanner, _uid: bool, _utf8: bool) -> Login:
    username = scan.astring()
    scan.space()
    return Login(username, scan.astring())


def _authenticate(scan: Scanner, _uid: bool, _utf8: bool) -> Authenticate:
    mechanism = scan.match(_MECHANISM, "a mechanism")[0].decode("ascii").upper()
    if not scan.take(b" "):
        return Authenticate(mechanism)
    return Authenticate(mechanism, scan.match(_BASE64, "base64")[0])


def _enable(scan: Scanner, _uid: bool, _utf8: bool) -> tuple[str, ...]:
    names = [scan.word()]
    while scan.take(b" "):
        names.append(scan.word())
    return tuple(names)


def _tags(scan: Scanner) -> tuple[bytes, ...]:
    """RFC 5267 §4.4: quoted."""
    tags = [scan.quoted()]
    while scan.take(b" "):
        tags.append(scan.quoted())
    return tuple(tags)


def _compress(scan: Scanner, _uid: bool, _utf8: bool) -> str:
    return scan.word()


def _select(scan: Scanner, _uid: bool, utf8: bool) -> Select:
    name = decode_name(scan.astring(), utf8=utf8)
    condstore, qresync = False, None
    if scan.take(b" "):
        for parameter in scan.parenthesised(_select_parameter, empty=False):
            if parameter is None:
                condstore = True
            else:
                qresync = parameter
    return Select(name, condstore, qresync)


_Qresync = tuple[int, int, SequenceSet | None, tuple[SequenceSet, SequenceSet] | None]


def _select_parameter(scan: Scanner) -> _Qresync | None:
    word = scan.word()
    if word == "CONDSTORE":
        return None
    if word != "QRESYNC":
        raise Malformed("no such SELECT parameter")
    scan.space()
    scan.expect(b"(")
    validity = scan.number()
    scan.space()
    modseq = scan.number(2**63 - 1)
    known, pairs = None, None
    if scan.take(b" "):
        if scan.peek() != 0x28:
            known = read_set(scan)
        if known is None or scan.take(b" "):
            scan.expect(b"(")
            numbers = read_set(scan)
            scan.space()
            pairs = (numbers, read_set(scan))
            scan.expect(b")")
    scan.expect(b")")
    return validity, modseq, known, pairs


def _create(scan: Scanner, _uid: bool, utf8: bool) -> Create:
    name = decode_name(scan.astring(), utf8=utf8)
    uses: tuple[str, ...] = ()
    if scan.take(b" "):
        scan.expect(b"(")
        if scan.word() != "USE":
            raise Malformed("no such CREATE parameter")
        scan.space()
        uses = tuple(scan.parenthesised(lambda s: s.flag().decode("ascii")))
        scan.expect(b")")
    return Create(name, uses)


def _rename(scan: Scanner, _uid: bool, utf8: bool) -> Rename:
    old = decode_name(scan.astring(), utf8=utf8)
    scan.space()
    return Rename(old, decode_name(scan.astring(), utf8=utf8))


def _id(scan: Scanner, _uid: bool, _utf8: bool) -> Id:
    if scan.peek() != 0x28:
        if scan.word() != "NIL":
            raise Malformed("expected a list or NIL")
        return Id(None)
    words = scan.parenthesised(Scanner.nstring)
    if len(words) % 2 or len(words) > 2 * _MOST_ID_PAIRS:
        raise Malformed("ID takes pairs, at most 30")  # RFC 2971 §3.3
    pairs = zip(words[::2], words[1::2], strict=True)
    return Id(tuple(((k or b"").decode("utf-8", "replace").lower(), (v or b"").decode("utf-8", "replace")) for k, v in pairs))


def _uid_expunge(scan: Scanner, _uid: bool, _utf8: bool) -> Expunge:
    return Expunge(read_set(scan))


def _languages(scan: Scanner, _uid: bool, _utf8: bool) -> tuple[str, ...]:
    tags = [scan.astring().decode("ascii", "replace")]
    while scan.take(b" "):
        tags.append(scan.astring().decode("ascii", "replace"))
    return tuple(tags)


def _set_quota(scan: Scanner, _uid: bool, _utf8: bool) -> str:
    """The root; what it should be is read and passed over, for nobody may set it here (RFC 9208 §4.1.1)."""
    root = scan.astring().decode("utf-8", "replace")
    scan.space()
    for word in scan.parenthesised(Scanner.atom):
        if not word:
            raise Malformed("expected a resource")
    return root


BARE = frozenset(
    {"CAPABILITY", "NOOP", "LOGOUT", "STARTTLS", "NAMESPACE", "CHECK", "CLOSE", "UNAUTHENTICATE", "UNSELECT", "EXPUNGE", "IDLE"}
)  # fmt: skip
_Reader = Callable[[Scanner, bool, bool], Any]
_UID: dict[str, _Reader] = {
    "FETCH": lambda scan, uid, _: read_fetch(scan, uid),
    "STORE": lambda scan, uid, _: read_store(scan, uid),
    "SEARCH": lambda scan, uid, _: read_search(scan, uid),
    "SORT": lambda scan, uid, _: read_sort(scan, uid),
    "THREAD": lambda scan, uid, _: read_thread(scan, uid),
    "COPY": read_copy,
    "MOVE": read_copy,
    "EXPUNGE": _uid_expunge,
    "REPLACE": read_replace,
}
_READERS: dict[str, _Reader] = {
    "FETCH": _UID["FETCH"],
    "STORE": _UID["STORE"],
    "SEARCH": _UID["SEARCH"],
    "SORT": _UID["SORT"],
    "THREAD": _UID["THREAD"],
    "COPY": read_copy,
    "MOVE": read_copy,
    "REPLACE": read_replace,
    "LOGIN": _login,
    "AUTHENTICATE": _authenticate,
    "ENABLE": _enable,
    "COMPRESS": _compress,
    "CANCELUPDATE": lambda scan, _uid, _utf8: _tags(scan),
    "GENURLAUTH": lambda scan, _uid, _utf8: read_genurlauth(scan),
    "URLFETCH": lambda scan, _uid, _utf8: read_urlfetch(scan),
    "RESETKEY": lambda scan, _uid, utf8: read_resetkey(scan, utf8),
    "ESEARCH": lambda scan, _uid, utf8: read_multisearch(scan, utf8),
    "UIDBATCHES": lambda scan, _uid, _utf8: read_batches(scan),
    "ID": _id,
    "SELECT": _select,
    "EXAMINE": _select,
    "CREATE": _create,
    "DELETE": _mailbox,
    "RENAME": _rename,
    "SUBSCRIBE": _mailbox,
    "UNSUBSCRIBE": _mailbox,
    "LIST": lambda scan, _, utf8: read_list(scan, utf8),
    "LSUB": lambda scan, _, utf8: read_lsub(scan, utf8),
    "STATUS": lambda scan, _, utf8: read_status(scan, utf8),
    "GETMETADATA": read_get_metadata,
    "SETMETADATA": read_set_metadata,
    "LANGUAGE": _languages,
    "NOTIFY": read_notify,
    "GETQUOTA": lambda scan, _, _utf8: scan.astring().decode("utf-8", "replace"),
    "GETQUOTAROOT": _mailbox,
    "SETQUOTA": _set_quota,
    "GETACL": _mailbox,
    "MYRIGHTS": _mailbox,
    "SETACL": read_set_acl,
    "DELETEACL": read_entry,
    "LISTRIGHTS": read_entry,
    "APPEND": lambda scan, _, utf8: read_append(scan, utf8),
}
_OPTIONAL: dict[str, Any] = {"LANGUAGE": (), "RESETKEY": ResetKey()}
"""Verbs whose arguments may be left out, and what they mean then."""
VERBS = frozenset({*BARE, *_READERS, "UID", "DONE"})
"""Those that have a meaning here."""
OTHER = "OTHER"
