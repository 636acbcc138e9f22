"""Accounts that somebody else keeps (config ``directory``), as a plugin before the built-in directory.

The database's own accounts and aliases come first. What only a directory elsewhere knows gets an account in the database, without a
password and marked as such, when mail or a login first comes for it, so that mailboxes, quotas and ids are those of every account.
For marked accounts the directory is asked each time: one that is gone there receives nothing (550 5.1.1) and cannot log in.
Left out: changing what is elsewhere; its quotas.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from mta.model.address import Address
from mta.model.directory import Alias, AliasTarget, AuthAnswer, AuthFail, AuthOk, Domain, MailboxTarget, NotFound, User
from mta.model.errors import AlreadyExists, TemporaryFailure
from mta.model.ids import UserId
from mta_hooks import hookimpl
from mta_hooks.backends import Account, Accounts

ELSEWHERE = "!elsewhere"
"""In place of a password's hash; no password has it."""


class OwnDirectory(Protocol):
    """What is needed of ``mta_hooks.backends.Directory``."""

    async def domain(self, name: str) -> Domain | None: ...
    async def alias(self, source: str) -> Alias | None: ...
    async def user(self, address: Address) -> User | None: ...
    async def password_hash(self, user: UserId) -> str | None: ...
    async def add_users(self, users: Sequence[tuple[Address, str]]) -> list[User]: ...


class ElsewherePlugin:
    """Answers the directory hooks from ``mta_hooks.backends.Accounts``, in the order of the config."""

    def __init__(self, directory: OwnDirectory, others: Sequence[Accounts]) -> None:
        self._directory = directory
        self._others = others

    @hookimpl
    async def domain_lookup(self, domain: str) -> Domain | None:
        if await self._directory.domain(domain) is not None:
            return None
        for other in self._others:
            if (found := await other.domain(domain)) is not None:
                return found
        return None

    @hookimpl
    async def alias_expand(self, address: Address) -> AliasTarget | None:
        source = f"{address.local.lower()}@{address.domain}"
        if await self._directory.alias(source) is not None:
            return None
        for other in self._others:
            if (found := await other.alias(source)) is not None:
                return AliasTarget(found.targets)
        return None

    @hookimpl
    async def recipient_lookup(self, address: Address) -> MailboxTarget | NotFound | None:
        if not address.local:
            return None
        own = await self._directory.user(address)
        if own is not None and not await self._is_marked(own):
            return None
        found = await self._find(address)
        if found is None:
            return None if own is None else NotFound()
        user = await self._account(found[1])
        return MailboxTarget(user.id, user.address)

    @hookimpl
    async def user_lookup(self, username: str) -> User | None:
        address = _parsed(username)
        own = await self._directory.user(address) if address is not None else None
        if address is None or (own is not None and not await self._is_marked(own)):
            return None
        found = await self._find(address)
        if found is None:
            return None if own is None else replace(own, enabled=False)
        user = await self._account(found[1])
        return user if found[1].enabled else replace(user, enabled=False)

    @hookimpl
    async def auth_verify(self, username: str, credential: str) -> AuthAnswer | None:
        address = _parsed(username)
        own = await self._directory.user(address) if address is not None else None
        if address is None or (own is not None and not await self._is_marked(own)):
            return None
        found = await self._find(address)
        if found is None:
            return None if own is None else AuthFail("account is gone")
        other, account = found
        right = await other.verify(account, credential)
        if right is None:
            return None
        if not right or not account.enabled:
            return AuthFail("account is disabled" if right else "wrong password")
        user = await self._account(account)
        return AuthOk(str(user.address), user.id) if user.enabled else AuthFail("account is disabled")

    async def _find(self, address: Address) -> tuple[Accounts, Account] | None:
        for other in self._others:
            if (account := await other.account(address)) is not None:
                return other, account
        return None

    async def _is_marked(self, user: User) -> bool:
        return await self._directory.password_hash(user.id) == ELSEWHERE

    async def _account(self, account: Account) -> User:
        """The account in the database that stands for it, made when it is missing."""
        if (user := await self._directory.user(account.address)) is None:
            try:
                [user] = await self._directory.add_users([(account.address, ELSEWHERE)])
            except AlreadyExists:  # another worker
                user = await self._directory.user(account.address)
        if user is None:
            raise TemporaryFailure(f"{account.address}: the account came and went")
        return user


def _parsed(username: str) -> Address | None:
    try:
        return Address.parse(username)
    except ValueError:
        return None
