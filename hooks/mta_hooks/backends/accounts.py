"""Accounts that somebody else keeps: the system, a company's directory."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass
from typing import Protocol

from mta.model.address import Address
from mta.model.directory import Alias, Domain


@dataclass(frozen=True, slots=True)
class Account:
    """``address`` is the canonical one: the same for every address of the account, and the name of its mailbox here."""

    address: Address
    enabled: bool = True
    """False: receives, and cannot log in."""


@dataclass(frozen=True, slots=True)
class AccountsOptions:
    """What the engine tells: the folder for files of its own, the server's name, the domains of the config."""

    data_dir: str
    hostname: str
    domains: tuple[str, ...] = ()


class Accounts(Protocol):
    """Read only: ``registry.backend("directory", scheme, factory)``, ``factory(url, options)``, named in the config's ``directory``.

    Asked for what the database does not know, on the path of every RCPT and login: within a millisecond, or from memory; never
    blocking the event loop. An account gets its mailbox here when it is first asked for; one that is gone receives nothing more,
    and its mailbox stays. "Cannot be asked" is TemporaryFailure, never "does not exist": that would bounce mail.
    """

    async def open(self) -> None:
        """Raises ConfigError for a place that cannot be used; whoever is away for now is no error here."""
        ...

    async def close(self) -> None: ...

    async def domain(self, name: str) -> Domain | None:
        """``name`` in lower case."""
        ...

    async def account(self, address: Address) -> Account | None:
        """By any of its addresses, the local part in any case."""
        ...

    async def alias(self, source: str) -> Alias | None:
        """``source`` is ``local@domain`` (local in lower case) or ``@domain``."""
        ...

    async def verify(self, account: Account, password: str) -> bool | None:
        """None: passwords are not known here, others may know them."""
        ...
