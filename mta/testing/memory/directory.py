"""``Directory`` in memory."""
# SPDX-License-Identifier: Apache-2.0

import dataclasses
from collections.abc import Callable, Sequence

from mta.model.address import Address
from mta.model.directory import Alias, Domain, User
from mta.model.errors import AlreadyExists, NoSuchUser
from mta.model.ids import UserId
from mta.model.mailbox_name import STANDARD
from mta.testing.memory.app_passwords import MemoryAppPasswords
from mta.testing.memory.data import Account, Change, Data
from mta_hooks.backends.database import DatabaseOptions


class MemoryDirectory:
    def __init__(self, data: Data, options: DatabaseOptions) -> None:
        self._data = data
        self.app_passwords = MemoryAppPasswords(data)
        self._options = options

    async def domain(self, name: str) -> Domain | None:
        return self._data.domains.get(name.lower())

    async def user(self, address: Address) -> User | None:
        wanted = (address.local.lower(), address.domain)
        for account in self._data.accounts.values():
            if (account.user.address.local.lower(), account.user.address.domain) == wanted:
                return self._shown(account)
        return None

    async def user_by_id(self, user: UserId) -> User | None:
        account = self._data.accounts.get(user)
        return None if account is None else self._shown(account)

    def _shown(self, account: Account) -> User:
        return dataclasses.replace(account.user, used=self._data.used(account.user.id))

    async def alias(self, source: str) -> Alias | None:
        return self._data.aliases.get(source.lower())

    async def password_hash(self, user: UserId) -> str | None:
        account = self._data.accounts.get(user)
        return None if account is None else account.password_hash

    async def scram_keys(self, user: UserId) -> str | None:
        account = self._data.accounts.get(user)
        return None if account is None else account.scram

    async def domains(self) -> list[Domain]:
        return sorted(self._data.domains.values(), key=lambda domain: domain.name)

    async def users(self, domain: str = "") -> list[User]:
        found = [self._shown(a) for a in self._data.accounts.values() if domain.lower() in ("", a.user.address.domain)]
        return sorted(found, key=lambda user: (user.address.domain, user.address.local.lower()))

    async def aliases(self, domain: str = "") -> list[Alias]:
        found = [a for a in self._data.aliases.values() if domain.lower() in ("", a.source.rpartition("@")[2])]
        return sorted(found, key=lambda alias: alias.source)

    async def add_domain(self, domain: Domain) -> None:
        if domain.name in self._data.domains:
            raise AlreadyExists(domain.name)
        self._data.domains[domain.name] = domain

    async def delete_domain(self, name: str) -> None:
        name = name.lower()
        if await self.users(name) or await self.aliases(name):
            raise AlreadyExists(f"{name} still has users or aliases")
        if self._data.domains.pop(name, None) is None:
            raise NoSuchUser(name)

    async def add_users(self, users: Sequence[tuple[Address, str]], progress: Callable[[int], None] | None = None) -> list[User]:
        seen: set[tuple[str, str]] = set()
        for address, _ in users:
            key = (address.local.lower(), address.domain)
            if key in seen or await self.user(address) is not None:
                raise AlreadyExists(str(address))
            seen.add(key)
        added = []
        for address, password_hash in users:
            user = User(UserId(self._data.next()), address)
            self._data.domains.setdefault(address.domain, Domain(address.domain))
            self._data.accounts[user.id] = Account(user, password_hash)
            for name, special_use in STANDARD:
                self._data.make(user.id, name, special_use)
            self._data.subscriptions[user.id] = {name for name, _ in STANDARD}
            added.append(user)
        if progress is not None:
            progress(len(added))
        return added

    async def set_password(self, user: UserId, password_hash: str) -> None:
        account = self._account(user)
        account.password_hash, account.scram = password_hash, None

    async def set_scram_keys(self, keys: Sequence[tuple[UserId, str, str]]) -> None:
        for user, password_hash, text in keys:
            account = self._data.accounts.get(user)
            if account is not None and account.password_hash == password_hash:
                account.scram = text

    async def set_quota(self, user: UserId, octets: int) -> None:
        account = self._account(user)
        account.user = dataclasses.replace(account.user, quota=octets)

    async def set_enabled(self, user: UserId, enabled: bool) -> None:
        account = self._account(user)
        account.user = dataclasses.replace(account.user, enabled=enabled)

    async def delete_user(self, user: UserId) -> None:
        self._account(user)
        with Change(self._data, self._options) as change:
            for mailbox in [m for m in self._data.mailboxes.values() if m.user == user]:
                self._data.drop(mailbox, change)
            self._data.subscriptions.pop(user, None)
            name = str(self._data.accounts[user].user.address).lower()
            for mailbox in self._data.mailboxes.values():
                for sign in ("", "-"):
                    mailbox.acl.pop(sign + name, None)
            for key in [key for key in self._data.annotations if key[1] == user]:
                del self._data.annotations[key]
            del self._data.accounts[user]

    def _account(self, user: UserId) -> Account:
        try:
            return self._data.accounts[user]
        except KeyError:
            raise NoSuchUser(str(user)) from None

    async def add_alias(self, alias: Alias) -> None:
        source = alias.source.lower()
        if source in self._data.aliases:
            raise AlreadyExists(source)
        self._data.aliases[source] = Alias(source, tuple(alias.targets))

    async def delete_alias(self, source: str) -> None:
        if self._data.aliases.pop(source.lower(), None) is None:
            raise NoSuchUser(source)
