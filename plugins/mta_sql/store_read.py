"""Reading mailboxes: status, changes since a modseq, octets, parsed forms."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from math import inf
from typing import Any

from mta.model.errors import NoSuchMailbox
from mta.model.ids import BlobId, MailboxId, ModSeq, Uid
from mta.model.mailbox import Changes, MailboxStatus, Row
from mta_sql.core import Core
from mta_sql.dialect import Connection

SHORT = 500
"""Rows read inline at most: about half a millisecond of the event loop."""
COUNTED = 10_000
"""Index entries counted inline at most: about a quarter of a millisecond."""

_STATUS = (
    "SELECT messages, unseen, deleted, size, deleted_size, uid_next, uid_validity, highest_modseq, recent_uid"
    " FROM mailboxes WHERE id = ?"
)
_RECENT = "SELECT count(*) FROM messages WHERE mailbox_id = ? AND uid >= ?"
_MAILBOX = "SELECT uid_validity, uid_next, highest_modseq, messages, forgotten_modseq FROM mailboxes WHERE id = ?"
# One statement, hence one snapshot: the mailbox (kind 0), rows (1), vanished (2).
_HEAD = (
    "SELECT 0 AS kind, uid_validity AS uid, uid_next AS modseq, 0 AS flags, '' AS keywords, highest_modseq AS date, forgotten_modseq AS size,"
    " 0 AS blob_id FROM mailboxes WHERE id = ?"
)
_ALL = _HEAD + " UNION ALL SELECT 1, uid, modseq, flags, keywords, date, size, blob_id FROM messages WHERE mailbox_id = ?"  # noqa: S608
_SINCE = (
    _ALL + " AND modseq > ? UNION ALL SELECT 2, uid, modseq, 0, '', 0, 0, 0 FROM tombstones WHERE mailbox_id = ? AND modseq > ?"  # noqa: S608
)
_UIDS = "SELECT uid FROM messages WHERE mailbox_id = ?"
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
    short = await core.read(lambda connection: _since(connection, mailbox, since, SHORT))
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


def _first(connection: Connection, mailbox: MailboxId) -> Changes:
    rows: list[Any] = connection.execute(_ALL, (mailbox, mailbox)).fetchall()
    uid_validity, uid_next, highest, _ = _head(rows, mailbox)
    found = [Row(*row[1:]) for row in rows if row[0] == 1]
    found.sort()
    return Changes(uid_validity, uid_next, highest, found, [])


def _since(connection: Connection, mailbox: MailboxId, since: ModSeq, limit: int | None) -> Changes | None:
    """None: more than ``limit``."""
    params: tuple[int, ...] = (mailbox, mailbox, since, mailbox, since)
    if limit is None:
        rows: list[Any] = connection.execute(_SINCE, params).fetchall()
    else:
        rows = connection.execute(_SINCE + " LIMIT ?", (*params, limit + 1)).fetchall()
        if len(rows) > limit:
            return None
    uid_validity, uid_next, highest, forgotten = _head(rows, mailbox)
    found = [Row(*row[1:]) for row in rows if row[0] == 1]
    found.sort()
    vanished = sorted(row[1] for row in rows if row[0] == 2)
    if since < forgotten:  # tombstones of that time are gone: name every uid that is not there (RFC 7162 §3.2.5.2)
        if limit is not None and uid_next > limit:
            return None
        present = {row[0] for row in connection.execute(_UIDS, (mailbox,)).fetchall()}
        vanished = [Uid(uid) for uid in range(1, uid_next) if uid not in present]
    return Changes(uid_validity, uid_next, highest, found, vanished)


def _head(rows: list[Any], mailbox: MailboxId) -> tuple[int, Uid, ModSeq, int]:
    for kind, uid_validity, uid_next, _, _, highest, forgotten, _ in rows:
        if kind == 0:
            return uid_validity, uid_next, highest, forgotten
    raise NoSuchMailbox(str(mailbox))


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
