"""Domains, users with their credentials, aliases."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable, Sequence
from typing import Protocol

from mta.model.address import Address
from mta.model.directory import Alias, Domain, User
from mta.model.ids import UserId


class Directory(Protocol):
    """Look-ups are on the path of every RCPT: one indexed read each. Changes are durable when they return."""

    async def domain(self, name: str) -> Domain | None: ...

    async def user(self, address: Address) -> User | None:
        """The account with exactly this address (local part compared in lower case)."""
        ...

    async def user_by_id(self, user: UserId) -> User | None: ...

    async def alias(self, source: str) -> Alias | None:
        """``source`` is ``local@domain`` (local in lower case) or ``@domain``."""
        ...

    async def password_hash(self, user: UserId) -> str | None:
        """The PHC string (argon2id) or None when the account has no password."""
        ...

    async def scram_keys(self, user: UserId) -> str | None:
        """What ``set_scram_keys`` was given for the password of now; None: nothing."""
        ...

    async def domains(self) -> list[Domain]: ...
    async def users(self, domain: str = "") -> list[User]: ...
    async def aliases(self, domain: str = "") -> list[Alias]: ...

    async def add_domain(self, domain: Domain) -> None:
        """Raises AlreadyExists."""
        ...

    async def delete_domain(self, name: str) -> None:
        """Raises NoSuchUser when unknown, AlreadyExists when users or aliases still live in it."""
        ...

    async def add_users(self, users: Sequence[tuple[Address, str]], progress: Callable[[int], None] | None = None) -> list[User]:
        """Add accounts with their password hashes and their standard mailboxes (INBOX, Drafts, Sent, Junk, Trash, Archive with special-use
        flags), all or none. Domains are made when missing. Raises AlreadyExists naming the first."""
        ...

    async def set_password(self, user: UserId, password_hash: str) -> None:
        """The keys of the old one go with it."""
        ...

    async def set_scram_keys(self, keys: Sequence[tuple[UserId, str, str]]) -> None:
        """(account, password hash, keys): kept for an account whose password hash is still that one, passed over otherwise."""
        ...

    async def set_quota(self, user: UserId, octets: int) -> None: ...
    async def set_enabled(self, user: UserId, enabled: bool) -> None: ...

    async def delete_user(self, user: UserId) -> None:
        """Removes the account and its mailboxes; octets go with the next sweep after ``undelete``."""
        ...

    async def add_alias(self, alias: Alias) -> None:
        """Raises AlreadyExists. Same source with other targets: delete first."""
        ...

    async def delete_alias(self, source: str) -> None:
        """Raises NoSuchUser."""
        ...
