"""FETCH and UID FETCH (RFC 9051 §6.4.5; CHANGEDSINCE, VANISHED: RFC 7162; PARTIAL: RFC 9394 §3.2)."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence

from mta.imapd.answer import Answer, bad, ok
from mta.imapd.fetch_beside import PART, gather, wanted
from mta.imapd.fetch_columns import send_columns
from mta.imapd.fetch_octets import send_octets
from mta.imapd.reading import concerns, send_read
from mta.imapd.selected import Positions, Selected
from mta.imapd.session import Session
from mta.imapd.vanished import tell_vanished
from mta.imapd.veto import ask
from mta.model.errors import TemporaryFailure
from mta.model.ids import ModSeq
from mta.model.message import Flags
from mta.wire.imap.fetch import Fetch, Item, Octets, Simple
from mta.wire.imap.sequence import partial_of

# As int: "&" with a member of the enum takes a microsecond.
_SEEN = int(Flags.SEEN)

_COLUMNS = frozenset({"FLAGS", "UID", "RFC822.SIZE", "INTERNALDATE", "MODSEQ"})
_UID, _FLAGS, _MODSEQ = Simple("UID"), Simple("FLAGS"), Simple("MODSEQ")
_DONE = ok(b"FETCH done")


async def fetch(session: Session, command: Fetch) -> bytes:
    selected = session.mailbox
    columns = selected.columns or await selected.rows()
    if not command.uid and selected.names_missing(command.sequence):
        raise bad(b"no such message number")
    if command.vanished and not session.qresync:
        raise bad(b"ENABLE QRESYNC first")
    items = command.items
    if _MODSEQ in items or command.changed_since is not None:
        session.use_condstore()  # RFC 7162 §3.1: both tell that the client knows mod-sequences
    items = _completed(items, command, condstore=selected.condstore, uidonly=selected.uidonly)
    positions = selected.positions(command.sequence, uid=command.uid)
    if command.changed_since is not None:
        since = command.changed_since
        modseqs = columns.taken(columns.modseqs, positions)
        positions = [at for at, modseq in zip(positions, modseqs, strict=True) if modseq > since]
        if command.vanished:
            await tell_vanished(session, selected, ModSeq(since), command.sequence)
    if command.partial is not None:
        positions = partial_of(positions, command.partial)
    if not positions:
        return _DONE
    for octets in selected.new_keywords():
        session.out.write(octets)
    shown = session.server.hooks.message_read is not None and concerns(items)
    if not shown and all(isinstance(item, Simple) and item.name in _COLUMNS for item in items):
        await send_columns(session.out, selected, columns, positions, [item.name for item in items if isinstance(item, Simple)])
        return _DONE
    newly_seen = await _mark_seen(session, selected, positions, items)
    send = send_read if shown else send_octets
    if names := wanted(items):
        complete = True
        for start in range(0, len(positions), PART):
            part = positions[start : start + PART]
            complete &= await send(session, columns, part, items, newly_seen, await gather(session, columns, part, names))
    else:
        complete = await send(session, columns, positions, items, newly_seen)
    return _DONE if complete else ok(b"FETCH done, some messages were expunged", b"EXPUNGEISSUED")


def _completed(items: tuple[Item, ...], command: Fetch, *, condstore: bool, uidonly: bool) -> tuple[Item, ...]:
    """Add what the answer has to hold unasked."""
    if command.uid and not uidonly and _UID not in items:
        items = (_UID, *items)
    if _MODSEQ not in items and (command.changed_since is not None or (condstore and _FLAGS in items)):
        items = (*items, _MODSEQ)
    return items


async def _mark_seen(session: Session, selected: Selected, positions: Positions, items: Sequence[Item]) -> set[int]:
    """Set \\Seen before octets are shown (RFC 9051 §6.4.5). Neither storage that takes no writes nor a hook keeps anyone from reading."""
    if selected.read_only or "s" not in selected.rights or not any(isinstance(item, Octets) and item.sets_seen for item in items):
        return set()
    columns = selected.columns
    assert columns is not None
    flags, sets = columns.table.flags, columns.sets
    unseen = [at for at in positions if not flags[sets[at]] & _SEEN]
    if not unseen:
        return set()
    uids = selected.uids(unseen)
    if (plan := session.server.hooks.mailbox_store) is not None:
        try:
            await ask(session, plan, selected.name, uids=tuple(uids), change="add", flags=("\\Seen",))
        except Answer:
            return set()
    try:
        stored = await session.server.store.set_flags(selected.mailbox, uids, "add", int(Flags.SEEN), frozenset())
    except TemporaryFailure as exc:
        session.server.log.warning("imap.seen", session=session.peer.id, user=session.peer.user, detail=str(exc))
        return set()
    selected.view.took(stored)
    selected.heard.update((row.uid, row.modseq) for row in stored.rows)  # their FETCH responses say FLAGS
    return set(unseen)
