"""Check every invariant of ``schema.py`` and every blob; one line for each damage."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Callable
from typing import Any

from mta.model.errors import TemporaryFailure
from mta_sql.core import Core
from mta_sql.dialect import Connection

PIECE = 500

_QUERIES = (
    (
        "mailbox {0}: counters say {1} messages, there are {2}",
        (
            "SELECT b.id, b.messages, count(m.uid) FROM mailboxes b LEFT JOIN messages m ON m.mailbox_id = b.id GROUP BY b.id, b.messages,"
            " b.unseen, b.deleted, b.size, b.deleted_size HAVING b.messages <> count(m.uid)"
        ),
    ),
    (
        "mailbox {0}: counters of unseen, deleted or size are wrong",
        (
            "SELECT b.id FROM mailboxes b LEFT JOIN messages m ON m.mailbox_id = b.id GROUP BY b.id, b.unseen, b.deleted, b.size, b.deleted_size"
            " HAVING b.size <> coalesce(sum(m.size), 0) OR b.unseen <> coalesce(sum(1 - m.flags % 2), 0)"
            " OR b.deleted <> coalesce(sum(CASE WHEN m.flags & 8 <> 0 THEN 1 ELSE 0 END), 0)"
            " OR b.deleted_size <> coalesce(sum(CASE WHEN m.flags & 8 <> 0 THEN m.size ELSE 0 END), 0)"
        ),
    ),
    (
        "mailbox {0}: uid {1} or its modseq is not below the mailbox's next",
        "SELECT b.id, m.uid FROM messages m JOIN mailboxes b ON b.id = m.mailbox_id WHERE m.uid >= b.uid_next OR m.modseq > b.highest_modseq",
    ),
    (
        "mailbox {0}: uid {1} is both there and expunged",
        "SELECT m.mailbox_id, m.uid FROM messages m JOIN tombstones t ON t.mailbox_id = m.mailbox_id AND t.uid = m.uid",
    ),
    (
        "message {0}/{1}: its mailbox is gone",
        "SELECT m.mailbox_id, m.uid FROM messages m WHERE NOT EXISTS (SELECT 1 FROM mailboxes WHERE id = m.mailbox_id)",
    ),
    (
        "message {0}/{1}: its octets are gone (blob {2})",
        "SELECT m.mailbox_id, m.uid, m.blob_id FROM messages m WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE id = m.blob_id)",
    ),
    (
        "message {0}/{1}: size differs from its octets",
        "SELECT m.mailbox_id, m.uid FROM messages m JOIN blobs b ON b.id = m.blob_id WHERE m.size <> b.size",
    ),
    (
        "queued message {0}: its octets are gone",
        "SELECT m.queue_id FROM queue_messages m WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE id = m.blob_id)",
    ),
    (
        "queued message {0}: no recipients",
        "SELECT m.queue_id FROM queue_messages m WHERE NOT EXISTS (SELECT 1 FROM queue WHERE message_id = m.id)",
    ),
    (
        "blob {0}: nobody holds it and no sweep will find it",
        (
            "SELECT id FROM blobs WHERE NOT EXISTS (SELECT 1 FROM messages WHERE blob_id = blobs.id)"
            " AND NOT EXISTS (SELECT 1 FROM tombstones WHERE blob_id = blobs.id)"
            " AND NOT EXISTS (SELECT 1 FROM queue_messages WHERE blob_id = blobs.id)"
            " AND NOT EXISTS (SELECT 1 FROM loose WHERE blob_id = blobs.id)"
        ),
    ),
    (
        "access list of mailbox {0}: the mailbox is gone",
        "SELECT DISTINCT mailbox_id FROM acl WHERE NOT EXISTS (SELECT 1 FROM mailboxes WHERE id = acl.mailbox_id)",
    ),
    (
        "annotations of mailbox {0}: the mailbox is gone",
        (
            "SELECT DISTINCT mailbox_id FROM annotations WHERE mailbox_id <> 0"
            " AND NOT EXISTS (SELECT 1 FROM mailboxes WHERE id = annotations.mailbox_id)"
        ),
    ),
    (
        "uid_validity: mailbox {0} has one that was not given yet",
        "SELECT id FROM mailboxes WHERE uid_validity > (SELECT value FROM counters WHERE name = 'uid_validity')",
    ),
)
_BLOBS = "SELECT id, size, length(body), file FROM blobs WHERE id > ? ORDER BY id LIMIT ?"
_HOW_MANY = "SELECT count(*) FROM blobs"


async def verify(core: Core, progress: Callable[[int, int], None]) -> list[str]:
    """``progress(done, total)`` counts blobs."""
    damage = await core.read(_invariants, big=True)
    total: int = await core.read(lambda connection: connection.execute(_HOW_MANY).fetchone()[0], big=True)
    loop = asyncio.get_running_loop()
    last = done = 0
    while True:
        start = last
        rows: list[Any] = await core.read(lambda connection: connection.execute(_BLOBS, (start, PIECE)).fetchall(), big=True)  # noqa: B023
        if not rows:
            return damage
        damage += await loop.run_in_executor(core.reader.threads, _bodies, core, rows)
        last = rows[-1][0]
        done += len(rows)
        progress(done, max(total, done))


def _invariants(connection: Connection) -> list[str]:
    damage = []
    if connection.dialect == "sqlite":
        damage += [f"database: {row[0]}" for row in connection.execute("PRAGMA integrity_check(100)").fetchall() if row[0] != "ok"]
    for text, sql in _QUERIES:
        damage += [text.format(*row) for row in connection.execute(sql + " LIMIT 1000").fetchall()]
    return damage


def _bodies(core: Core, rows: list[Any]) -> list[str]:
    damage = []
    for blob, size, inline, file in rows:
        found = inline
        if file is not None:
            try:
                found = core.blobs.size(file)
            except KeyError:
                damage.append(f"blob {blob}: its file {file} is gone")
                continue
            except TemporaryFailure as exc:
                damage.append(f"blob {blob}: {exc}")
                continue
        if found != size:
            damage.append(f"blob {blob}: {found} octets instead of {size}")
    return damage
