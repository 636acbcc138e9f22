"""Reading mailboxes: status, changes since a modseq, octets, parsed forms."""
# SPDX-License-Identifier: Apache-2.0

from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate, repeat
from math import inf
from typing import Any, cast

from mta.model.errors import NoSuchMailbox
from mta.model.ids import BlobId, MailboxId, ModSeq, Uid
from mta.model.mailbox import Changes, MailboxStatus, Row, RowColumns
from mta_sql.core import Core
from mta_sql.dialect import Connection, Cursor
from mta_sql.together import Range, over, over_rows

SHORT = 1500
"""Rows read inline at most: two milliseconds of the event loop at worst; a thread is asked only after as many were read in vain."""
PIECE = 2000
COUNTED = 10_000
"""Index entries counted inline at most: about a quarter of a millisecond."""

_STATUS = (
    "SELECT messages, unseen, deleted, size, deleted_size, uid_next, uid_validity, highest_modseq, recent_uid"
    " FROM mailboxes WHERE id = ?"
)
_RECENT = "SELECT count(*) FROM messages WHERE mailbox_id = ? AND uid >= ?"
_MAILBOX = "SELECT uid_validity, uid_next, highest_modseq, messages, forgotten_modseq FROM mailboxes WHERE id = ?"
# One statement, hence one snapshot: the mailbox (kind 0), rows (1), vanished (2), ranges of ``together`` (3) and rows within them (4).
_HEAD = (
    "SELECT 0 AS kind, uid_validity AS uid, uid_next AS modseq, 0 AS flags, '' AS keywords, highest_modseq AS date, forgotten_modseq AS size,"
    " 0 AS blob_id FROM mailboxes WHERE id = ?"
)
# The whole mailbox as ten values. The database makes the columns: four times as fast as a tuple for each row, and nothing for the
# interpreter to hold its lock over but one list at a time.
_COLUMNS = (
    "SELECT uid_validity, uid_next, highest_modseq, uids, modseqs, all_flags, all_keywords, dates, sizes, blobs, firsts, lasts, togethers"
    " FROM mailboxes,"
    " (SELECT COLUMN(uid) AS uids, COLUMN(modseq) AS modseqs, COLUMN(flags) AS all_flags, COLUMN(keywords) AS all_keywords,"
    " COLUMN(date) AS dates, COLUMN(size) AS sizes, COLUMN(blob_id) AS blobs FROM"
    " (SELECT uid, modseq, flags, keywords, date, size, blob_id FROM messages WHERE mailbox_id = ? ORDER BY uid) AS ordered) AS gathered,"
    " (SELECT COLUMN(first_uid) AS firsts, COLUMN(last_uid) AS lasts, COLUMN(modseq) AS togethers FROM"
    " (SELECT first_uid, last_uid, modseq FROM together WHERE mailbox_id = ? ORDER BY modseq) AS ranges) AS joined"
    " WHERE id = ?"
)
_ALL = _HEAD + " UNION ALL SELECT 1, uid, modseq, flags, keywords, date, size, blob_id FROM messages WHERE mailbox_id = ?"  # noqa: S608
_SINCE = (
    _ALL + " AND modseq > ? UNION ALL SELECT 2, uid, modseq, 0, '', 0, 0, 0 FROM tombstones WHERE mailbox_id = ? AND modseq > ?"  # noqa: S608
    " UNION ALL SELECT 3, first_uid, modseq, 0, '', last_uid, 0, 0 FROM together WHERE mailbox_id = ?"
    " UNION ALL SELECT 4, m.uid, m.modseq, m.flags, m.keywords, m.date, m.size, m.blob_id FROM together t JOIN messages m"
    " ON m.mailbox_id = t.mailbox_id AND m.uid BETWEEN t.first_uid AND t.last_uid WHERE t.mailbox_id = ? AND t.modseq > ?"
)
_TYPES = ("I", "Q", "", "", "q", "Q", "q")
_ORDER = " ORDER BY kind, uid"
_UIDS = "SELECT uid FROM messages WHERE mailbox_id = ?"
# How many between each and the one before it: the whole index is walked once at most.
_NUMBERS = (
    "SELECT highest_modseq, (SELECT COLUMN(more) FROM"
    " (SELECT (SELECT count(*) FROM messages WHERE mailbox_id = ? AND uid > below AND uid <= upto) AS more FROM"
    " (SELECT uid AS upto, lag(uid, 1, 0) OVER (ORDER BY uid) AS below FROM messages WHERE mailbox_id = ? AND uid IN ARRAY ?) AS steps"
    " ORDER BY upto) AS counts) FROM mailboxes WHERE id = ?"
)
_BLOBS = "SELECT id, body, file FROM blobs WHERE id IN ARRAY ?"
_PARSED = "SELECT blob_id, octets FROM parsed WHERE blob_id IN ARRAY ?"


