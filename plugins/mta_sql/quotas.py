"""``Quotas``, and the check that every change of an account's mailboxes ends with."""
# SPDX-License-Identifier: Apache-2.0

from typing import Any

from mta.model.errors import NoSuchUser, OverQuota
from mta.model.ids import UserId
from mta.model.quota import Usage
from mta_sql.core import Core
from mta_sql.dialect import Connection
from mta_sql.transaction import Transaction

_USAGE = (
    "SELECT u.quota, u.quota_messages, coalesce(sum(m.size), 0), coalesce(sum(m.messages), 0) FROM users u"
    " LEFT JOIN mailboxes m ON m.user_id = u.id WHERE u.id = ? GROUP BY u.quota, u.quota_messages"
)
_SET = "UPDATE users SET quota_messages = ? WHERE id = ?"
LIMITED = "(SELECT quota + quota_messages FROM users WHERE users.id = mailboxes.user_id)"
"""Not 0: there is something to check."""


class SqlQuotas:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def usage(self, user: UserId) -> Usage:
        return await self._core.read(lambda connection: _usage(connection, user))

    async def set_message_limit(self, user: UserId, messages: int) -> None:
        if not await self._core.execute(_SET, messages, user):
            raise NoSuchUser(str(user))


def _usage(connection: Connection | Transaction, user: int) -> Usage:
    row: Any = connection.execute(_USAGE, (user,)).fetchone()
    if row is None:
        raise NoSuchUser(str(user))
    return Usage(int(row[2]), row[0], int(row[3]), row[1])


def fits(tx: Transaction, core: Core, user: int, octets: int, messages: int) -> bool:
    """After ``octets`` and ``messages`` were added. A level of ``quota_levels`` that they crossed is told after the commit."""
    usage = _usage(tx, user)
    if (usage.octets_limit and usage.octets > usage.octets_limit) or (
        usage.messages_limit and usage.messages > usage.messages_limit
    ):
        return False
    if core.options.quota_levels:
        for level in core.options.quota_levels:
            if _crossed(level, usage.octets, octets, usage.octets_limit) or _crossed(
                level, usage.messages, messages, usage.messages_limit
            ):
                tx.effects.quotas[UserId(user)] = max(level, tx.effects.quotas.get(UserId(user), 0))
    return True


def _crossed(level: int, now: int, added: int, limit: int) -> bool:
    return limit > 0 and (now - added) * 100 < level * limit <= now * 100


def check(tx: Transaction, core: Core, user: int, octets: int, messages: int) -> None:
    """Raises OverQuota."""
    row: Any = tx.one("SELECT quota + quota_messages FROM users WHERE id = ?", (user,))
    if row is not None and row[0] and not fits(tx, core, user, octets, messages):
        raise OverQuota(f"account {user} over quota", (UserId(user),))
