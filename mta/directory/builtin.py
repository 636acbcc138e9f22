"""The accounts of our own database as an ordinary plugin: the last to be asked, after every other directory.

Answers about recipients are remembered for ``FRESH`` seconds, since one message to fifty people asks fifty times, and the
next one again. ``forget`` is called when a command changed the directory, so a change is seen at once on this machine and a
second later on another. Unknown recipients are never remembered. A user deleted meanwhile is noticed by the transaction.
"""
# SPDX-License-Identifier: Apache-2.0

import hmac
import time
from collections.abc import Callable
from contextlib import suppress

from mta.directory.app_passwords import normalised, serves, tag_of
from mta.directory.passwords import Passwords
from mta.model.address import Address
from mta.model.directory import AliasTarget, AuthAnswer, AuthFail, AuthOk, Domain, MailboxTarget, StoredKeys, User
from mta.model.errors import TemporaryFailure
from mta.model.ids import UserId
from mta.wire.sasl.scram import parse_keys
from mta_hooks import hookimpl
from mta_hooks.backends import Directory
from mta_hooks.backends.app_passwords import AppPasswords, app_passwords_of

FRESH = 1.0
_USE_NOTED_EVERY = 3600.0
"""Seconds: a write for each login would be too many."""
_MOST = 10_000
"""Addresses remembered; then all are forgotten: keeping order would cost more than asking again."""


class DirectoryPlugin:
    """Answers the directory hooks from ``mta_hooks.backends.Directory``; registered last, under the name "directory"."""

    def __init__(
        self,
        directory: Directory,
        passwords: Passwords,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        keep_keys: bool = False,
    ) -> None:
        """``keep_keys``: accounts whose password was set before there were SCRAM keys get them when they log in with it."""
        self._directory = directory
        self._app_passwords = app_passwords_of(directory)
        self._passwords = passwords
        self._monotonic = monotonic
        self._keep_keys = keep_keys
        self._keyed: set[tuple[UserId, str]] = set()
        self._aliases: dict[Address, AliasTarget | None] = {}
        self._mailboxes: dict[Address, MailboxTarget] = {}
        self._stale_at = 0.0

    def forget(self) -> None:
        """The directory has changed."""
        self._aliases.clear()
        self._mailboxes.clear()

    def _refresh(self) -> None:
        now = self._monotonic()
        if now >= self._stale_at or len(self._aliases) >= _MOST:
            self.forget()
            self._stale_at = now + FRESH

    @hookimpl
    async def domain_lookup(self, domain: str) -> Domain | None:
        return await self._directory.domain(domain)

    @hookimpl
    async def alias_expand(self, address: Address) -> AliasTarget | None:
        self._refresh()
        if address in self._aliases:
            return self._aliases[address]
        alias = await self._directory.alias(f"{address.local.lower()}@{address.domain}")
        target = AliasTarget(alias.targets) if alias is not None else None
        if target is not None or address in self._mailboxes:
            self._aliases[address] = target
        return target

    @hookimpl
    async def recipient_lookup(self, address: Address) -> MailboxTarget | None:
        if not address.local:
            return None  # catch-alls of ours are aliases
        if (known := self._mailboxes.get(address)) is not None:
            return known
        user = await self._directory.user(address)
        if user is None:
            return None
        target = self._mailboxes[address] = MailboxTarget(user.id, user.address)
        return target

    @hookimpl
    async def user_lookup(self, username: str) -> User | None:
        return await self._account(username)

    @hookimpl
    async def auth_verify(self, service: str, username: str, credential: str) -> AuthAnswer | None:
        user = await self._account(username)
        if self._app_passwords is not None and user is not None and (written := normalised(credential)) is not None:
            answer = await self._by_app_password(self._app_passwords, user, service, written)
            if answer is not None:
                return answer
        stored = await self._directory.password_hash(user.id) if user is not None else None
        if not await self._passwords.verify(stored, credential):  # unknown accounts take as long as wrong passwords
            return AuthFail("wrong password") if user is not None else None
        if user is None or not user.enabled:
            return AuthFail("account is disabled")
        if self._keep_keys and stored is not None and (user.id, stored) not in self._keyed:
            await self._add_keys(user.id, stored, credential)
        return AuthOk(str(user.address), user.id)

    async def _by_app_password(self, kept: AppPasswords, user: User, service: str, written: str) -> AuthAnswer | None:
        """None: it is none, or a wrong one. At most one hash is tried: the tag says which."""
        found = next((one for one in await kept.list(user.id) if hmac.compare_digest(one.tag, tag_of(written))), None)
        if found is None or not await self._passwords.verify(found.hash, written):
            return None
        if not user.enabled:
            return AuthFail("account is disabled")
        if not serves(found, service):
            return AuthFail(f"app password {found.name} is not for {service}")
        now = time.time()
        if found.used is None or abs(now - found.used) > _USE_NOTED_EVERY:
            with suppress(TemporaryFailure):
                await kept.note_use(user.id, found.name, now)
        return AuthOk(str(user.address), user.id, found.name)

    @hookimpl
    async def credentials_lookup(self, service: str, username: str) -> StoredKeys | None:
        user = await self._account(username)
        number = user.id if user is not None else UserId(0)  # nobody takes as long as somebody
        text = await self._directory.scram_keys(number)
        others = await self._app_passwords.list(number) if self._app_passwords is not None else []
        if user is None or not user.enabled:
            return None
        texts = [text] if text else []
        texts += [one.scram for one in others if one.scram and serves(one, service)]
        keys = tuple(parse_keys(line) for text in texts for line in text.split("\n"))
        return StoredKeys(str(user.address), keys) if keys else None

    async def _add_keys(self, user: UserId, stored: str, password: str) -> None:
        """Once for each password and process. The login does not fail with it."""
        if len(self._keyed) >= _MOST:
            self._keyed.clear()
        self._keyed.add((user, stored))
        with suppress(TemporaryFailure):
            if await self._directory.scram_keys(user) is None:
                others = await self._app_passwords.list(user) if self._app_passwords is not None else []
                like = next((one.scram for one in others if one.scram), "")
                await self._directory.set_scram_keys([(user, stored, await self._passwords.scram_keys(password, like))])

    async def _account(self, username: str) -> User | None:
        try:
            address = Address.parse(username)
        except ValueError:
            return None
        return await self._directory.user(address)
