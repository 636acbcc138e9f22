"""``KeyValues``: the state that plugins keep through ``ctx.kv``."""
# SPDX-License-Identifier: Apache-2.0

from mta_sql.core import Core
from mta_sql.dialect import Connection

_GET = "SELECT value FROM key_values WHERE plugin = ? AND name = ? AND (expires IS NULL OR expires > ?)"
_SET = (
    "INSERT INTO key_values (plugin, name, value, expires) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (plugin, name) DO UPDATE SET value = excluded.value, expires = excluded.expires"
)
_DELETE = "DELETE FROM key_values WHERE plugin = ? AND name = ?"


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
