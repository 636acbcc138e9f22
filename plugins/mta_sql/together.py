"""Ranges of messages that all changed at one modseq, kept as one row instead of in each message's, whose index would be rewritten.

A message's modseq is the greatest of its own row's and of the ranges that hold its uid. Uids are never given twice, so a range says
nothing of messages that come later; what changes later has a greater modseq of its own. A range that a newer one covers is forgotten,
and a mailbox has no more than ``MOST``, so nothing has to be tidied up.
"""
# SPDX-License-Identifier: Apache-2.0

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

from mta.model.ids import ModSeq
from mta.model.mailbox import Row
from mta_sql.transaction import Transaction

FEW = 1000
"""Messages below which each gets its modseq: that takes a millisecond."""
MOST = 32
Range = tuple[int, int, int]
"""(first uid, last uid, modseq)"""

_RANGES = "SELECT first_uid, last_uid, modseq FROM together WHERE mailbox_id = ? ORDER BY modseq"
_WITHIN = "SELECT count(*) FROM messages WHERE mailbox_id = ? AND uid BETWEEN ? AND ?"
_COVERED = "DELETE FROM together WHERE mailbox_id = ? AND first_uid >= ? AND last_uid <= ?"
_COUNT = "SELECT count(*) FROM together WHERE mailbox_id = ?"
_INSERT = "INSERT INTO together (mailbox_id, modseq, first_uid, last_uid) VALUES (?, ?, ?, ?)"


def joined(tx: Transaction, mailbox: int, first: int, last: int, messages: int, modseq: ModSeq) -> bool:
    """``messages`` change at ``modseq``: keep it as a range if they are many and all that there are. False: it belongs into the rows."""
    if messages < FEW or tx.execute(_WITHIN, (mailbox, first, last)).fetchone()[0] != messages:
        return False
    tx.execute(_COVERED, (mailbox, first, last))
    if tx.execute(_COUNT, (mailbox,)).fetchone()[0] >= MOST:
        return False
    tx.execute(_INSERT, (mailbox, modseq, first, last))
    return True


def with_modseqs(tx: Transaction, mailbox: int, rows: list[Row]) -> list[Row]:
    ranges: list[Any] = tx.execute(_RANGES, (mailbox,)).fetchall()
    return over_rows(ranges, rows)


def over_rows(ranges: Sequence[Range], rows: list[Row]) -> list[Row]:
    """The rows with their modseqs."""
    if not ranges:
        return rows
    modseqs = array("Q", [row.modseq for row in rows])
    over(ranges, [row.uid for row in rows], modseqs)
    return [row._replace(modseq=ModSeq(modseq)) for row, modseq in zip(rows, modseqs, strict=True)]


def over(ranges: Iterable[Range], uids: Sequence[int], modseqs: "array[int]") -> None:
    """Raise the modseqs of these ascending uids to those of the ranges."""
    for first, last, modseq in ranges:
        start, end = bisect_left(uids, first), bisect_right(uids, last)
        own = modseqs[start:end]
        if max(own, default=0) <= modseq:
            modseqs[start:end] = array("Q", (modseq,)) * len(own)
        else:
            modseqs[start:end] = array("Q", map(max, own, repeat(modseq)))
