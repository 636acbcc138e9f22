"""Mailboxes: read as columns and changes since a modseq, written in transactions."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from mta.model.directory import User
from mta.model.errors import StorageDead
from mta.model.ids import BlobId, MailboxId, ModSeq, QueueId, Uid, UserId
from mta.model.mailbox import Appended, Changes, Copied, MailboxInfo, MailboxStatus, NewMessage, Stored
from mta.model.message import Content, LocalDelivery

FlagChange = Literal["set", "add", "remove"]


class MailStore(Protocol):
    """Everything a change promises holds when its call returns: durable, visible to later reads of every worker.

    Raises everywhere: TemporaryFailure and its kinds, StorageDead; NoSuchMailbox when the mailbox is gone.
    """

    # ---- mailboxes

    async def mailboxes(self, user: UserId, starts: str = "") -> list[MailboxInfo]:
        """All mailboxes of the account and subscribed names without mailbox, sorted by name, INBOX first.

        starts  only those whose names begin so: of 100,000 mailboxes a few are found quickly
        """
        ...

    async def mailbox(self, user: UserId, name: str) -> MailboxInfo:
        """Raises NoSuchMailbox. "inbox" in any case is INBOX."""
        ...

    async def create(self, user: UserId, name: str, special_use: str = "") -> MailboxInfo:
        """Raises MailboxExists, MailboxNotAllowed. Parents are made too (RFC 9051 §6.3.4)."""
        ...

    async def delete(self, user: UserId, name: str) -> None:
        """Raises NoSuchMailbox, MailboxNotAllowed (INBOX). Children stay."""
        ...

    async def rename(self, user: UserId, old: str, new: str) -> None:
        """Children move along; renaming INBOX moves its messages to the new mailbox (RFC 9051 §6.3.6)."""
        ...

    async def subscribe(self, user: UserId, name: str, subscribed: bool) -> None: ...

    async def status(self, mailbox: MailboxId) -> MailboxStatus: ...

    async def claim_recent(self, mailbox: MailboxId) -> Uid:
        """Return the first uid that no read-write session has seen as recent, and mark all as seen (RFC 3501 §2.3.2)."""
        ...

    # ---- messages

    async def changes(self, mailbox: MailboxId, since: ModSeq) -> Changes:
        """Rows with modseq > ``since``, and what vanished. ``since`` 0 reads the whole mailbox: 100,000 rows in a few
        hundred milliseconds, off the event loop."""
        ...

    async def append(self, mailbox: MailboxId, messages: Sequence[NewMessage]) -> list[Appended]:
        """All or none. Raises OverQuota."""
        ...

    async def set_flags(
        self,
        mailbox: MailboxId,
        uids: Sequence[Uid],
        change: FlagChange,
        flags: int,
        keywords: frozenset[str],
        unchanged_since: ModSeq | None = None,
    ) -> Stored:
        """STORE. Uids that are not there are passed over. One modseq for the whole command."""
        ...

    async def copy(self, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
        """All or none; flags, keywords and dates are kept (RFC 9051 §6.4.7). Raises OverQuota."""
        ...

    async def move(self, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
        """All or none, in one transaction: no moment with a message in both or neither (RFC 6851)."""
        ...

    async def expunge(self, mailbox: MailboxId, uids: Sequence[Uid] | None = None) -> tuple[list[Uid], ModSeq]:
        """Remove messages that have ``\\Deleted`` (of ``uids`` only, when given: RFC 4315 §2.1). Returns what went."""
        ...

    async def remove(self, mailbox: MailboxId, uids: Sequence[Uid]) -> tuple[list[Uid], ModSeq]:
        """Remove messages whatever their flags (POP3 DELE at QUIT)."""
        ...

    # ---- octets

    async def read(self, blob: BlobId, start: int = 0, length: int | None = None) -> bytes:
        """Raises KeyError for an unknown blob."""
        ...

    async def read_many(self, blobs: Sequence[BlobId]) -> list[bytes]:
        """Whole messages, in the order asked; the caller bounds their sum."""
        ...

    async def parsed(self, blobs: Sequence[BlobId]) -> list[bytes | None]:
        """What ``remember_parsed`` kept for each, in the order asked."""
        ...

    async def remember_parsed(self, parsed: Mapping[BlobId, bytes]) -> None:
        """Keep a parsed form beside the octets. May be lost by a crash: it can be made again."""
        ...


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """What the engine tells a store that is not part of the database.

    data_dir  folder for files of its own
    account   the account with this id as the directory has it now (its address, its quota), or None
    changed   called in the event loop after each change of mailboxes, whoever made it, with their ids (wakes IDLE here and in the
              other workers)
    event     None: nobody implements ``mailbox_event``. Else awaited after a change and before its answer, with the fields of
              MailboxEvent
    reserve   octets of free disk below which new mail is refused with StorageFull
    undelete  seconds that what belonged to a deleted account is kept
    dead      called in the event loop once, when an fsync failed so that the disk's state is unknown
    """

    data_dir: str
    account: Callable[[UserId], Awaitable[User | None]]
    changed: Callable[[Sequence[MailboxId]], None]
    event: Callable[[Mapping[str, Any]], Awaitable[None]] | None = None
    reserve: int = 0
    undelete: float = 14 * 86400.0
    dead: Callable[[StorageDead], None] = lambda _exc: None


class SeparateStore(MailStore, Protocol):
    """Mailboxes apart from the database: ``registry.backend("store", scheme, factory)``, ``factory(url, options)``.

    Acceptance cannot write into it: every local recipient becomes a row of the queue, and ``deliver`` is called from there. The
    accounts are the directory's; what a new one has (``mta.model.mailbox_name.STANDARD``) is made when it is first asked for.
    """

    async def open(self) -> None:
        """Raises ConfigError when the place cannot be used, TemporaryFailure when it is away for now."""
        ...

    async def close(self) -> None: ...

    async def deliver(self, delivery: LocalDelivery, content: Content, *, id: QueueId, date: int, message_id: str) -> None:
        """Put a queued message where ``delivery.placement`` says, mailboxes made when missing.

        Exactly once for each (id, recipient, mailbox), however often it is called and whatever crashed in between, and also
        when its reader has moved or expunged the message since. Durable on return. A folder that cannot be a mailbox means INBOX.
        Raises OverQuota, NoSuchUser, TemporaryFailure and its kinds, StorageDead.
        """
        ...

    async def used(self, user: UserId) -> int:
        """Octets in all mailboxes of the account."""
        ...

    async def delete_account(self, user: User) -> None:
        """The directory has just deleted it. A new account with the same address must not see its mail."""
        ...

    async def housekeep(self, *, now: float) -> None:
        """Sweep what nothing names any more; called by one worker, every few minutes."""
        ...

    async def verify(self, users: Sequence[User], progress: Callable[[int, int], None]) -> list[str]:
        """Check every message of these accounts; one line for each damage, empty when sound."""
        ...
