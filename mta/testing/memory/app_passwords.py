"""``AppPasswords`` in memory."""
# SPDX-License-Identifier: Apache-2.0

import dataclasses

from mta.model.errors import AlreadyExists, NoSuchUser
from mta.model.ids import UserId
from mta.testing.memory.data import Data
from mta_hooks.backends.app_passwords import AppPassword


class MemoryAppPasswords:
    def __init__(self, data: Data) -> None:
        self._data = data

    async def list(self, user: UserId) -> list[AppPassword]:
        account = self._data.accounts.get(user)
        return [] if account is None else sorted(account.app_passwords.values(), key=lambda one: one.name)

    async def add(self, user: UserId, password: AppPassword) -> None:
        if (account := self._data.accounts.get(user)) is None:
            raise NoSuchUser(str(user))
        if password.name in account.app_passwords:
            raise AlreadyExists(password.name)
        account.app_passwords[password.name] = password

    async def revoke(self, user: UserId, name: str) -> None:
        account = self._data.accounts.get(user)
        if account is None or account.app_passwords.pop(name, None) is None:
            raise NoSuchUser(name)

    async def note_use(self, user: UserId, name: str, at: float) -> None:
        account = self._data.accounts.get(user)
        if account is not None and (found := account.app_passwords.get(name)) is not None:
            account.app_passwords[name] = dataclasses.replace(found, used=at)