async def status(core: Core, mailbox: MailboxId) -> MailboxStatus:
    def read(connection: Connection, most: float = inf) -> MailboxStatus | None:
        row: Any = connection.execute(_STATUS, (mailbox,)).fetchone()
        if row is None:
            raise NoSuchMailbox(str(mailbox))
        messages, unseen, deleted, size, deleted_size, uid_next, uid_validity, highest, recent_uid = row
        recent = 0
        if uid_next - recent_uid > most:
            return None
        if recent_uid < uid_next:
            recent = connection.execute(_RECENT, (mailbox, recent_uid)).fetchone()[0]
        return MailboxStatus(messages, unseen, deleted, size, deleted_size, recent, uid_next, uid_validity, highest)

    found = await core.read(lambda connection: read(connection, COUNTED))
    if found is None:  # never opened and big: counting its recent messages takes a while
        found = await core.read(read, big=True)
    assert found is not None
    return found


async def changes(core: Core, mailbox: MailboxId, since: ModSeq) -> Changes:
    """A short answer inline; a long one, which is not known before it is read, in a thread."""
    if since <= 0:
        messages = await core.read(lambda connection: _mailbox(connection, mailbox)[3])
        return await core.read(lambda connection: _first(connection, mailbox), big=messages > SHORT)
    short = await core.read(lambda connection: _unchanged(connection, mailbox, since) or _since(connection, mailbox, since, SHORT))
    if short is not None:
        return short
    whole = await core.read(lambda connection: _since(connection, mailbox, since, None), big=True)
    assert whole is not None
    return whole


def _mailbox(connection: Connection, mailbox: MailboxId) -> Any:
    row = connection.execute(_MAILBOX, (mailbox,)).fetchone()
    if row is None:
        raise NoSuchMailbox(str(mailbox))
    return row


def _unchanged(connection: Connection, mailbox: MailboxId, since: ModSeq) -> Changes | None:
    """The answer when nothing happened, which is the usual one, for a third of the work; None: something did."""
    uid_validity, uid_next, highest, _, _ = _mailbox(connection, mailbox)
    return Changes(uid_validity, uid_next, highest, [], []) if highest == since else None


def _first(connection: Connection, mailbox: MailboxId) -> Changes:
    row = connection.execute(_COLUMNS, (mailbox, mailbox, mailbox)).fetchone()
    if row is None:
        raise NoSuchMailbox(str(mailbox))
    uids, modseqs, flags, keywords, dates, sizes, blobs = map(_column, _TYPES, row[3:10], repeat(connection.column))
    over(zip(*map(connection.column, row[10:]), strict=True), uids, cast("array[int]", modseqs))
    return Changes(row[0], row[1], row[2], RowColumns((uids, modseqs, flags, keywords, dates, sizes, blobs)), [])


def _column(kind: str, value: Any, decode: Callable[[Any], list[Any]]) -> Sequence[Any]:
    """One at a time: a list of numbers takes four times the room of the array."""
    return array(kind, decode(value)) if kind else decode(value)


