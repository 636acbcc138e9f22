"""``Directory``: domains, accounts, aliases. One indexed read per look-up."""
# SPDX-License-Identifier: Apache-2.0

import json
from collections.abc import Callable, Sequence
from typing import Any

from mta.model.address import Address
from mta.model.directory import Alias, Domain, User
from mta.model.errors import AlreadyExists, NoSuchUser
from mta.model.ids import UserId
from mta.model.mailbox_name import STANDARD
from mta_sql.app_passwords import DELETE_ALL, SqlAppPasswords
from mta_sql.core import Core
from mta_sql.dialect import Connection
from mta_sql.mailboxes import drop_mailbox
from mta_sql.text import lower_source
from mta_sql.transaction import Transaction

_DOMAIN = "SELECT name, kind FROM domains WHERE name = ?"
_DOMAINS = "SELECT name, kind FROM domains ORDER BY name"
_ADD_DOMAIN = "INSERT INTO domains (name, kind) VALUES (?, ?) ON CONFLICT DO NOTHING"
_DELETE_DOMAIN = "DELETE FROM domains WHERE name = ?"
_INHABITED = "SELECT 1 FROM users WHERE domain = ? UNION ALL SELECT 1 FROM aliases WHERE domain = ? LIMIT 1"
_USERS = (
    "SELECT id, local, domain, enabled, quota, (SELECT coalesce(sum(size), 0) FROM mailboxes WHERE user_id = users.id) FROM users"
)
_USER = _USERS + " WHERE domain = ? AND lowered = ?"
_USER_BY_ID = _USERS + " WHERE id = ?"
_HASH = "SELECT password_hash FROM users WHERE id = ?"
_SET_HASH = "UPDATE users SET password_hash = ?, scram = NULL WHERE id = ?"
_KEYS = "SELECT scram FROM users WHERE id = ?"
_SET_KEYS = "UPDATE users SET scram = ? WHERE id = ? AND password_hash = ?"
_ADD_USER = "INSERT INTO users (domain, local, lowered, password_hash) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING id"
_ADD_MAILBOX = "INSERT INTO mailboxes (user_id, name, special_use, uid_validity) VALUES (?, ?, ?, ?)"
_TAKE_VALIDITIES = "UPDATE counters SET value = value + ? WHERE name = 'uid_validity' RETURNING value"
_SUBSCRIBE = "INSERT INTO subscriptions (user_id, name) VALUES (?, ?)"
_DELETE_RIGHTS = "DELETE FROM acl WHERE identifier = (SELECT ? || lowered || '@' || domain FROM users WHERE id = ?)"
_ALIAS = "SELECT source, targets FROM aliases WHERE source = ?"
_ALIASES = "SELECT source, targets FROM aliases"
_ADD_ALIAS = "INSERT INTO aliases (source, domain, targets) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_DELETE_ALIAS = "DELETE FROM aliases WHERE source = ?"


def _user(row: Any) -> User:
    return User(UserId(row[0]), Address(row[1], row[2]), bool(row[3]), row[4], int(row[5]))


def _alias(row: Any) -> Alias:
    return Alias(row[0], tuple(json.loads(row[1])))


