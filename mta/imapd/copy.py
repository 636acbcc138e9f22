"""COPY, MOVE and their UID forms (RFC 9051 §6.4.7, §6.4.8; COPYUID: RFC 4315 §3)."""
# SPDX-License-Identifier: Apache-2.0

from mta.imapd.answer import bad, ok
from mta.imapd.permitted import drop_forbidden
from mta.imapd.place import locate
from mta.imapd.progress import Progress
from mta.imapd.selected import Selected
from mta.imapd.session import Session
from mta.imapd.store import SLICE
from mta.imapd.veto import ask, ask_copy
from mta.model.errors import MailError
from mta.model.ids import Uid
from mta.model.mailbox import Copied, MailboxInfo
from mta.model.rights import ALL
from mta.wire.imap.sequence import encode_numbers
from mta.wire.imap.store import Copy


async def copy(session: Session, command: Copy) -> bytes:
    selected = session.mailbox
    uids, target, rights = await _named(session, selected, command)
    if not uids:
        return ok(b"nothing to copy")
    server = session.server
    if (plan := server.hooks.mailbox_append) is not None:
        await ask_copy(session, plan, target.name, "copy", selected, uids)
    copied = await server.store.copy(selected.mailbox, uids, target.id)
    if rights != ALL:
        await drop_forbidden(server.store, target.id, rights, copied, _keywords(selected))
    server.touched(target.id)
    return ok(b"copied", _code(copied)) if copied.source else ok(b"nothing to copy")


async def move(session: Session, command: Copy) -> bytes:
    """COPYUID is said before the EXPUNGEs, untagged (RFC 9051 §6.4.8)."""
    selected = session.writable("te")
    uids, target, rights = await _named(session, selected, command)
    if not uids:
        return ok(b"nothing to move")
    server = session.server
    if (plan := server.hooks.mailbox_append) is not None:
        await ask_copy(session, plan, target.name, "move", selected, uids)
    if (plan := server.hooks.mailbox_expunge) is not None:
        await ask(session, plan, selected.name, how="move", uids=tuple(uids))
    since = selected.view.highest
    moved, steps = await _move(session, selected, uids, target)
    if rights != ALL:
        await drop_forbidden(server.store, target.id, rights, moved, _keywords(selected))
    if moved.source:
        session.out.write(b"* OK [%b] moved\r\n" % _code(moved))
        selected.view.remove(moved.source, moved.modseq if moved.modseq == since + steps else None, since)
        server.touched(target.id)
    # MOVE by number may say EXPUNGE, unlike FETCH, STORE and SEARCH: the verb table says so.
    return ok(b"done", b"HIGHESTMODSEQ %d" % moved.modseq) if selected.qresync else ok(b"done")


async def _move(session: Session, selected: Selected, uids: list[Uid], target: MailboxInfo) -> tuple[Copied, int]:
    """A slice at a time: each message is here or there, never both (RFC 6851 §3.3), and other writers have their turn in between.

    A failure amid the slices tells the client what has moved and raises. Returns what moved, and in how many steps.
    """
    store = session.server.store
    moved = await store.move(selected.mailbox, uids[:SLICE], target.id)
    steps = 1 if moved.source else 0
    progress = Progress(session, len(uids))
    for start in range(SLICE, len(uids), SLICE):
        progress.at(start)
        await session.out.drain()
        try:
            more = await store.move(selected.mailbox, uids[start : start + SLICE], target.id)
        except MailError:
            if moved.source:
                session.out.write(b"* OK [%b] moved\r\n" % _code(moved))
                selected.view.remove(moved.source)
            raise
        if more.source:
            moved = Copied(moved.uid_validity, moved.source + more.source, moved.target + more.target, more.modseq)
            steps += 1
    return moved, steps


async def _named(session: Session, selected: Selected, command: Copy) -> tuple[list[Uid], MailboxInfo, str]:
    """What is to be copied, to where, and the rights there."""
    await selected.rows()
    if not command.uid and selected.names_missing(command.sequence):
        raise bad(b"no such message number")
    found = await locate(session, command.mailbox, "i")
    return selected.uids(selected.positions(command.sequence, uid=command.uid)), found.info, found.rights


def _keywords(selected: Selected) -> frozenset[str]:
    return frozenset() if selected.columns is None else frozenset(selected.columns.table.spelling.values())


def _code(copied: Copied) -> bytes:
    return b"COPYUID %d %b %b" % (copied.uid_validity, encode_numbers(copied.source), encode_numbers(copied.target))
