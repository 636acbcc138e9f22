"""Resynchronisation (RFC 7162 §3.2.5, §3.2.6): what changed and what vanished since a mod-sequence."""
# SPDX-License-Identifier: Apache-2.0

from mta.imapd.selected import Selected
from mta.imapd.session import Session
from mta.model.ids import ModSeq, Uid
from mta.wire.imap.sequence import SequenceSet, encode_numbers

Parameters = tuple[int, int, SequenceSet | None, tuple[SequenceSet, SequenceSet] | None]
_LINES = 500


async def resynchronise(session: Session, parameters: Parameters) -> None:
    """The untagged responses of SELECT (QRESYNC …). The known pairs only save us octets, so they are passed over."""
    validity, modseq, known, _ = parameters
    selected = session.mailbox
    if validity != selected.uid_validity:
        return  # the client starts anew: RFC 7162 §3.2.5.1
    columns = await selected.rows()
    count = selected.count
    await tell_vanished(session, selected, ModSeq(modseq), known)
    wanted = known.members() if known is not None else None
    uids, modseqs = columns.uids, columns.modseqs
    lines: list[bytes] = list(selected.new_keywords())
    for at in range(count):
        if modseqs[at] > modseq and (wanted is None or wanted.holds(uids[at])):
            lines.append(selected.flag_line(columns, at))
            if len(lines) >= _LINES:
                session.out.write(b"".join(lines))
                lines.clear()
                await session.out.drain()
    session.out.write(b"".join(lines))


async def tell_vanished(session: Session, selected: Selected, modseq: ModSeq, known: SequenceSet | None) -> None:
    """``VANISHED (EARLIER)`` for uids that went after ``modseq``; only those of ``known``, when given."""
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
