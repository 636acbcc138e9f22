"""``Traces`` and ``KeyValues``.

A trace is found by queue id through its index; by Message-ID or address by scanning from the newest, in a thread: operators
ask rarely, and an index on addresses would cost every message two page writes at random places.
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Any

from mta.model.ids import QueueId
from mta_hooks.backends.database import TraceRecord
from mta_sql.core import Core
from mta_sql.dialect import Connection
from mta_sql.queue_admin import like
from mta_sql.text import clean, from_json

_FIELDS = "SELECT queue_id, made, origin, sender, message_id, size, client, login, steps FROM traces"
_BY_ID = _FIELDS + " WHERE queue_id = ?"
_SCAN = (
    _FIELDS + " WHERE message_id = ? OR message_id = ? OR lower(sender) = ? OR recipients LIKE ? ESCAPE '!'"
    " ORDER BY made DESC, id DESC LIMIT ?"
)
_STEPS = "SELECT queue_id, step FROM trace_steps WHERE queue_id IN ARRAY ? ORDER BY id"
_GET = "SELECT value FROM key_values WHERE plugin = ? AND name = ? AND (expires IS NULL OR expires > ?)"
_SET = (
    "INSERT INTO key_values (plugin, name, value, expires) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (plugin, name) DO UPDATE SET value = excluded.value, expires = excluded.expires"
)
_DELETE = "DELETE FROM key_values WHERE plugin = ? AND name = ?"


class SqlTraces:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def find(self, text: str, *, limit: int = 50) -> list[TraceRecord]:
        return await self._core.read(lambda connection: _find(connection, clean(text), limit), big=True)


def _find(connection: Connection, text: str, limit: int) -> list[TraceRecord]:
    rows = connection.execute(_BY_ID, (text,)).fetchall()
    if not rows:
        bare = text.strip("<>")
        pattern = f"%\n{like(bare)}\n%"
        rows = connection.execute(_SCAN, (bare, f"<{bare}>", bare.lower(), pattern, limit)).fetchall()
    steps: dict[str, list[Any]] = {row[0]: from_json(row[8]) for row in rows}
    for queue_id, step in connection.execute(_STEPS, (connection.array(list(steps)),)).fetchall():
        steps[queue_id].append(from_json(step))
    return [TraceRecord(QueueId(r[0]), r[1], r[2], r[3], r[4], r[5], r[6], r[7], steps[r[0]]) for r in rows]


class SqlKeyValues:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def get(self, plugin: str, key: str, *, now: float) -> bytes | None:
        def read(connection: Connection) -> bytes | None:
            row = connection.execute(_GET, (plugin, key, now)).fetchone()
            return None if row is None else bytes(row[0])

        return await self._core.read(read)

    async def set(self, plugin: str, key: str, value: bytes, *, expires: float | None) -> None:
        await self._core.execute(_SET, plugin, key, value, expires)

    async def delete(self, plugin: str, key: str) -> None:
        await self._core.execute(_DELETE, plugin, key)
