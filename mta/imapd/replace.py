"""REPLACE and UID REPLACE (RFC 8508): a message for another, in one change."""
# SPDX-License-Identifier: Apache-2.0

from mta.imapd.answer import bad, no, ok
from mta.imapd.append import new_message
from mta.imapd.catenate import assembled
from mta.imapd.place import locate
from mta.imapd.session import Session
from mta.imapd.veto import ask, ask_append
from mta.wire.imap.replace import Replace


async def replace(session: Session, command: Replace) -> bytes:
    """APPENDUID is said before the EXPUNGE, untagged (RFC 8508 §4.3)."""
    server = session.server
    if (replacing := server.replacing) is None:
        raise bad(b"no REPLACE here")
    selected = session.writable("te")
    await selected.rows()
    if not command.uid and selected.names_missing(command.sequence):
        raise bad(b"no such message number")
    uids = selected.uids(selected.positions(command.sequence, uid=command.uid))
    if not uids:
        raise no(b"no such message", b"NONEXISTENT")
    target, rights, _ = await locate(session, command.mailbox, "i")
    message = new_message(session, await assembled(session, command.message), rights)
    if (plan := server.hooks.mailbox_append) is not None:
        await ask_append(session, plan, target.name, [message])
    if (plan := server.hooks.mailbox_expunge) is not None:
        await ask(session, plan, selected.name, how="expunge", uids=tuple(uids))
    done = await replacing.replace(selected.mailbox, uids[0], target.id, message)
    if done is None:
        raise no(b"it was expunged meanwhile", b"EXPUNGEISSUED")
    appended, modseq = done
    session.out.write(b"* OK [APPENDUID %d %d] stored\r\n" % (appended.uid_validity, appended.uid))
    selected.view.remove(uids, modseq)
    server.touched(target.id)
    return ok(b"replaced", b"HIGHESTMODSEQ %d" % modseq) if selected.qresync else ok(b"replaced")
