"""LIST, LSUB, STATUS (RFC 9051 §6.3.9, §6.3.11; RFC 3501 §6.3.9; RFC 5258, RFC 5819, RFC 6154)."""
# SPDX-License-Identifier: Apache-2.0

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mta.imapd.answer import bad, ok
from mta.imapd.metadata import send_metadata
from mta.imapd.object_ids import mailbox_id
from mta.imapd.place import everything, find
from mta.imapd.session import Session
from mta.model.mailbox import DELIMITER, MailboxInfo, MailboxStatus
from mta.model.rights import ALL
from mta.wire.imap.acl import my_rights_line
from mta.wire.imap.listing import List, Status
from mta.wire.imap.mailbox import Pattern
from mta.wire.imap.response import list_line, status_response


@dataclass(frozen=True, slots=True)
class _Tree:
    """All names of an account, and what lies below each: 1 there is a mailbox, 2 one that is subscribed, 4 a special one."""

    names: Mapping[str, MailboxInfo | None]
    below: Mapping[str, int]


_SUBSCRIBED, _SPECIAL = 2, 4
_CHOSEN = (("SUBSCRIBED", _SUBSCRIBED), ("SPECIAL-USE", _SPECIAL))


async def _tree(session: Session, mailboxes: Sequence[MailboxInfo]) -> _Tree:
    names: dict[str, MailboxInfo | None] = {}
    below: dict[str, int] = {}
    for at, info in enumerate(mailboxes):
        if at % 1000 == 999:
            await session.out.drain()
        names[info.name] = info
        what = (1 if info.exists else 0) | (_SUBSCRIBED if info.subscribed else 0) | (_SPECIAL if info.special_use else 0)
        name = info.name
        while (cut := name.rfind(DELIMITER)) > 0:
            name = name[:cut]
            below[name] = below.get(name, 0) | what
            names.setdefault(name, None)  # a level without a mailbox of its own
    return _Tree(names, below)


async def list_(session: Session, command: List) -> bytes:
    utf8 = session.utf8
    if command.patterns == ("",) and not command.extended:
        session.out.write(b'* LIST (\\Noselect) "/" ""\r\n')  # asks for the delimiter: RFC 9051 §6.3.9
        return ok(b"that is all")
    patterns = [Pattern(command.reference + pattern) for pattern in command.patterns]
    mailboxes, rights = await everything(session, patterns[0].fixed if len(patterns) == 1 else "")
    tree = await _tree(session, mailboxes)
    for name in _in_order(tree.names):
        await session.out.drain()
        if not any(pattern.matches(name) for pattern in patterns):
            continue
        info = tree.names[name]
        child_info = _child_info(tree, name, command)
        if not (_is_selected(tree, name, info, command) or child_info):
            continue
        attributes = _attributes(tree, name, info, command)
        session.out.write(list_line(attributes, name, utf8=utf8, extended=child_info))
        if info is not None and info.exists:
            may = rights.get(name, ALL)
            if "MYRIGHTS" in command.returns:
                session.out.write(my_rights_line(name, may, utf8=utf8))
            if command.metadata and "r" in may:
                await send_metadata(session, info.id, name, command.metadata)
            if command.status and "r" in may:
                await _send_status(session, info, command.status)
    return ok(b"that is all")


def _in_order(names: Iterable[str]) -> list[str]:
    """INBOX first."""
    ordered = sorted(names)
    at = bisect_left(ordered, "INBOX")
    if at < len(ordered) and ordered[at] == "INBOX":
        ordered.insert(0, ordered.pop(at))
    return ordered


def _is_selected(tree: _Tree, name: str, info: MailboxInfo | None, command: List) -> bool:
    selection = command.selection
    if "SUBSCRIBED" in selection and not (info is not None and info.subscribed):
        return False
    if "SPECIAL-USE" in selection and not (info is not None and info.special_use):
        return False
    if "SUBSCRIBED" in selection:
        return True
    return (info is not None and info.exists) or bool(tree.below.get(name, 0) & 1)


def _child_info(tree: _Tree, name: str, command: List) -> bytes:
    """CHILDINFO: something below meets the selection though it may not match the pattern (RFC 5258 §3.5, RFC 6154 §4)."""
    if "RECURSIVEMATCH" not in command.selection:
        return b""
    below = tree.below.get(name, 0)
    met = [b'"%b"' % word.encode("ascii") for word, bit in _CHOSEN if word in command.selection and below & bit]
    return b' ("CHILDINFO" (%b))' % b" ".join(met) if met else b""


def _attributes(tree: _Tree, name: str, info: MailboxInfo | None, command: List) -> list[bytes]:
    out: list[bytes] = []
    if info is None or not info.exists:
        out.append(b"\\NonExistent" if command.extended else b"\\Noselect")
    out.append(b"\\HasChildren" if tree.below.get(name, 0) & 1 else b"\\HasNoChildren")
    if info is not None:
        if info.subscribed and ("SUBSCRIBED" in command.selection or "SUBSCRIBED" in command.returns):
            out.append(b"\\Subscribed")
        if info.special_use:
            out.append(info.special_use.encode("ascii"))
    return out


async def lsub(session: Session, command: List) -> bytes:
    """RFC 3501 §6.3.9: with "%", a level above subscribed names is shown as \\Noselect when it is not subscribed itself."""
    pattern = Pattern(command.reference + command.patterns[0])
    tree = await _tree(session, (await everything(session, pattern.fixed))[0])
    for name in _in_order(tree.names):
        await session.out.drain()
        info = tree.names[name]
        subscribed = info is not None and info.subscribed
        implied = "%" in pattern.text and bool(tree.below.get(name, 0) & _SUBSCRIBED)
        if (subscribed or implied) and pattern.matches(name):
            shown: list[bytes] = [] if subscribed and info is not None and info.exists else [b"\\Noselect"]
            session.out.write(list_line(shown, name, utf8=session.utf8, verb=b"LSUB"))
    return ok(b"that is all")


async def status(session: Session, command: Status) -> bytes:
    await _send_status(session, await find(session, command.mailbox, "r"), command.items)
    return ok(b"that is all")


async def _send_status(session: Session, info: MailboxInfo, items: Sequence[str]) -> None:
    if "HIGHESTMODSEQ" in items:
        session.use_condstore()  # RFC 7162 §3.1
    found = await session.server.status(info, recent="RECENT" in items)
    session.out.write(status_response(info.name, [(item, _value(session, info, found, item)) for item in items], utf8=session.utf8))


def _value(session: Session, info: MailboxInfo, found: MailboxStatus, item: str) -> int | bytes:
    if item == "MAILBOXID":
        if not session.server.stable_ids:
            raise bad(b"no OBJECTID here")
        return b"(%b)" % mailbox_id(info.id)
    return {
        "MESSAGES": found.messages,
        "UIDNEXT": found.uid_next,
        "UIDVALIDITY": found.uid_validity,
        "UNSEEN": found.unseen,
        "DELETED": found.deleted,
        "SIZE": found.size,
        "DELETED-STORAGE": found.deleted_size,
        "RECENT": 0 if session.server.told(info.id) >= found.uid_next else found.recent,
        "HIGHESTMODSEQ": found.highest_modseq,
        "APPENDLIMIT": session.server.config.limits.message_size,  # RFC 7889 §3: the same for every mailbox
    }[item]