class SqlDirectory:
    def __init__(self, core: Core) -> None:
        self._core = core
        self.app_passwords = SqlAppPasswords(core)

    # ---- look-ups

    async def domain(self, name: str) -> Domain | None:
        row = await self._one(_DOMAIN, name.lower())
        return None if row is None else Domain(row[0], row[1])

    async def user(self, address: Address) -> User | None:
        row = await self._one(_USER, address.domain, address.local.lower())
        return None if row is None else _user(row)

    async def user_by_id(self, user: UserId) -> User | None:
        row = await self._one(_USER_BY_ID, user)
        return None if row is None else _user(row)

    async def alias(self, source: str) -> Alias | None:
        row = await self._one(_ALIAS, _source(source))
        return None if row is None else _alias(row)

    async def password_hash(self, user: UserId) -> str | None:
        row = await self._one(_HASH, user)
        return None if row is None else row[0]

    async def scram_keys(self, user: UserId) -> str | None:
        row = await self._one(_KEYS, user)
        return None if row is None else row[0]

    async def domains(self) -> list[Domain]:
        return [Domain(row[0], row[1]) for row in await self._all(_DOMAINS)]

    async def users(self, domain: str = "") -> list[User]:
        where, params = (" WHERE domain = ?", (domain.lower(),)) if domain else ("", ())
        return [_user(row) for row in await self._all(_USERS + where + " ORDER BY domain, lowered", *params)]

    async def aliases(self, domain: str = "") -> list[Alias]:
        where, params = (" WHERE domain = ?", (domain.lower(),)) if domain else ("", ())
        return [_alias(row) for row in await self._all(_ALIASES + where + " ORDER BY source", *params)]

    async def _one(self, sql: str, *params: Any) -> Any:
        def read(connection: Connection) -> Any:
            return connection.execute(sql, params).fetchone()

        return await self._core.read(read)

    async def _all(self, sql: str, *params: Any) -> list[Any]:
        def read(connection: Connection) -> list[Any]:
            return connection.execute(sql, params).fetchall()

        return await self._core.read(read, big=True)

    # ---- changes

    async def add_domain(self, domain: Domain) -> None:
        def run(tx: Transaction) -> None:
            if tx.execute(_ADD_DOMAIN, (domain.name, domain.kind)).rowcount == 0:
                raise AlreadyExists(domain.name)

        await self._core.write(run)

    async def delete_domain(self, name: str) -> None:
        name = name.lower()

        def run(tx: Transaction) -> None:
            if tx.one(_INHABITED, (name, name)) is not None:
                raise AlreadyExists(f"{name} still has users or aliases")
            _require(tx.execute(_DELETE_DOMAIN, (name,)).rowcount, name)

        await self._core.write(run)

    async def add_users(self, users: Sequence[tuple[Address, str]], progress: Callable[[int], None] | None = None) -> list[User]:
        added = await self._core.write(lambda tx: _add_users(tx, users))
        if progress is not None:
            progress(len(added))
        return added

    async def set_password(self, user: UserId, password_hash: str) -> None:
        await self._core.write(lambda tx: _require(tx.execute(_SET_HASH, (password_hash, user)).rowcount, str(user)))

    async def set_scram_keys(self, keys: Sequence[tuple[UserId, str, str]]) -> None:
        await self._core.write(lambda tx: tx.executemany(_SET_KEYS, [(text, user, hash) for user, hash, text in keys]))

    async def set_quota(self, user: UserId, octets: int) -> None:
        await self._set(user, "quota", octets)

    async def set_enabled(self, user: UserId, enabled: bool) -> None:
        await self._set(user, "enabled", int(enabled))

    async def _set(self, user: UserId, column: str, value: object) -> None:
        def run(tx: Transaction) -> None:
            _require(tx.execute(f"UPDATE users SET {column} = ? WHERE id = ?", (value, user)).rowcount, str(user))  # noqa: S608

        await self._core.write(run)

    async def delete_user(self, user: UserId) -> None:
        def run(tx: Transaction) -> None:
            for row in tx.execute("SELECT id FROM mailboxes WHERE user_id = ? ORDER BY id FOR UPDATE", (user,)).fetchall():
                drop_mailbox(tx, self._core, row[0])
            tx.execute("DELETE FROM subscriptions WHERE user_id = ?", (user,))
            tx.execute("DELETE FROM annotations WHERE user_id = ?", (user,))
            tx.execute(DELETE_ALL, (user,))
            for sign in ("", "-"):  # a new account of this name has nothing of what others gave the old one
                tx.execute(_DELETE_RIGHTS, (sign, user))
            _require(tx.execute("DELETE FROM users WHERE id = ?", (user,)).rowcount, str(user))

        await self._core.write(run)

    async def add_alias(self, alias: Alias) -> None:
        source = _source(alias.source)

        def run(tx: Transaction) -> None:
            row = (source, source.rpartition("@")[2], json.dumps(alias.targets))
            if tx.execute(_ADD_ALIAS, row).rowcount == 0:
                raise AlreadyExists(source)

        await self._core.write(run)

    async def delete_alias(self, source: str) -> None:
        source = _source(source)
        await self._core.write(lambda tx: _require(tx.execute(_DELETE_ALIAS, (source,)).rowcount, source))


def _source(source: str) -> str:
    local, _, domain = source.rpartition("@")
    return lower_source(local, domain.lower())


def _require(found: int, name: str) -> None:
    if not found:
        raise NoSuchUser(name)


def _add_users(tx: Transaction, users: Sequence[tuple[Address, str]]) -> list[User]:
    """Accounts with their standard mailboxes, subscribed."""
    tx.executemany(_ADD_DOMAIN, [(domain, "local") for domain in sorted({address.domain for address, _ in users})])
    last: Any = tx.one(_TAKE_VALIDITIES, (len(users) * len(STANDARD),))
    validity = last[0] - len(users) * len(STANDARD)
    added: list[User] = []
    mailboxes: list[tuple[Any, ...]] = []
    for address, password_hash in users:
        row: Any = tx.one(_ADD_USER, (address.domain, address.local, address.local.lower(), password_hash))
        if row is None:
            raise AlreadyExists(str(address))
        added.append(User(UserId(row[0]), address))
        for name, special_use in STANDARD:
            validity += 1
            mailboxes.append((row[0], name, special_use, validity))
    tx.executemany(_ADD_MAILBOX, mailboxes)
    tx.executemany(_SUBSCRIBE, [mailbox[:2] for mailbox in mailboxes])
    return added
