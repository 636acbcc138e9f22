"""The accounts of our own database as an ordinary plugin: the last to be asked, after every other directory."""
# SPDX-License-Identifier: Apache-2.0

from mta.directory.passwords import Passwords
from mta.model.address import Address
from mta.model.directory import AliasTarget, AuthAnswer, AuthFail, AuthOk, Domain, MailboxTarget, User
from mta_hooks import hookimpl
from mta_hooks.backends import Directory


class DirectoryPlugin:
    """Answers the directory hooks from ``mta_hooks.backends.Directory``; registered last, under the name "directory"."""

    def __init__(self, directory: Directory, passwords: Passwords) -> None:
        self._directory = directory
        self._passwords = passwords

    @hookimpl
    async def domain_lookup(self, domain: str) -> Domain | None:
        return await self._directory.domain(domain)

    @hookimpl
    async def alias_expand(self, address: Address) -> AliasTarget | None:
        alias = await self._directory.alias(f"{address.local.lower()}@{address.domain}")
        return AliasTarget(alias.targets) if alias is not None else None

    @hookimpl
    async def recipient_lookup(self, address: Address) -> MailboxTarget | None:
        if not address.local:
            return None  # catch-alls of ours are aliases
        user = await self._directory.user(address)
        return MailboxTarget(user.id, user.address) if user is not None else None

    @hookimpl
    async def user_lookup(self, username: str) -> User | None:
        return await self._account(username)

    @hookimpl
    async def auth_verify(self, username: str, credential: str) -> AuthAnswer | None:
        user = await self._account(username)
        stored = await self._directory.password_hash(user.id) if user is not None else None
        if not await self._passwords.verify(stored, credential):  # unknown accounts take as long as wrong passwords
            return AuthFail("wrong password") if user is not None else None
        if user is None or not user.enabled:
            return AuthFail("account is disabled")
        return AuthOk(str(user.address), user.id)

    async def _account(self, username: str) -> User | None:
        try:
            address = Address.parse(username)
        except ValueError:
            return None
        return await self._directory.user(address)
