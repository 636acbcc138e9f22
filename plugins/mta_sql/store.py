"""``MailStore`` over one database: each call is one read or one operation of the writer."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence
from typing import Any

from mta.model.errors import NoSuchMailbox
from mta.model.ids import BlobId, MailboxId, ModSeq, Uid, UserId
from mta.model.mailbox import Appended, Changes, Copied, MailboxInfo, MailboxStatus, NewMessage, Regrouped, Stored
from mta.model.search import Backlog
from mta_hooks.backends.store import FlagChange
from mta_sql import backlog, mailboxes, regrouping, replacing, store_read, store_write
from mta_sql.core import Core
from mta_sql.dialect import Connection
from mta_sql.quotas import SqlQuotas
from mta_sql.saved import SqlSaveDates
from mta_sql.sharing import SqlAnnotations, SqlSharing
from mta_sql.transaction import Transaction
from mta_sql.undelete import SqlUndelete

_RECENT = "SELECT recent_uid, uid_next FROM mailboxes WHERE id = ?"
_REMEMBER = (
    "INSERT INTO parsed (blob_id, octets) SELECT id, ? FROM blobs WHERE id = ?"
    " ON CONFLICT (blob_id) DO UPDATE SET octets = excluded.octets"
)


class SqlStore:
    stable_ids = True
    prompt = True

    def __init__(self, core: Core) -> None:
        self._core = core
        self._horizon = backlog.Horizon()
        self.quotas = SqlQuotas(core)
        self.sharing = SqlSharing(core)
        self.undelete = SqlUndelete(core)
        self.annotations = SqlAnnotations(core)
        self.save_dates = SqlSaveDates(core)

    # ---- mailboxes

    async def mailboxes(self, user: UserId, starts: str = "") -> list[MailboxInfo]:
        many = await self._core.read(lambda connection: mailboxes.has_many(connection, user))
        return await self._core.read(lambda connection: mailboxes.list_mailboxes(connection, user, starts), big=many)

    async def mailbox(self, user: UserId, name: str) -> MailboxInfo:
        return await self._core.read(lambda connection: mailboxes.find_mailbox(connection, user, name))

    async def create(self, user: UserId, name: str, special_use: str = "") -> MailboxInfo:
        return await self._core.write(lambda tx: mailboxes.create(tx, self._core, user, name, special_use))

    async def delete(self, user: UserId, name: str) -> None:
        await self._core.write(lambda tx: mailboxes.delete(tx, self._core, user, name))

    async def rename(self, user: UserId, old: str, new: str) -> None:
        def run(tx: Transaction) -> None:
            inbox = tx.one("SELECT id FROM mailboxes WHERE user_id = ? AND name = 'INBOX'", (user,))
            target = mailboxes.rename(tx, self._core, user, old, new)
            if target is not None and inbox is not None:
                store_write.move_all(tx, self._core, MailboxId(int(str(inbox[0]))), MailboxId(target))

        await self._core.write(run)

    async def subscribe(self, user: UserId, name: str, subscribed: bool) -> None:
        await self._core.write(lambda tx: mailboxes.subscribe(tx, self._core, user, name, subscribed))

    async def status(self, mailbox: MailboxId) -> MailboxStatus:
        return await store_read.status(self._core, mailbox)

    async def claim_recent(self, mailbox: MailboxId) -> Uid:
        def look(connection: Connection) -> Any:
            return connection.execute(_RECENT, (mailbox,)).fetchone()

        row = await self._core.read(look)
        if row is None:
            raise NoSuchMailbox(str(mailbox))
        if row[0] == row[1]:  # nothing is recent: opening a mailbox writes nothing
            return Uid(row[0])
        return await self._core.write(lambda tx: store_write.claim_recent(tx, mailbox), (mailbox,))

    # ---- messages

    async def changes(self, mailbox: MailboxId, since: ModSeq) -> Changes:
        return await store_read.changes(self._core, mailbox, since)

    async def numbers(self, mailbox: MailboxId, uids: Sequence[Uid]) -> tuple[ModSeq, list[int]]:
        return await store_read.numbers(self._core, mailbox, uids)

    async def append(self, mailbox: MailboxId, messages: Sequence[NewMessage]) -> list[Appended]:
        bodies = [await self._core.body(message.content) for message in messages]
        return await self._core.write(lambda tx: store_write.append(tx, self._core, mailbox, messages, bodies), (mailbox,))

    async def set_flags(
        self,
        mailbox: MailboxId,
        uids: Sequence[Uid],
        change: FlagChange,
        flags: int,
        keywords: frozenset[str],
        unchanged_since: ModSeq | None = None,
    ) -> Stored:
        return await self._core.write(
            lambda tx: store_write.set_flags(tx, self._core, mailbox, uids, change, flags, keywords, unchanged_since), (mailbox,)
        )

    async def regroup(
        self, mailbox: MailboxId, known: ModSeq, groups: Sequence[Regrouped], span: tuple[Uid, Uid] | None
    ) -> ModSeq | None:
        try:
            return await self._core.write(lambda tx: regrouping.regroup(tx, self._core, mailbox, known, groups, span), (mailbox,))
        except regrouping.Differs:
            return None

    async def copy(self, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
        return await self._core.write(lambda tx: store_write.copy(tx, self._core, mailbox, uids, target), (mailbox, target))

    async def move(self, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
        return await self._core.write(lambda tx: store_write.move(tx, self._core, mailbox, uids, target), (mailbox, target))

    async def expunge(self, mailbox: MailboxId, uids: Sequence[Uid] | None = None) -> tuple[list[Uid], ModSeq]:
        return await self._core.write(lambda tx: store_write.remove(tx, self._core, mailbox, uids, marked=True), (mailbox,))

    async def remove(self, mailbox: MailboxId, uids: Sequence[Uid]) -> tuple[list[Uid], ModSeq]:
        return await self._core.write(lambda tx: store_write.remove(tx, self._core, mailbox, uids, marked=False), (mailbox,))

    async def replace(self, mailbox: MailboxId, uid: Uid, target: MailboxId, message: NewMessage) -> tuple[Appended, ModSeq] | None:
        body = await self._core.body(message.content)
        return await self._core.write(
            lambda tx: replacing.replace(tx, self._core, mailbox, uid, target, message, body), (mailbox, target)
        )

    # ---- octets

    async def read(self, blob: BlobId, start: int = 0, length: int | None = None) -> bytes:
        return await self._core.octets(blob, start, length)

    async def read_many(self, blobs: Sequence[BlobId]) -> list[bytes]:
        return await store_read.read_many(self._core, blobs)

    async def parsed(self, blobs: Sequence[BlobId]) -> list[bytes | None]:
        return await store_read.parsed(self._core, blobs)

    async def remember_parsed(self, parsed: Mapping[BlobId, bytes]) -> None:
        if parsed:
            rows = [(octets, blob) for blob, octets in parsed.items()]
            await self._core.write(lambda tx: tx.executemany(_REMEMBER, rows))

    # ---- for the search index

    async def backlog(self, after: int, limit: int) -> Backlog:
        return await backlog.backlog(self._core, self._horizon, after, limit)

    async def holding(self, blobs: Sequence[BlobId]) -> tuple[list[tuple[BlobId, int]], list[BlobId]]:
        return await backlog.holding(self._core, blobs)
