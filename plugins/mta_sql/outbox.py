"""``Outbox``: durable notifications, leased like queue rows; dead letters have no ``ready`` time."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from typing import Any

from mta_hooks.backends.database import OutboxRow
from mta_sql.core import Core
from mta_sql.dialect import Connection
from mta_sql.text import clean, from_json
from mta_sql.transaction import Transaction

_ANY = "SELECT 1 FROM outbox WHERE ready <= ? LIMIT 1"
_DUE = "SELECT id, hook, payload, attempts FROM outbox WHERE ready <= ? ORDER BY ready, id LIMIT ? FOR UPDATE SKIP LOCKED"
_TAKE = "UPDATE outbox SET ready = ?, owner = ? WHERE id IN ARRAY ?"
_DONE = "DELETE FROM outbox WHERE id IN ARRAY ?"
_RETRY = "UPDATE outbox SET ready = ?, owner = '', attempts = attempts + 1, error = ? WHERE id = ?"
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
            return [OutboxRow(row[0], row[1], from_json(row[2]), row[3]) for row in rows]

        return [] if await self._core.read(look) is None else await self._core.write(run)

    async def done(self, rows: Sequence[int]) -> None:
        if rows:
            await self._core.write(lambda tx: tx.execute(_DONE, (tx.array(rows),)).rowcount)

    async def retry(self, row: int, *, due: float, error: str) -> None:
        await self._core.execute(_RETRY, due, clean(error)[:1000], row)

    async def bury(self, row: int, *, error: str) -> None:
        await self._core.execute(_BURY, clean(error)[:1000], row)
