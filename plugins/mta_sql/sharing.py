"""``Sharing`` and ``Annotations``: what stands beside a mailbox and goes with it."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence
from typing import Any

from mta.model.address import Address
from mta.model.errors import NoSuchMailbox
from mta.model.ids import MailboxId, UserId
from mta_hooks.backends.extras import Shared
from mta_sql.core import Core
from mta_sql.dialect import Connection
from mta_sql.mailboxes import INFO, mailbox_info, tell_account
from mta_sql.transaction import Transaction

_ACCOUNT = "SELECT id, local, domain FROM users WHERE domain = ? AND lowered = ? AND enabled = 1"
_ENTRIES = "SELECT identifier, rights FROM acl WHERE mailbox_id = ?"
_SET = (
    "INSERT INTO acl (mailbox_id, identifier, rights) VALUES (?, ?, ?)"
    " ON CONFLICT (mailbox_id, identifier) DO UPDATE SET rights = excluded.rights"
)
_REMOVE = "DELETE FROM acl WHERE mailbox_id = ? AND identifier = ?"
_THERE = "SELECT id FROM mailboxes WHERE id = ? FOR UPDATE"
_SHARED = INFO + " WHERE id IN (SELECT mailbox_id FROM acl WHERE identifier IN ARRAY ?) AND user_id <> ?"  # noqa: S608
_LISTS = "SELECT mailbox_id, identifier, rights FROM acl WHERE mailbox_id IN ARRAY ?"
_OWNERS = "SELECT id, local, domain FROM users WHERE id IN ARRAY ?"
_ANNOTATIONS = "SELECT entry, value FROM annotations WHERE mailbox_id = ? AND user_id = ?"
_ANNOTATE = (
    "INSERT INTO annotations (mailbox_id, user_id, entry, value) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (mailbox_id, user_id, entry) DO UPDATE SET value = excluded.value"
)
_ERASE = "DELETE FROM annotations WHERE mailbox_id = ? AND user_id = ? AND entry = ?"
_HOW_MANY = "SELECT count(*) FROM annotations WHERE mailbox_id = ? AND user_id = ?"


class SqlSharing:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def account(self, address: str) -> tuple[UserId, str] | None:
        local, _, domain = address.rpartition("@")
        row = await self._core.read(lambda connection: connection.execute(_ACCOUNT, (domain.lower(), local.lower())).fetchone())
        return None if row is None else (UserId(row[0]), str(Address(row[1], row[2])))

    async def entries(self, mailbox: MailboxId) -> Mapping[str, str]:
        return await self._core.read(lambda connection: dict(connection.execute(_ENTRIES, (mailbox,)).fetchall()))

    async def set_entry(self, mailbox: MailboxId, identifier: str, rights: str) -> None:
        def run(tx: Transaction) -> None:
            if tx.one(_THERE, (mailbox,)) is None:
                raise NoSuchMailbox(str(mailbox))
            if rights:
                tx.execute(_SET, (mailbox, identifier, rights))
            else:
                tx.execute(_REMOVE, (mailbox, identifier))
            tx.changed(mailbox)

        await self._core.write(run)

    async def shared_with(self, identifiers: Sequence[str], *, but: UserId) -> list[Shared]:
        return await self._core.read(lambda connection: _shared(connection, identifiers, but))


def _shared(connection: Connection, identifiers: Sequence[str], but: UserId) -> list[Shared]:
    boxes = [mailbox_info(row) for row in connection.execute(_SHARED, (connection.array(identifiers), but)).fetchall()]
    if not boxes:
        return []
    lists: dict[int, dict[str, str]] = {}
    for mailbox, identifier, rights in connection.execute(_LISTS, (connection.array([box.id for box in boxes]),)).fetchall():
        lists.setdefault(mailbox, {})[identifier] = rights
    owners: list[Any] = connection.execute(_OWNERS, (connection.array({box.user for box in boxes}),)).fetchall()
    names = {row[0]: str(Address(row[1], row[2])) for row in owners}
    found = [Shared(names[box.user], box, lists.get(box.id, {})) for box in boxes if box.user in names]
    return sorted(found, key=lambda shared: (shared.owner, shared.mailbox.name))


class SqlAnnotations:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def annotations(self, mailbox: MailboxId | None, user: UserId | None) -> Mapping[str, bytes]:
        key = (mailbox or 0, user or 0)

        def read(connection: Connection) -> dict[str, bytes]:
            return {row[0]: bytes(row[1]) for row in connection.execute(_ANNOTATIONS, key).fetchall()}

        return await self._core.read(read)

    async def annotate(
        self, mailbox: MailboxId | None, user: UserId | None, values: Mapping[str, bytes | None], *, most: int
    ) -> bool:
        key = (mailbox or 0, user or 0)

        def run(tx: Transaction) -> None:
            if mailbox is not None and tx.one(_THERE, (mailbox,)) is None:
                raise NoSuchMailbox(str(mailbox))
            for entry, value in values.items():
                if value is None:
                    tx.execute(_ERASE, (*key, entry))
                else:
                    tx.execute(_ANNOTATE, (*key, entry, value))
            if any(value is not None for value in values.values()) and tx.execute(_HOW_MANY, key).fetchone()[0] > most:
                raise _TooMany
            if mailbox is not None:
                tx.changed(mailbox)
            elif user is not None:
                tell_account(tx, user)

        try:
            await self._core.write(run)
        except _TooMany:
            return False
        return True


class _TooMany(Exception):
    """Undoes the operation."""
