"""Who may send as whom (RFC 6409 §6.1): as himself, as an alias of his, as those that the config gives him."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence

from mta.directory.resolve import Resolver
from mta.model.address import Address
from mta.model.directory import MailboxTarget
from mta.model.ids import UserId


class Senders:
    """``table``: address or "@domain" to the accounts that may send as it."""

    def __init__(self, resolver: Resolver, table: Mapping[str, Sequence[str]]) -> None:
        self._resolver = resolver
        self._table = {given.lower(): frozenset(user.lower() for user in users) for given, users in table.items()}

    async def may_use(self, address: Address, user: str, id: UserId | None) -> bool:
        """May the account ``user`` (``id``, when it has mailboxes here) send as ``address``? Raises TemporaryFailure."""
        user = user.lower()
        if is_named(address, user):
            return True
        if self._table and (user in self._table.get(str(address).lower(), ()) or user in self._table.get(f"@{address.domain}", ())):
            return True
        resolution = await self._resolver.resolve(address)
        return any(
            isinstance(target, MailboxTarget) and (target.user == id or str(target.address).lower() == user)
            for target in resolution.local
        )


def is_named(sender: Address, user: str) -> bool:
    """The account's own address, also with "+detail"."""
    given = str(sender).lower()
    own = user.lower()
    if given == own:
        return True
    local, _, domain = own.rpartition("@")
    return sender.domain == domain and sender.local.lower().partition("+")[0] == local
