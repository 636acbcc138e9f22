"""Resynchronisation (RFC 7162 §3.2.5, §3.2.6): what changed and what vanished since a mod-sequence."""
# SPDX-License-Identifier: Apache-2.0

from mta.imapd import fetch_columns
from mta.imapd.fetch_columns import CHUNK
from mta.imapd.selected import Selected
from mta.imapd.session import Session
from mta.model.ids import ModSeq, Uid
from mta.model.mailbox import Changes
from mta.wire.imap.sequence import SequenceSet, encode_numbers

Parameters = tuple[int, int, SequenceSet | None, tuple[SequenceSet, SequenceSet] | None]


async def resynchronise(session: Session, parameters: Parameters) -> None:
    """The untagged responses of SELECT (QRESYNC …). The known pairs only save us octets, so they are passed over."""
    validity, modseq, known, _ = parameters
    selected = session.mailbox
    if validity != selected.uid_validity:
        return  # the client starts anew: RFC 7162 §3.2.5.1
    columns = await selected.rows()
    changes = await tell_vanished(session, selected, ModSeq(modseq), known)
    wanted = known.members() if known is not None else None
    session.out.write(b"".join(selected.new_keywords()))
    # What changed since is asked of the store, which has an index for it; columns would have to be looked through.
    uids = (row.uid for row in changes.rows if wanted is None or wanted.holds(row.uid))
    positions = [at for at in map(columns.position, uids) if 0 <= at < selected.count]
    names = ["FLAGS", "MODSEQ"] if selected.uidonly else ["UID", "FLAGS", "MODSEQ"]
    for start in range(0, len(positions), CHUNK):
        session.out.write(fetch_columns.lines(selected, columns, positions[start : start + CHUNK], names))
        await session.out.drain()


async def tell_vanished(session: Session, selected: Selected, modseq: ModSeq, known: SequenceSet | None) -> Changes:
    """``VANISHED (EARLIER)`` for uids that went after ``modseq``; only those of ``known``, when given. Returns all that happened."""
    changes = await session.server.store.changes(selected.mailbox, modseq)
    gone: list[Uid] = changes.vanished
    if known is not None:
        wanted = known.members()
        gone = [uid for uid in gone if wanted.holds(uid)]
    columns = selected.columns
    if columns is not None and columns.following is not None:
        gone = [uid for uid in gone if columns.position(uid) < 0]  # still numbered here: said later, by VANISHED
    if gone:
        session.out.write(b"* VANISHED (EARLIER) %b\r\n" % encode_numbers(sorted(gone)))
    return changes
