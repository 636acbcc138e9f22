"""Resynchronisation (RFC 7162 §3.2.5, §3.2.6): what changed and what vanished since a mod-sequence.

What changed is asked of the store, which has an index for it; columns would have to be looked through. When they were not even read,
the few numbers that are needed are asked too: that is a tenth of the work.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence

from mta.imapd import fetch_columns
from mta.imapd.columns import Columns, FlagTable
from mta.imapd.fetch_columns import CHUNK
from mta.imapd.selected import Selected
from mta.imapd.session import Session
from mta.model.ids import ModSeq, Uid
from mta.model.mailbox import Changes, Row
from mta.wire.imap.sequence import SequenceSet, encode_numbers

Parameters = tuple[int, int, SequenceSet | None, tuple[SequenceSet, SequenceSet] | None]
_FEW = CHUNK
"""Messages whose numbers are asked for; for more of them the columns are read."""


async def resynchronise(session: Session, parameters: Parameters) -> None:
    """The untagged responses of SELECT (QRESYNC …). The known pairs only save us octets, so they are passed over."""
    validity, modseq, known, _ = parameters
    selected = session.mailbox
    if validity != selected.uid_validity:
        return  # the client starts anew: RFC 7162 §3.2.5.1
    changes = await selected.view.changes(ModSeq(modseq))
    wanted = known.members() if known is not None else None
    rows = [row for row in changes.rows if wanted is None or wanted.holds(row.uid)]
    names = ["FLAGS", "MODSEQ"] if selected.uidonly else ["UID", "FLAGS", "MODSEQ"]
    if (numbers := await _numbers(session, selected, changes, rows)) is not None:
        _tell_gone(session, selected, changes, known)
        few = Columns(FlagTable())
        few.extend([row for row, number in zip(rows, numbers, strict=True) if number <= selected.count])
        if few.table.spelling:
            session.out.write(b"".join(selected.flags_lines(few)))
        if few:
            session.out.write(fetch_columns.lines(selected, few, range(len(few)), names, numbers[: len(few)]))
        return
    columns = await selected.rows()
    _tell_gone(session, selected, changes, known)
    session.out.write(b"".join(selected.new_keywords()))
    positions = [at for at in map(columns.position, (row.uid for row in rows)) if 0 <= at < selected.count]
    for start in range(0, len(positions), CHUNK):
        session.out.write(fetch_columns.lines(selected, columns, positions[start : start + CHUNK], names))
        await session.out.drain()


async def _numbers(session: Session, selected: Selected, changes: Changes, rows: Sequence[Row]) -> list[int] | None:
    """The messages' numbers in this session, when they are known without columns: nothing happened since it counted."""
    numbering, view = session.server.numbering, selected.view
    if numbering is None or not _uncounted(selected) or changes.highest_modseq != view.highest or len(rows) > _FEW:
        return None
    if not rows:
        return []
    at, numbers = await numbering.numbers(selected.mailbox, [row.uid for row in rows])
    return numbers if _uncounted(selected) and at == changes.highest_modseq == view.highest else None


def _uncounted(selected: Selected) -> bool:
    """Looked at anew after each wait: another session may have had the columns read."""
    return selected.columns is None


async def tell_vanished(session: Session, selected: Selected, modseq: ModSeq, known: SequenceSet | None) -> None:
    """``VANISHED (EARLIER)`` for uids that went after ``modseq``; only those of ``known``, when given."""
    _tell_gone(session, selected, await selected.view.changes(modseq), known)


def _tell_gone(session: Session, selected: Selected, changes: Changes, known: SequenceSet | None) -> None:
    gone: list[Uid] = changes.vanished
    if known is not None:
        wanted = known.members()
        gone = [uid for uid in gone if wanted.holds(uid)]
    if (columns := selected.columns) is not None:
        gone = [uid for uid in gone if columns.position(uid) < 0]  # still numbered here: said later, by VANISHED
    if gone:
        session.out.write(b"* VANISHED (EARLIER) %b\r\n" % encode_numbers(sorted(gone)))