def _since(connection: Connection, mailbox: MailboxId, since: ModSeq, limit: int | None) -> Changes | None:
    """None: more than ``limit``."""
    params: tuple[int, ...] = (mailbox, mailbox, since, mailbox, since, mailbox, mailbox, since)
    if limit is None:
        cursor = connection.execute(_SINCE + _ORDER, params)
    else:
        cursor = connection.execute(_SINCE + _ORDER + " LIMIT ?", (*params, limit + 1))
    (uid_validity, uid_next, highest, forgotten), read, rows, vanished = _split(cursor, mailbox)
    if limit is not None and read > limit:
        return None
    if since < forgotten:  # tombstones of that time are gone: name every uid that is not there (RFC 7162 §3.2.5.2)
        if limit is not None and uid_next > limit:
            return None
        present = {row[0] for row in connection.execute(_UIDS, (mailbox,)).fetchall()}
        vanished = [Uid(uid) for uid in range(1, uid_next) if uid not in present]
    return Changes(uid_validity, uid_next, highest, rows, vanished)


def _split(cursor: Cursor, mailbox: MailboxId) -> tuple[tuple[int, Uid, ModSeq, int], int, list[Row], list[Uid]]:
    """The mailbox, how much was read, its rows, what vanished. In pieces: no single step keeps the interpreter from the event loop."""
    head: tuple[int, Uid, ModSeq, int] | None = None
    read = 0
    rows: list[Row] = []
    vanished: list[Uid] = []
    ranges: list[Range] = []
    within: dict[Uid, Row] = {}
    while piece := cursor.fetchmany(PIECE):
        read += len(piece)
        if head is None:
            kind, uid_validity, uid_next, _, _, highest, forgotten, _ = piece.pop(0)
            if kind != 0:
                break
            head = (uid_validity, uid_next, highest, forgotten)
        if piece and piece[-1][0] == 1:
            rows += [Row._make(row[1:]) for row in piece]
        else:
            rows += [Row._make(row[1:]) for row in piece if row[0] == 1]
            vanished += [row[1] for row in piece if row[0] == 2]
            ranges += [(row[1], row[5], row[2]) for row in piece if row[0] == 3]
            within.update((row[1], Row._make(row[1:])) for row in piece if row[0] == 4)
    if head is None:
        raise NoSuchMailbox(str(mailbox))
    if within:
        within.update((row.uid, row) for row in rows)
        rows = [within[uid] for uid in sorted(within)]
    return head, read, over_rows(ranges, rows), vanished


async def numbers(core: Core, mailbox: MailboxId, uids: Sequence[Uid]) -> tuple[ModSeq, list[int]]:
    def read(connection: Connection) -> tuple[ModSeq, list[int]]:
        row = connection.execute(_NUMBERS, (mailbox, mailbox, connection.array(uids), mailbox)).fetchone()
        if row is None:
            raise NoSuchMailbox(str(mailbox))
        return row[0], list(accumulate(connection.column(row[1])))

    return await core.read(read, big=uids[-1] > COUNTED)


async def read_many(core: Core, blobs: Sequence[BlobId]) -> list[bytes]:
    def read(connection: Connection) -> list[bytes]:
        found = {row[0]: row for row in connection.execute(_BLOBS, (connection.array(set(blobs)),)).fetchall()}
        return [core.blobs.read(found[b][2]) if found[b][2] else bytes(found[b][1] or b"") for b in blobs]

    if not blobs:
        return []
    return await core.read(read, big=True)


async def parsed(core: Core, blobs: Sequence[BlobId]) -> list[bytes | None]:
    def read(connection: Connection) -> list[bytes | None]:
        found = {row[0]: bytes(row[1]) for row in connection.execute(_PARSED, (connection.array(blobs),)).fetchall()}
        return [found.get(blob) for blob in blobs]

    return await core.read(read, big=len(blobs) > SHORT)
