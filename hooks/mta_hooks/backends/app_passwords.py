"""Further passwords of an account, one for each program: what a directory may offer beyond ``Directory``, as ``app_passwords``."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass, field
from typing import Any, Protocol

from mta.model.ids import UserId


@dataclass(frozen=True, slots=True)
class AppPassword:
    """One of them.

    name      what its owner calls it; one of this name for each account
    tag       the first letters of the password, by which it is found: a wrong one must not cost a hash for each that there is
    hash      argon2id, PHC string
    scram     keys as ``Directory.set_scram_keys`` has them; "" without
    services  "smtp", "imap", "pop3", "http", "sieve"; empty: all
    made      wall clock; used: of the last login, about; None: never
    """

    name: str
    tag: str
    hash: str = field(repr=False)
    scram: str = field(default="", repr=False)
    services: tuple[str, ...] = ()
    made: float = 0.0
    used: float | None = None


class AppPasswords(Protocol):
    """They go with their account; a new password of the account does not touch them."""

    async def list(self, user: UserId) -> list[AppPassword]:
        """By name."""
        ...

    async def add(self, user: UserId, password: AppPassword) -> None:
        """Raises AlreadyExists for a name that is there, NoSuchUser."""
        ...

    async def revoke(self, user: UserId, name: str) -> None:
        """Raises NoSuchUser when there is none of this name."""
        ...

    async def note_use(self, user: UserId, name: str, at: float) -> None:
        """Nothing happens when it is gone."""
        ...


def app_passwords_of(directory: Any) -> AppPasswords | None:
    """What this directory has of them."""
    return getattr(directory, "app_passwords", None)
