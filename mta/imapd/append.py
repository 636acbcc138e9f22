"""APPEND (RFC 9051 §6.3.12), several messages at once (RFC 3502). OK after the commit.

Pipelined APPENDs to one mailbox become one change to the store, hence one commit for all of them; each gets its own answer, and
when they fail together, each is tried alone.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence

from mta.imapd.answer import no, ok
from mta.imapd.catenate import assembled
from mta.imapd.place import locate
from mta.imapd.rights import mask
from mta.imapd.session import Session
from mta.imapd.veto import ask_append
from mta.model.errors import OverQuota
from mta.model.mailbox import Appended, NewMessage
from mta.model.message import Flags
from mta.wire.imap.append import Append, Appendix
from mta.wire.imap.command import Command
from mta.wire.imap.sequence import encode_numbers

_NONE: frozenset[str] = frozenset()
_LATEST = 2**40
"""Seconds; a date beyond is nobody's, and would not fit a database column."""


async def append(session: Session, command: Append) -> bytes:
    store = session.server.store
    found, rights, _ = await locate(session, command.mailbox, "i")
    if any(message.parts or message.binary for message in command.messages):
        command = Append(command.mailbox, tuple([await assembled(session, message) for message in command.messages]))
    messages = _messages(session, command, rights)
    group = [(session.tag, command)]
    if (plan := session.server.hooks.mailbox_append) is not None:
        await ask_append(session, plan, found.name, messages)
    while plan is None and session.ahead and _joins(command, session.ahead[0].value):
        after = session.ahead.popleft()
        group.append((after.tag, after.value))
        messages += _messages(session, after.value, rights)
    try:
        stored = await store.append(found.id, messages)
    except BaseException as exc:
        session.put_back([Command(tag, "APPEND", each) for tag, each in group[1:]])
        if not isinstance(exc, OverQuota) or len(group) == 1:
            raise
        stored, group = await store.append(found.id, _messages(session, command, rights)), group[:1]  # it alone may fit
    session.server.touched(found.id)
    return _answer_all(session, group, stored)


def _joins(first: Append, other: object) -> bool:
    """Goes to the same mailbox and has nothing wrong with it."""
    return (
        isinstance(other, Append)
        and other.mailbox == first.mailbox
        and all(m.content.size and not m.binary for m in other.messages)
    )


def _answer_all(session: Session, group: Sequence[tuple[bytes, Append]], stored: Sequence[Appended]) -> bytes:
    at = 0
    reply = b""
    for index, (tag, each) in enumerate(group):
        reply = _appended(stored[at : at + len(each.messages)])
        at += len(each.messages)
        session.tag = tag
        if index < len(group) - 1:
            session.reply(reply)
    return reply


def _messages(session: Session, command: Append, rights: str) -> list[NewMessage]:
    return [new_message(session, message, rights) for message in command.messages]


def new_message(session: Session, message: Appendix, rights: str) -> NewMessage:
    """With the flags that may be set where these are the rights (RFC 4314 §4)."""
    if message.content.size == 0:
        raise no(b"empty message", b"CANNOT")
    date = int(session.server.clock.now()) if message.date is None else max(-_LATEST, min(message.date, _LATEST))
    flags, keywords = message.flags.flags & mask(rights), message.flags.keywords if "w" in rights else _NONE
    return NewMessage(message.content, Flags(flags), keywords, date)


def _appended(stored: Sequence[Appended]) -> bytes:
    code = b"APPENDUID %d %b" % (stored[0].uid_validity, encode_numbers([each.uid for each in stored]))
    return ok(b"appended", code)
