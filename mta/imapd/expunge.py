"""EXPUNGE and UID EXPUNGE (RFC 9051 §6.4.3, §6.4.9)."""
# SPDX-License-Identifier: Apache-2.0

from mta.imapd.answer import ok
from mta.imapd.session import Session
from mta.imapd.veto import ask_expunge
from mta.model.ids import Uid
from mta.wire.imap.store import Expunge


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
    gone, modseq = await session.server.store.expunge(selected.mailbox, uids)
    if gone:
        selected.view.remove(gone, modseq)
    return ok(b"expunged", b"HIGHESTMODSEQ %d" % modseq) if selected.qresync and gone else ok(b"expunged")
