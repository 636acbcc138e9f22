"""CONTEXT=SEARCH (RFC 5267 §4): results of a search that are kept up to date while the mailbox is open.

A context remembers the uids that it told of. When the mailbox changed, only what changed is looked at again; a message that goes is taken
out before EXPUNGE says so, since after that its number means another. OLDER and YOUNGER are as of the last look.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from mta.imapd.answer import Answer, bad, no, ok
from mta.imapd.columns import Columns
from mta.imapd.filters import expand
from mta.imapd.search import answer, find
from mta.imapd.search import search as plain_search
from mta.imapd.search_resolve import resolve
from mta.imapd.selected import Selected
from mta.imapd.session import Session
from mta.model.ids import Uid
from mta.wire.imap.fuzzy import loosely
from mta.wire.imap.response import string
from mta.wire.imap.search import Search
from mta.wire.imap.search_keys import And, Fuzzy, InSet, Key, Not, Or
from mta.wire.imap.sequence import SequenceSet, encode_numbers

_MOST = 10
"""Contexts of one session."""


@dataclass(slots=True)
class Context:
    """``modseq``: what changed up to there is looked at."""

    tag: bytes
    key: Key
    uid: bool
    members: set[Uid]
    modseq: int


class Contexts:
    """Those of one open mailbox. One look at a time: a client in IDLE is told while its next command may begin."""

    def __init__(self) -> None:
        self.open: list[Context] = []
        self._lock = asyncio.Lock()

    def going(self, session: Session, selected: Selected) -> None:
        """Before EXPUNGE: what is about to go leaves the results."""
        columns = selected.columns
        gone: set[Uid] = set()
        step = columns
        while step is not None and step.following is not None:
            gone.update(step.removed_uids(len(step)))
            step = step.following
        for context in self.open if gone else ():
            went = context.members & gone
            if went and columns is not None:
                context.members -= went
                _tell(session, columns, context, b"REMOVEFROM", sorted(went))

    async def changed(self, session: Session, selected: Selected, *, idle: bool = False) -> None:
        """After everything else: what fits now and did not, and the other way round. ``idle``: only as long as the client is in IDLE, since
        the next command may be amid a literal when we know."""
        async with self._lock:
            for context in list(self.open):
                if selected.view.highest > context.modseq:
                    await _look_again(session, selected, context, idle=idle)


async def _look_again(session: Session, selected: Selected, context: Context, *, idle: bool) -> None:
    columns = await selected.rows()
    modseqs, since = columns.modseqs, context.modseq
    # What came while EXPUNGE may not be said has no number yet: it is looked at again then.
    upto = selected.view.highest if columns.following is None and selected.count == selected.view.messages else since
    changed = [at for at in range(selected.count) if modseqs[at] > since]
    if not changed:
        context.modseq = upto
        return
    among = InSet(SequenceSet(tuple((at + 1, at + 1) for at in changed)), uid=False)
    key = await resolve(session, selected, columns, context.key)
    found = await find(session, selected, columns, And((among, key)))
    if selected.columns is not columns or (idle and not session.idling):
        return  # its numbers are others now, or it speaks of something else: looked at again when it is told next
    context.modseq = upto
    fitting = set(selected.uids(found))
    left, came = (context.members & set(selected.uids(changed))) - fitting, fitting - context.members
    context.members = (context.members - left) | came
    _tell(session, columns, context, b"REMOVEFROM", sorted(left))
    _tell(session, columns, context, b"ADDTO", sorted(came))


async def start(session: Session, selected: Selected, columns: Columns, command: Search, found: Sequence[int]) -> None:
    contexts = selected.contexts = selected.contexts or Contexts()
    if len(contexts.open) >= _MOST:
        session.out.write(b"* NO [NOUPDATE %b] too many of them\r\n" % string(session.tag))
        return
    key = loosely(_by_uid(selected, await expand(session, command.key)))
    highest = max(selected.view.highest, max(columns.modseqs[: selected.count], default=0))
    contexts.open.append(Context(session.tag, key, command.uid, set(selected.uids(found)), highest))


async def search(session: Session, command: Search) -> bytes:
    """SEARCH and UID SEARCH, RETURN (UPDATE) or not."""
    if command.options is None or "UPDATE" not in command.options:
        return await plain_search(session, command)
    selected = session.mailbox
    if selected.contexts is not None and any(context.tag == session.tag for context in selected.contexts.open):
        raise bad(b"this tag names a search that is being kept up to date")  # RFC 5267 §4.3
    reply, found = await answer(session, command)
    await start(session, selected, await selected.rows(), command, found)
    return reply


async def cancel(session: Session, tags: tuple[bytes, ...]) -> bytes:
    contexts = session.mailbox.contexts
    if contexts is None or not {context.tag for context in contexts.open}.issuperset(tags):
        raise bad(b"no such search is being kept up to date")
    contexts.open = [context for context in contexts.open if context.tag not in tags]
    return ok(b"no more of that")


def _tell(session: Session, columns: Columns, context: Context, what: bytes, uids: Sequence[Uid]) -> None:
    """Position 0: the order of results of SEARCH means nothing (RFC 5267 §4.2)."""
    if uids:
        numbers = uids if context.uid else [columns.position(uid) + 1 for uid in uids]
        told = b" UID" if context.uid else b""
        session.out.write(b"* ESEARCH (TAG %b)%b %b (0 %b)\r\n" % (string(context.tag), told, what, encode_numbers(numbers)))


def _by_uid(selected: Selected, key: Key) -> Key:
    """Message numbers, and the saved result, mean the messages that they name now."""
    if isinstance(key, And):
        return And(tuple(_by_uid(selected, each) for each in key.keys))
    if isinstance(key, Or):
        return Or(_by_uid(selected, key.left), _by_uid(selected, key.right))
    if isinstance(key, Not | Fuzzy):
        return type(key)(_by_uid(selected, key.key))
    if isinstance(key, InSet) and (not key.uid or key.sequence.saved):
        uids = selected.uids(selected.positions(key.sequence, uid=key.uid))
        return InSet(SequenceSet(tuple((uid, uid) for uid in uids)), uid=True)
    return key


def refusal(session: Session) -> Answer:
    """UPDATE where it is not kept: of SORT, and of ESEARCH."""
    return no(b"only SEARCH in the open mailbox is kept up to date", b"NOUPDATE " + string(session.tag))
