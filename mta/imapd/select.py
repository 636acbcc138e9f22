"""SELECT, EXAMINE, CLOSE, UNSELECT (RFC 9051 §6.3.2, §6.3.3, §6.4.1, §6.4.2; CONDSTORE, QRESYNC: RFC 7162)."""
# SPDX-License-Identifier: Apache-2.0

from mta.imapd.answer import bad, ok
from mta.imapd.expunge import remove_marked
from mta.imapd.object_ids import mailbox_id
from mta.imapd.place import locate
from mta.imapd.rights import writes
from mta.imapd.selected import Selected
from mta.imapd.session import Session
from mta.imapd.vanished import resynchronise
from mta.imapd.veto import ask_expunge
from mta.model.errors import StorageReadOnly, TemporaryFailure
from mta.model.ids import Uid
from mta.wire.imap.command import Select
from mta.wire.imap.response import list_line


async def select(session: Session, command: Select) -> bytes:
    return await _open(session, command, read_only=False)


async def examine(session: Session, command: Select) -> bytes:
    return await _open(session, command, read_only=True)


async def _open(session: Session, command: Select, *, read_only: bool) -> bytes:
    if session.uidonly and command.qresync is not None and command.qresync[3] is not None:
        raise bad(b"no message numbers", b"UIDREQUIRED")  # RFC 9586 §3.5
    if command.qresync is not None and not session.qresync:
        raise bad(b"ENABLE QRESYNC first")  # RFC 7162 §3.2.5
    if session.selected is not None:
        session.leave()  # even when what follows fails: RFC 9051 §6.3.2
        if session.rev2 or session.qresync:
            session.out.write(b"* OK [CLOSED] previous mailbox closed\r\n")
    found, rights, foreign = await locate(session, command.mailbox, "r")
    view = await session.server.view(found.id, found.highest_modseq)
    selected = Selected(
        view,
        found.name,
        read_only=read_only or not writes(rights),
        rev2=session.rev2,
        examined=read_only,
        rights=rights,
        reader=session.peer.user if foreign else "",
    )
    session.selected = selected
    session.set_push()
    if command.condstore:
        session.condstore = True
    selected.condstore, selected.qresync, selected.uidonly = session.condstore, session.qresync, session.uidonly
    if not session.rev2:
        await _claim_recent(session, selected)
    out = [b"* %d EXISTS\r\n" % selected.count]
    if not session.rev2:
        out.append(b"* %d RECENT\r\n" % selected.recent())
        if first := view.first_unseen():
            out.append(b"* OK [UNSEEN %d] first\r\n" % first)
    out += selected.flags_lines()
    out.append(b"* OK [UIDVALIDITY %d] uids are valid\r\n" % view.uid_validity)
    out.append(b"* OK [UIDNEXT %d] predicted next uid\r\n" % view.uid_next)
    out.append(b"* OK [HIGHESTMODSEQ %d] highest\r\n" % view.highest)
    if session.server.stable_ids:
        out.append(b"* OK [MAILBOXID (%b)] whatever its name\r\n" % mailbox_id(found.id))
    if session.rev2:
        out.append(list_line([found.special_use.encode("ascii")] if found.special_use else [], found.name, utf8=True))
    session.out.write(b"".join(out))
    if command.qresync is not None:
        await resynchronise(session, command.qresync)
    if selected.read_only:
        return ok(b"open for reading", b"READ-ONLY")
    return ok(b"open", b"READ-WRITE")


async def _claim_recent(session: Session, selected: Selected) -> None:
    """Which messages are recent here (RFC 3501 §2.3.2). Asks the store only when messages came since the last claim."""
    view, store = selected.view, session.server.store
    if selected.reader:  # what is recent is told to the owner
        return
    selected.recent_from = view.uid_next  # what comes from now on
    if max(view.claimed, view.told) >= view.uid_next:
        return
    try:
        if not selected.read_only:
            selected.recent_from = max(view.told, await store.claim_recent(view.mailbox))
            view.claimed = view.uid_next
        elif selected.count:
            status = await store.status(view.mailbox)
            selected.recent_from = max(1, view.told, status.uid_next - status.recent)
    except StorageReadOnly:
        selected.read_only = True
    except TemporaryFailure as exc:  # nothing is lost: the next session claims them
        session.server.log.info("imap.recent", session=session.peer.id, detail=str(exc))


async def close(session: Session, _: None) -> bytes:
    """Expunges without a word (RFC 9051 §6.4.1)."""
    selected = session.mailbox
    try:
        if not selected.read_only and "e" in selected.rights:
            marked: list[Uid] | None = None
            if (plan := session.server.hooks.mailbox_expunge) is not None:
                marked = await ask_expunge(session, plan, selected, "close", None)
            if marked != []:
                await remove_marked(session, selected, marked)
    finally:
        session.leave()
    return ok(b"closed")


async def unselect(session: Session, _: None) -> bytes:
    session.leave()
    return ok(b"closed")
