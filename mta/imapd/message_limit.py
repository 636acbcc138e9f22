"""MESSAGELIMIT (RFC 9738): one command is done for so many messages at most, the newest; the answer says where to go on.

Off unless ``limits.imap_messages`` is set: commands are then looked at before their verbs are, and cut.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mta.imapd.answer import no
from mta.imapd.selected import Positions, Selected
from mta.imapd.session import Session
from mta.imapd.verbs import Verb
from mta.model.message import Flags
from mta.wire.imap.fetch import Fetch
from mta.wire.imap.sequence import SequenceSet
from mta.wire.imap.store import Copy, Expunge, Store

# As int: "&" with a member of the enum takes a microsecond.
_DELETED = int(Flags.DELETED)

LIMITED = frozenset(
    {"FETCH", "UID FETCH", "STORE", "UID STORE", "COPY", "UID COPY", "MOVE", "UID MOVE", "EXPUNGE", "UID EXPUNGE"}
)  # fmt: skip


async def run_limited(session: Session, name: str, verb: Verb, command: Fetch | Store | Copy | Expunge) -> bytes | None:
    """Run ``verb`` for what may be done at once."""
    selected = session.mailbox
    positions = await _named(selected, command)
    most = session.server.config.limits.imap_messages
    if len(positions) <= most or _is_page(command, most):
        return await verb.run(session, command)
    kept = positions[len(positions) - most :]
    lowest = selected.uids(kept[:1])[0]
    if name.endswith("COPY"):  # all or nothing
        raise no(b"too many messages at once", code_of(most, lowest))
    reply = await verb.run(session, _cut(selected, command, kept))
    return reply if reply is None else with_code(reply, code_of(most, lowest))


def code_of(most: int, lowest: int) -> bytes:
    return b"MESSAGELIMIT %d %d" % (most, lowest)


def with_code(reply: bytes, code: bytes) -> bytes:
    """The same answer with this code; one that has a code already says more."""
    return reply if not reply.startswith(b"OK ") or reply.startswith(b"OK [") else b"OK [%b]%b" % (code, reply[2:])


async def _named(selected: Selected, command: Fetch | Store | Copy | Expunge) -> Positions:
    columns = await selected.rows()
    if not isinstance(command, Expunge):
        return selected.positions(command.sequence, uid=command.uid)
    flags, sets = columns.table.flags, columns.sets
    among = range(selected.count) if command.uids is None else selected.positions(command.uids, uid=True)
    return [at for at in among if flags[sets[at]] & _DELETED]


def _is_page(command: Any, most: int) -> bool:
    """FETCH (PARTIAL …) of not more than may be asked at once."""
    return isinstance(command, Fetch) and command.partial is not None and abs(command.partial[1] - command.partial[0]) < most


def _cut(selected: Selected, command: Fetch | Store | Copy | Expunge, kept: Positions) -> Any:
    if isinstance(command, Expunge):
        return Expunge(_set(selected.uids(kept)))
    numbers: Sequence[int] = selected.uids(kept) if command.uid else [at + 1 for at in kept]
    return replace(command, sequence=_set(numbers))


def _set(numbers: Sequence[int]) -> SequenceSet:
    return SequenceSet(tuple((number, number) for number in numbers))
