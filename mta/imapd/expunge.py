"""EXPUNGE and UID EXPUNGE (RFC 9051 §6.4.3, §6.4.9)."""
# SPDX-License-Identifier: Apache-2.0

from mta.imapd.answer import ok
from mta.imapd.progress import Progress
from mta.imapd.selected import Selected
from mta.imapd.session import Session
from mta.imapd.store import SLICE
from mta.imapd.veto import ask_expunge
from mta.model.ids import ModSeq, Uid
from mta.model.message import Flags
from mta.wire.imap.store import Expunge

# As int: "&" with a member of the enum takes a microsecond.
_DELETED = int(Flags.DELETED)


async def expunge(session: Session, command: Expunge) -> bytes:
    """The EXPUNGE lines are written by what every command ends with."""
    selected = session.writable("e")
    await selected.rows()
    uids: list[Uid] | None = None
    if command.uids is not None:
        uids = selected.uids(selected.positions(command.uids, uid=True))
        if not uids:
            return ok(b"nothing to expunge")
    if (plan := session.server.hooks.mailbox_expunge) is not None:
        uids = await ask_expunge(session, plan, selected, "expunge", uids)
        if not uids:
            return ok(b"nothing to expunge")
    gone, modseq = await remove_marked(session, selected, uids)
    return ok(b"expunged", b"HIGHESTMODSEQ %d" % modseq) if selected.qresync and gone else ok(b"expunged")


async def remove_marked(session: Session, selected: Selected, uids: list[Uid] | None) -> tuple[list[Uid], ModSeq]:
    """Remove what has \\Deleted, of ``uids`` or of all, a slice at a time; each message goes or stays (RFC 9051 §6.4.3 asks no more).

    The view loses them in one step, so that its columns are copied once.
    """
    store, view = session.server.store, selected.view
    slices: list[list[Uid] | None] = [uids]
    if uids is None and view.messages > SLICE:
        await view.refresh()
        columns = await view.load()
        flags = columns.table.flags
        known = [Uid(uid) for uid, n in zip(columns.uids, columns.sets, strict=True) if flags[n] & _DELETED]
        slices = [*(known[at : at + SLICE] for at in range(0, len(known), SLICE)), None]
    elif uids is not None and len(uids) > SLICE:
        slices = [uids[at : at + SLICE] for at in range(0, len(uids), SLICE)]
    gone: list[Uid] = []
    since = modseq = view.highest
    steps = 0
    progress = Progress(session, len(slices))
    try:
        for number, part in enumerate(slices):
            progress.at(number)
            went, last = await store.expunge(selected.mailbox, part)
            if went:
                gone += went
                modseq, steps = last, steps + 1
            await session.out.drain()
    finally:
        if gone:
            gone.sort()
            view.remove(gone, modseq if modseq == since + steps else None, since)
    return gone, modseq
