"""The system's users as accounts: ``directory: unix:``.

Whoever ``getpwnam`` knows receives mail, users of sssd, LDAP or Active Directory that are bound to the system among them; the
plugin pam lets them log in. ``unix:/path`` reads a file in the form of /etc/passwd instead. Left out: aliases, passwords.
"""
# SPDX-License-Identifier: Apache-2.0

from typing import TYPE_CHECKING

from mta_hooks import hookimpl

if TYPE_CHECKING:
    from mta_hooks.backends import Accounts, AccountsOptions
    from mta_hooks.services import Registry


def open_accounts(url: str, options: "AccountsOptions") -> "Accounts":
    """Raises ConfigError."""
    from mta_unix.accounts import UnixAccounts
    from mta_unix.place import Place

    return UnixAccounts(Place.of(url, options))


@hookimpl
def register(registry: "Registry") -> None:
    registry.backend("directory", "unix", open_accounts)
