"""Further passwords of accounts. See ``mta_hooks.backends.app_passwords``."""
# SPDX-License-Identifier: Apache-2.0

from typing import Any

from mta.model.errors import AlreadyExists, NoSuchUser
from mta.model.ids import UserId
from mta_hooks.backends.app_passwords import AppPassword
from mta_sql.core import Core
from mta_sql.dialect import Connection
from mta_sql.transaction import Transaction

_LIST = "SELECT name, tag, password_hash, scram, services, made, used FROM app_passwords WHERE user_id = ? ORDER BY name"
_USER = "SELECT 1 FROM users WHERE id = ? FOR UPDATE"
_ADD = (
    "INSERT INTO app_passwords (user_id, name, tag, password_hash, scram, services, made) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO NOTHING"
)
_REVOKE = "DELETE FROM app_passwords WHERE user_id = ? AND name = ?"
_USED = "UPDATE app_passwords SET used = ? WHERE user_id = ? AND name = ?"
DELETE_ALL = "DELETE FROM app_passwords WHERE user_id = ?"


class SqlAppPasswords:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def list(self, user: UserId) -> list[AppPassword]:
        def read(connection: Connection) -> list[Any]:
            return connection.execute(_LIST, (user,)).fetchall()

        return [
            AppPassword(name, tag, hash, scram, tuple(services.split()), made, used)
            for name, tag, hash, scram, services, made, used in await self._core.read(read)
        ]

    async def add(self, user: UserId, password: AppPassword) -> None:
        row = (user, password.name, password.tag, password.hash, password.scram, " ".join(password.services), password.made)

        def run(tx: Transaction) -> None:
            if tx.one(_USER, (user,)) is None:
                raise NoSuchUser(str(user))
            if tx.execute(_ADD, row).rowcount == 0:
                raise AlreadyExists(password.name)

        await self._core.write(run)

    async def revoke(self, user: UserId, name: str) -> None:
        def run(tx: Transaction) -> None:
            if tx.execute(_REVOKE, (user, name)).rowcount == 0:
                raise NoSuchUser(name)

        await self._core.write(run)

    async def note_use(self, user: UserId, name: str, at: float) -> None:
        await self._core.write(lambda tx: tx.execute(_USED, (at, user, name)))
