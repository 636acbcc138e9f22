"""The inbox as POP3 sees it: a list of messages frozen at login (RFC 1939 §4, §5, §8), and the marks of DELE.

Columns, not objects: 100,000 messages are three lists. The lock that makes a maildrop exclusive holds within one worker. Between
workers, and beside IMAP, the store's own rules hold: messages that arrive are not in the list, a uid never names two messages,
removing what is gone already changes nothing, and octets of a message removed elsewhere can still be read (``undelete``) or are
"no such message".
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator, Sequence

from mta.model.ids import BlobId, MailboxId, Uid
from mta.model.mailbox import Changes, Row, RowColumns


class Maildrop:
    """``index`` below is from 0, a message number from 1; both stay as they are until the session ends."""

    __slots__ = ("blobs", "count", "deleted", "mailbox", "octets", "sizes", "stored", "uid_validity", "uids")

    def __init__(self, mailbox: MailboxId, changes: Changes) -> None:
        self.mailbox = mailbox
        self.uid_validity = changes.uid_validity
        rows = changes.rows
        columns = rows.columns if isinstance(rows, RowColumns) else tuple(zip(*rows, strict=True)) or ((),) * len(Row._fields)
        self.uids: Sequence[Uid] = columns[0]
        self.sizes: Sequence[int] = columns[5]
        self.stored = self.sizes
        """As stored: others than ``sizes`` where ``message_read`` has them changed."""
        self.blobs: Sequence[BlobId] = columns[6]
        self.deleted: set[int] = set()
        self.count = len(self.uids)
        self.octets = sum(self.sizes)

    def index(self, argument: bytes) -> int:
        """Return the index that a message number names, or -1: not there, or marked as deleted."""
        if not argument.isdigit() or len(argument) > 9:
            return -1
        index = int(argument) - 1
        return index if 0 <= index < len(self.uids) and index not in self.deleted else -1

    def unique_id(self, index: int) -> str:
        """RFC 1939 §7 UIDL: as lasting as uid and uid_validity, and the same in every session and worker."""
        return f"{self.uid_validity}.{self.uids[index]}"

    def delete(self, index: int) -> None:
        self.deleted.add(index)
        self.count -= 1
        self.octets -= self.sizes[index]

    def reset(self) -> None:
        self.deleted.clear()
        self.count = len(self.uids)
        self.octets = sum(self.sizes)

    def present(self, start: int, stop: int) -> Iterator[int]:
        """Yield the indexes in [start, stop) that are not marked as deleted."""
        whole = range(start, min(stop, len(self.uids)))
        return (index for index in whole if index not in self.deleted) if self.deleted else iter(whole)
