"""Mailboxes: read as columns and changes since a modseq, written in transactions."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from mta.model.ids import BlobId, MailboxId, ModSeq, Uid, UserId
from mta.model.mailbox import Appended, Changes, Copied, MailboxInfo, MailboxStatus, NewMessage, Stored

FlagChange = Literal["set", "add", "remove"]


class MailStore(Protocol):
    """Everything a change promises holds when its call returns: durable, visible to later reads of every worker.

    Raises everywhere: TemporaryFailure and its kinds, StorageDead; NoSuchMailbox when the mailbox is gone.
    """

    # ---- mailboxes

    async def mailboxes(self, user: UserId) -> list[MailboxInfo]:
        """All mailboxes of the account and subscribed names without mailbox, sorted by name, INBOX first."""
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
