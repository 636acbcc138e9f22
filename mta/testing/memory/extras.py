"""``Quotas``, ``Sharing``, ``Annotations`` and ``SaveDates`` in memory."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence

from mta.model.errors import NoSuchUser
from mta.model.ids import MailboxId, Uid, UserId
from mta.model.mailbox import MailboxInfo
from mta.model.mailbox_name import INBOX
from mta.model.quota import Usage
from mta.testing.memory.data import Data
from mta_hooks.backends.database import DatabaseOptions
from mta_hooks.backends.extras import Shared


class MemoryQuotas:
    def __init__(self, data: Data) -> None:
        self._data = data

    async def usage(self, user: UserId) -> Usage:
        account = self._data.accounts.get(user)
        if account is None:
            raise NoSuchUser(str(user))
        return Usage(self._data.used(user), account.user.quota, self._data.messages(user), account.messages_limit)

    async def set_message_limit(self, user: UserId, messages: int) -> None:
        if user not in self._data.accounts:
            raise NoSuchUser(str(user))
        self._data.accounts[user].messages_limit = messages


class MemorySharing:
    def __init__(self, data: Data, options: DatabaseOptions) -> None:
        self._data, self._options = data, options

    async def account(self, address: str) -> tuple[UserId, str] | None:
        for user, account in self._data.accounts.items():
            if str(account.user.address).lower() == address.lower() and account.user.enabled:
                return user, str(account.user.address)
        return None

    async def entries(self, mailbox: MailboxId) -> Mapping[str, str]:
        box = self._data.mailboxes.get(mailbox)
        return {} if box is None else dict(box.acl)

    async def set_entry(self, mailbox: MailboxId, identifier: str, rights: str) -> None:
        box = self._data.get(mailbox)
        if rights:
            box.acl[identifier] = rights
        else:
            box.acl.pop(identifier, None)
        self._options.changed((mailbox,))

    async def shared_with(self, identifiers: Sequence[str], *, but: UserId) -> list[Shared]:
        found = []
        for box in self._data.mailboxes.values():
            if box.user != but and any(name in box.acl for name in identifiers):
                owner = str(self._data.accounts[box.user].user.address)
                info = MailboxInfo(box.id, box.user, box.name, box.uid_validity, box.special_use)
                found.append(Shared(owner, info, dict(box.acl)))
        return sorted(found, key=lambda shared: (shared.owner, shared.mailbox.name))


class MemoryAnnotations:
    def __init__(self, data: Data, options: DatabaseOptions) -> None:
        self._data, self._options = data, options

    async def annotations(self, mailbox: MailboxId | None, user: UserId | None) -> Mapping[str, bytes]:
        return dict(self._data.annotations.get((mailbox or 0, user or 0), {}))

    async def annotate(
        self, mailbox: MailboxId | None, user: UserId | None, values: Mapping[str, bytes | None], *, most: int
    ) -> bool:
        if mailbox is not None:
            self._data.get(mailbox)
        found = {**self._data.annotations.get((mailbox or 0, user or 0), {}), **values}
        kept = {entry: value for entry, value in found.items() if value is not None}
        if len(kept) > most and any(value is not None for value in values.values()):
            return False
        self._data.annotations[(mailbox or 0, user or 0)] = kept
        if mailbox is None and user is not None:
            inbox = self._data.find(user, INBOX)
            mailbox = None if inbox is None else inbox.id
        if mailbox is not None:
            self._options.changed((mailbox,))
        return True


class MemorySaveDates:
    def __init__(self, data: Data) -> None:
        self._data = data

    async def saved(self, mailbox: MailboxId, uids: Sequence[Uid]) -> Mapping[Uid, int]:
        box = self._data.get(mailbox)
        return {uid: box.saved[uid] for uid in uids if uid in box.rows}
