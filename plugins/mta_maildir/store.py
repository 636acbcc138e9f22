"""``SeparateStore`` over Maildirs: each call is one operation in a thread, under the account's lock."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mta.model.directory import User
from mta.model.errors import ConfigError, NoSuchMailbox, NoSuchUser, StorageDead, StorageFull
from mta.model.ids import BlobId, MailboxId, ModSeq, QueueId, Uid, UserId
from mta.model.mailbox import Appended, Changes, Copied, MailboxInfo, MailboxStatus, NewMessage, Stored
from mta.model.message import Content, LocalDelivery
from mta_hooks.backends.store import FlagChange, StoreOptions
from mta_maildir import operations, removal, verify
from mta_maildir.account import Account
from mta_maildir.disk import failures, make_folders
from mta_maildir.names import Template
from mta_maildir.octets import Reader
from mta_maildir.registry import Registry
from mta_maildir.watch import Watch

T = TypeVar("T")
THREADS = 8
ACCOUNTS = 1000
MESSAGES = 1_000_000
"""What one process remembers at most; about 500 octets a message."""
PARSED = 16 * 2**20


class MaildirStore:
    """See ``mta_hooks.backends.store``. Opened and used in one event loop."""

    def __init__(self, url: str, options: StoreOptions) -> None:
        self._template = Template(url)
        self._options = options
        self._accounts: OrderedDict[UserId, Account] = OrderedDict()
        self._parsed: OrderedDict[BlobId, bytes] = OrderedDict()
        self._parsed_size = 0
        self._disk = (0.0, 0)
        self._dead = False

    async def open(self) -> None:
        base = self._template.base
        if not os.access(base, os.R_OK | os.W_OK | os.X_OK):
            problem = f"{base} is not there, or this user may not write to it"
            raise ConfigError("storage.mailboxes", "storage.mailboxes", problem, f"make it, owned by the server's user: {base}")
        folder = os.path.join(self._options.data_dir, "maildir")
        make_folders(folder, 0o700)
        self._registry = Registry(os.path.join(folder, "mailboxes"))
        self._removed = os.path.join(folder, "removed")
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="mta-maildir")
        self._reader = Reader()
        loop = asyncio.get_running_loop()
        self._watch = Watch(
            lambda: list(self._accounts.values()), lambda ids: loop.call_soon_threadsafe(self._options.changed, ids)
        )
        self._watch.start()

    async def close(self) -> None:
        self._watch.stop()
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)
        self._registry.close()

    # ---- how everything runs

    async def _thread(self, work: Callable[[], T]) -> T:
        def run() -> T:
            with failures():
                return work()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, run)
        except StorageDead as exc:
            if not self._dead:
                self._dead = True
                self._options.dead(exc)
            raise

    async def _within(self, account: Account, work: Callable[[Account], T]) -> T:
        """Under the lock; then who wants to know is told. One at a time for each account: who waits for its lock keeps no thread."""

        def run() -> tuple[T, Sequence[MailboxId], Sequence[Mapping[str, object]]]:
            with account.locked():
                result = work(account)
                return result, tuple(account.changed), account.events

        async with account.turn:
            result, changed, events = await self._thread(run)
        if changed:
            self._options.changed(changed)
        if self._options.event is not None and events:
            user = await self._options.account(account.user)
            for event in events:
                await self._options.event({**_EVENT, "at": time.time(), "user": str(user.address) if user else "", **event})
        return result

    async def _of_user(self, user: UserId) -> Account:
        """Raises NoSuchUser."""
        account = self._accounts.get(user)
        if account is None:
            found = await self._options.account(user)
            if found is None:
                raise NoSuchUser(f"account {user} is gone")
            account = self._accounts.get(user)
            if account is None:
                self._make_room()
                root = self._template.root(found.address.local, found.address.domain)
                account = self._accounts[user] = Account(user, root, self._registry)
        self._accounts.move_to_end(user)
        return account

    async def _of(self, mailbox: MailboxId) -> Account:
        """Raises NoSuchMailbox."""
        key = self._registry.find(mailbox)
        if key is None:
            raise NoSuchMailbox(str(mailbox))
        try:
            return await self._of_user(key[0])
        except NoSuchUser as exc:
            raise NoSuchMailbox(str(mailbox)) from exc

    def _make_room(self) -> None:
        """Forget whose mail was not asked for the longest time."""
        messages = sum(account.size for account in self._accounts.values())
        while self._accounts and (len(self._accounts) >= ACCOUNTS or messages > MESSAGES):
            _, account = self._accounts.popitem(last=False)
            messages -= account.size

    async def _quota(self, account: Account) -> int:
        user = await self._options.account(account.user)
        if user is None:
            raise NoSuchUser(f"account {account.user} is gone")
        return user.quota

    def _check_room(self, size: int) -> None:
        now = time.monotonic()
        at, free = self._disk
        if now - at > 1.0:
            with failures():
                state = os.statvfs(self._template.base)
            free = state.f_bavail * state.f_frsize
            self._disk = (now, free)
        if free - size < self._options.reserve:
            raise StorageFull(f"{free} octets free, {self._options.reserve} are kept in reserve")

    # ---- mailboxes

    async def mailboxes(self, user: UserId, starts: str = "") -> list[MailboxInfo]:
        infos = await self._within(await self._of_user(user), lambda account: account.infos())
        return [info for info in infos if info.name.startswith(starts)] if starts else infos

    async def mailbox(self, user: UserId, name: str) -> MailboxInfo:
        return await self._within(await self._of_user(user), lambda account: account.info(name))

    async def create(self, user: UserId, name: str, special_use: str = "") -> MailboxInfo:
        return await self._within(await self._of_user(user), lambda account: account.create(name, special_use))

    async def delete(self, user: UserId, name: str) -> None:
        await self._within(await self._of_user(user), lambda account: account.delete(name))

    async def rename(self, user: UserId, old: str, new: str) -> None:
        await self._within(await self._of_user(user), lambda account: operations.rename(account, old, new))

    async def subscribe(self, user: UserId, name: str, subscribed: bool) -> None:
        await self._within(await self._of_user(user), lambda account: account.subscribe(name, subscribed))

    async def status(self, mailbox: MailboxId) -> MailboxStatus:
        return await self._within(await self._of(mailbox), lambda account: account.by_id(mailbox).status())

    async def claim_recent(self, mailbox: MailboxId) -> Uid:
        return await self._within(await self._of(mailbox), lambda account: operations.claim_recent(account, mailbox))

    # ---- messages

    async def changes(self, mailbox: MailboxId, since: ModSeq) -> Changes:
        def work(account: Account) -> Changes:
            folder = account.by_id(mailbox)
            self._watch.see(folder)
            return folder.changes(since)

        return await self._within(await self._of(mailbox), work)

    async def append(self, mailbox: MailboxId, messages: Sequence[NewMessage]) -> list[Appended]:
        self._check_room(sum(message.content.size for message in messages))
        account = await self._of(mailbox)
        quota = await self._quota(account)
        files = await self._thread(lambda: [operations.prepare(account, m.content, m.date) for m in messages])
        return await self._keeping(
            account, files, lambda held: operations.append(held, mailbox, list(zip(messages, files, strict=True)), quota)
        )

    async def _keeping(self, account: Account, files: Sequence[str], work: Callable[[Account], T]) -> T:
        """Files in ``tmp`` that nobody took go."""
        try:
            return await self._within(account, work)
        finally:
            await self._thread(lambda: operations.discard(files))

    async def set_flags(
        self,
        mailbox: MailboxId,
        uids: Sequence[Uid],
        change: FlagChange,
        flags: int,
        keywords: frozenset[str],
        unchanged_since: ModSeq | None = None,
    ) -> Stored:
        wanted = operations.FlagRequest(change, int(flags), keywords, unchanged_since)
        return await self._within(await self._of(mailbox), lambda account: operations.set_flags(account, mailbox, uids, wanted))

    async def copy(self, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
        account = await self._both(mailbox, target)
        quota = await self._quota(account)
        return await self._within(account, lambda held: operations.copy(held, mailbox, uids, target, quota))

    async def move(self, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
        account = await self._both(mailbox, target)
        return await self._within(account, lambda held: operations.move(held, mailbox, uids, target))

    async def _both(self, mailbox: MailboxId, target: MailboxId) -> Account:
        """Whose both are. Raises NoSuchMailbox: nobody sees a mailbox of another."""
        account = await self._of(mailbox)
        if await self._of(target) is not account:
            raise NoSuchMailbox(str(target))
        return account

    async def expunge(self, mailbox: MailboxId, uids: Sequence[Uid] | None = None) -> tuple[list[Uid], ModSeq]:
        return await self._within(await self._of(mailbox), lambda account: operations.remove(account, mailbox, uids, marked=True))

    async def remove(self, mailbox: MailboxId, uids: Sequence[Uid]) -> tuple[list[Uid], ModSeq]:
        return await self._within(await self._of(mailbox), lambda account: operations.remove(account, mailbox, uids, marked=False))

    # ---- octets

    async def read(self, blob: BlobId, start: int = 0, length: int | None = None) -> bytes:
        mailbox = MailboxId(blob >> 32)
        try:
            account = await self._of(mailbox)
            return await self._thread(lambda: operations.read(account, self._reader, blob, start, length))
        except NoSuchMailbox as exc:
            raise KeyError(blob) from exc

    async def read_many(self, blobs: Sequence[BlobId]) -> list[bytes]:
        try:
            accounts = {mailbox: await self._of(mailbox) for mailbox in {MailboxId(blob >> 32) for blob in blobs}}
            return await self._thread(
                lambda: [operations.read(accounts[MailboxId(b >> 32)], self._reader, b, 0, None) for b in blobs]
            )
        except NoSuchMailbox as exc:
            raise KeyError(str(exc)) from exc

    async def parsed(self, blobs: Sequence[BlobId]) -> list[bytes | None]:
        return [self._parsed.get(blob) for blob in blobs]

    async def remember_parsed(self, parsed: Mapping[BlobId, bytes]) -> None:
        """In memory only: about a millisecond for each message to make it again."""
        for blob, octets in parsed.items():
            if self._registry.find(MailboxId(blob >> 32)) is not None:
                self._parsed_size += len(octets) - len(self._parsed.pop(blob, b""))
                self._parsed[blob] = octets
        while self._parsed_size > PARSED:
            self._parsed_size -= len(self._parsed.popitem(last=False)[1])

    # ---- what only a separate store has

    async def deliver(self, delivery: LocalDelivery, content: Content, *, id: QueueId, date: int, message_id: str) -> None:
        self._check_room(content.size)
        account = await self._of_user(delivery.user)
        quota = await self._quota(account)
        file = await self._thread(lambda: operations.prepare(account, content, date))
        parcel = operations.Parcel(delivery, file, content.size, id, date, message_id)
        await self._keeping(account, [file], lambda held: operations.deliver(held, parcel, quota))

    async def used(self, user: UserId) -> int:
        return await self._within(await self._of_user(user), lambda account: account.used())

    async def delete_account(self, user: User) -> None:
        root = self._template.root(user.address.local, user.address.domain)
        self._accounts.pop(user.id, None)
        await self._thread(lambda: removal.set_aside(root, self._removed, user.id))

    async def housekeep(self, *, now: float) -> None:
        accounts = list(self._accounts.values())
        await self._thread(lambda: removal.sweep(accounts, self._removed, now, self._options.undelete))

    async def verify(self, users: Sequence[User], progress: Callable[[int, int], None]) -> list[str]:
        damage: list[str] = []
        for done, user in enumerate(users):
            progress(done, len(users))
            damage += await self._within(await self._of_user(user.id), verify.check)
        progress(len(users), len(users))
        return damage


_EVENT: Mapping[str, object] = {"uids": [], "flags": [], "message_id": "", "queue_id": "", "details": {}}
