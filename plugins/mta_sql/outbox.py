"""``Outbox``: durable notifications, leased like queue rows; dead letters have no ``ready`` time."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence
from typing import Any

from mta.model.message import Notification
from mta_hooks.backends.database import OutboxRow
from mta_sql.core import Core
from mta_sql.dialect import Connection
from mta_sql.events import notify
from mta_sql.text import clean, from_json
from mta_sql.transaction import Transaction

_ANY = "SELECT 1 FROM outbox WHERE ready <= ? LIMIT 1"
_FIELDS = "SELECT id, hook, payload, attempts, plugin, error, made, ready FROM outbox"
_DUE = _FIELDS + " WHERE ready <= ? ORDER BY ready, id LIMIT ? FOR UPDATE SKIP LOCKED"
_TAKE = "UPDATE outbox SET ready = ?, owner = ? WHERE id IN ARRAY ?"
_DONE = "DELETE FROM outbox WHERE id IN ARRAY ?"
_RECLAIM = "UPDATE outbox SET ready = 0, owner = '' WHERE owner = ? AND ready IS NOT NULL"
_RETRY = "UPDATE outbox SET ready = ?, owner = '', attempts = attempts + 1, error = ? WHERE id = ?"
_FOR_ONE = "UPDATE outbox SET plugin = ? WHERE id = ?"
_COPY = (
    "INSERT INTO outbox (hook, payload, attempts, made, plugin, error, ready)"
    " SELECT hook, payload, attempts, made, ?, ?, ready FROM outbox WHERE id = ?"
)
_REPLAY = "UPDATE outbox SET ready = ?, attempts = 0 WHERE id IN ARRAY ? AND ready IS NULL"
_DISCARD = "DELETE FROM outbox WHERE id IN ARRAY ? AND ready IS NULL"
_COUNT = "SELECT count(*), coalesce(sum(CASE WHEN ready IS NULL THEN 1 ELSE 0 END), 0) FROM outbox"
_BURY = "UPDATE outbox SET ready = NULL, owner = '', attempts = attempts + 1, error = ? WHERE id = ?"


class SqlOutbox:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def lease(self, owner: str, limit: int, seconds: float, *, now: float) -> list[OutboxRow]:
        def look(connection: Connection) -> Any:
            return connection.execute(_ANY, (now,)).fetchone()

        def run(tx: Transaction) -> list[OutboxRow]:
            rows: list[Any] = tx.execute(_DUE, (now, limit)).fetchall()
            tx.execute(_TAKE, (now + seconds, owner, tx.array([row[0] for row in rows])))
            return [_row(row) for row in rows]

        return [] if await self._core.read(look) is None else await self._core.write(run)

    async def add(self, notifications: Sequence[Notification]) -> None:
        await self._core.write(lambda tx: notify(tx, self._core, notifications))

    async def done(self, rows: Sequence[int]) -> None:
        if rows:
            await self._core.write(lambda tx: tx.execute(_DONE, (tx.array(rows),)).rowcount)

    async def reclaim(self, owner: str) -> int:
        return await self._core.write(lambda tx: tx.execute(_RECLAIM, (owner,)).rowcount)

    async def retry(self, row: int, *, due: float, error: str, failed: Mapping[str, str] | None = None) -> None:
        def run(tx: Transaction) -> None:
            first, *others = (failed or {}).items() or (("", ""),)
            text = first[1] if failed else error
            if not tx.execute(_RETRY, (due, clean(text)[:1000], row)).rowcount or not failed:
                return
            tx.execute(_FOR_ONE, (first[0], row))
            tx.executemany(_COPY, [(plugin, clean(text)[:1000], row) for plugin, text in others])

        await self._core.write(run)

    async def bury(self, row: int, *, error: str) -> None:
        await self._core.execute(_BURY, clean(error)[:1000], row)

    async def list(self, *, dead: bool = False, rows: Sequence[int] = (), limit: int = 1000) -> list[OutboxRow]:
        def read(connection: Connection) -> list[OutboxRow]:
            where, params = " WHERE (ready IS NULL OR ? = 0)", list[Any]([int(dead)])
            if rows:
                where += " AND id IN ARRAY ?"
                params.append(connection.array(list(rows)))
            return [_row(row) for row in connection.execute(_FIELDS + where + " ORDER BY id LIMIT ?", (*params, limit)).fetchall()]

        return await self._core.read(read, big=True)

    async def replay(self, rows: Sequence[int], *, now: float) -> int:
        def run(tx: Transaction) -> int:
            count = tx.execute(_REPLAY, (now, tx.array(rows))).rowcount
            tx.effects.outbox |= count > 0
            return count

        return await self._core.write(run)

    async def discard(self, rows: Sequence[int]) -> int:
        return await self._core.write(lambda tx: tx.execute(_DISCARD, (tx.array(rows),)).rowcount)

    async def count(self) -> Mapping[str, int]:
        def read(connection: Connection) -> Mapping[str, int]:
            total, dead = connection.execute(_COUNT).fetchone()
            return {"total": int(total), "dead": int(dead)}

        return await self._core.read(read, big=True)


def _row(row: Any) -> OutboxRow:
    return OutboxRow(row[0], row[1], from_json(row[2]), row[3], row[4], row[5], row[6], row[7])
