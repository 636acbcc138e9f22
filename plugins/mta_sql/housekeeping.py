"""Sweep what nothing names any more. Small transactions, so that nobody waits behind them."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from typing import Any

from mta_sql import flag_history, folder_history, traces
from mta_sql.core import Core, loosen
from mta_sql.dialect import Connection
from mta_sql.transaction import Transaction

PIECE = 500
"""Rows per transaction."""
TOMBSTONES = 90 * 86400.0
"""Seconds for which a vanished uid can still be told from one that never was (RFC 7162 QRESYNC); then all gone uids are named."""
COMMITS = 86400.0

_RIPE = "SELECT mailbox_id, uid, blob_id FROM tombstones WHERE blob_id IS NOT NULL AND gone < ? LIMIT ?"
_RELEASE = "UPDATE tombstones SET blob_id = NULL WHERE mailbox_id = ? AND uid = ?"
_OLD = "SELECT mailbox_id, uid, modseq FROM tombstones WHERE gone < ? AND blob_id IS NULL ORDER BY gone LIMIT ?"
_FORGET = "UPDATE mailboxes SET forgotten_modseq = ? WHERE id = ? AND forgotten_modseq < ?"
_DELETE_TOMBSTONE = "DELETE FROM tombstones WHERE mailbox_id = ? AND uid = ?"
_LOOSE = "SELECT id, blob_id FROM loose ORDER BY id LIMIT ?"
_HELD = (
    "SELECT id, file FROM blobs WHERE id IN ARRAY ? AND NOT EXISTS (SELECT 1 FROM messages WHERE blob_id = blobs.id)"
    " AND NOT EXISTS (SELECT 1 FROM tombstones WHERE blob_id = blobs.id)"
    " AND NOT EXISTS (SELECT 1 FROM queue_messages WHERE blob_id = blobs.id)"
)
_NAMED = "SELECT file FROM blobs WHERE file IS NOT NULL"
_EXPIRED = (
    ("DELETE FROM key_values WHERE expires IS NOT NULL AND expires <= ?", 0.0),
    ("DELETE FROM deleted_mailboxes WHERE gone < ?", TOMBSTONES),
    ("DELETE FROM commits WHERE made < ?", COMMITS),
)


async def housekeep(core: Core, now: float) -> None:
    undelete = core.options.undelete
    await _repeat(core, lambda tx: _release(tx, now - undelete))
    await _repeat(core, lambda tx: flag_history.forget(tx, now - undelete, PIECE))
    await _repeat(core, lambda tx: folder_history.forget(tx, now - undelete, PIECE))
    await _repeat(core, lambda tx: _forget(tx, now - max(undelete, TOMBSTONES)))
    files: list[str] = []
    await _repeat(core, lambda tx: _free(tx, files))
    loop = asyncio.get_running_loop()
    for key in files:  # after the commit: a row never names a file that is gone
        await loop.run_in_executor(core.reader.threads, core.blobs.delete, key)
    await _sweep_traces(core, now)

    def expire(tx: Transaction) -> None:
        for sql, age in _EXPIRED:
            tx.execute(sql, (now - age,))

    await core.write(expire)
    named = await core.read(_named, big=True)
    await loop.run_in_executor(core.reader.threads, core.blobs.sweep, named)


async def _repeat(core: Core, run: Any) -> None:
    """Until a piece is not full."""
    while await core.write(run) >= PIECE:
        pass


def _release(tx: Transaction, before: float) -> int:
    """Past ``undelete``: octets go, the tombstone stays for QRESYNC."""
    rows: list[Any] = tx.execute(_RIPE, (before, PIECE)).fetchall()
    tx.executemany(_RELEASE, [row[:2] for row in rows])
    loosen(tx, [row[2] for row in rows])
    return len(rows)


def _forget(tx: Transaction, before: float) -> int:
    rows: list[Any] = tx.execute(_OLD, (before, PIECE)).fetchall()
    highest: dict[int, int] = {}
    for mailbox, _, modseq in rows:
        highest[mailbox] = max(highest.get(mailbox, 0), modseq)
    tx.executemany(_FORGET, [(modseq, mailbox, modseq) for mailbox, modseq in sorted(highest.items())])
    tx.executemany(_DELETE_TOMBSTONE, [row[:2] for row in rows])
    return len(rows)


def _free(tx: Transaction, files: list[str]) -> int:
    """Delete octets that were let go by their last holder."""
    rows: list[Any] = tx.execute(_LOOSE, (PIECE,)).fetchall()
    if rows:
        free: list[Any] = tx.execute(_HELD, (tx.array({row[1] for row in rows}),)).fetchall()
        ids = tx.array([row[0] for row in free])
        tx.execute("DELETE FROM parsed WHERE blob_id IN ARRAY ?", (ids,))
        tx.execute("DELETE FROM blobs WHERE id IN ARRAY ?", (ids,))
        tx.execute("DELETE FROM loose WHERE id IN ARRAY ?", (tx.array([row[0] for row in rows]),))
        files += [row[1] for row in free if row[1]]
    return len(rows)


async def _sweep_traces(core: Core, now: float) -> None:
    options = core.options
    await _repeat(core, lambda tx: traces.index(tx, now - traces.SETTLED, PIECE))
    await _repeat(core, lambda tx: traces.drop_traces(tx, now - options.trace_keep, PIECE))
    await _repeat(core, lambda tx: traces.drop_refusals(tx, now - options.refused_keep, options.refused_most, PIECE))


def _named(connection: Connection) -> set[str]:
    return {row[0] for row in connection.execute(_NAMED).fetchall()}
