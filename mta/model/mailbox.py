"""Mailboxes and their messages as columns (docs/architecture.md, "Reading")."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import starmap
from typing import Any, NamedTuple, overload

from mta.model.ids import BlobId, MailboxId, ModSeq, Uid, UserId
from mta.model.message import Content, Flags

DELIMITER = "/"
MAX_NAME = 255
MAX_DEPTH = 20


@dataclass(frozen=True, slots=True)
class MailboxInfo:
    """One mailbox as LIST shows it.

    name         Unicode NFC, levels separated by "/"; the inbox is exactly "INBOX"
    uid_validity never changes while the mailbox lives; a new mailbox of the same name has a greater one
    special_use  "\\Sent", "\\Trash", … (RFC 6154) or ""
    exists       False: a name that is only subscribed, or only a parent of others
    highest_modseq   as of this look at one mailbox by its name; 0: the store does not say
    """

    id: MailboxId
    user: UserId
    name: str
    uid_validity: int
    special_use: str = ""
    subscribed: bool = False
    exists: bool = True
    highest_modseq: ModSeq = field(default=ModSeq(0), compare=False)


class Row(NamedTuple):
    """One message of a mailbox. ``keywords`` are sorted, separated by a space; ``date`` is wall-clock seconds UTC."""

    uid: Uid
    modseq: ModSeq
    flags: int
    keywords: str
    date: int
    size: int
    blob: BlobId


class RowColumns(Sequence[Row]):
    """The rows of a whole mailbox, kept as one sequence for each field of ``Row``: nothing is made for a row before it is asked for."""

    __slots__ = ("columns",)

    def __init__(self, columns: tuple[Sequence[Any], ...]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> "RowColumns": ...
    def __getitem__(self, at: int | slice) -> "Row | RowColumns":
        if isinstance(at, slice):
            return RowColumns(tuple(column[at] for column in self.columns))
        return Row(*(column[at] for column in self.columns))

    def __iter__(self) -> Iterator[Row]:
        return starmap(Row, zip(*self.columns, strict=True))


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened in a mailbox after a modseq.

    rows      new and changed messages, ascending by uid
    vanished  uids expunged since then, ascending; empty for a first read (since 0)
    """

    uid_validity: int
    uid_next: Uid
    highest_modseq: ModSeq
    rows: Sequence[Row]
    vanished: list[Uid]


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """Counts for STATUS and SELECT."""

    messages: int
    unseen: int
    deleted: int
    size: int
    deleted_size: int
    recent: int
    uid_next: Uid
    uid_validity: int
    highest_modseq: ModSeq


class Appended(NamedTuple):
    """Where a message was put: ``uid`` above every uid ever given in that mailbox."""

    mailbox: MailboxId
    uid_validity: int
    uid: Uid
    modseq: ModSeq


class Copied(NamedTuple):
    """COPY and MOVE: source and target uids pairwise (RFC 4315 §3); MOVE: modseq of the source after the expunge."""

    uid_validity: int
    source: list[Uid]
    target: list[Uid]
    modseq: ModSeq


class Stored(NamedTuple):
    """STORE: rows as they are now (changed or not), and the uids that failed UNCHANGEDSINCE (RFC 7162 §3.1.3).

    made  ``modseq`` was taken by this very call; False: nothing changed, and it is whoever's came last
    """

    rows: list[Row]
    modified: list[Uid]
    modseq: ModSeq
    made: bool = False


class Regrouped(NamedTuple):
    """Messages with the same flags and keywords (``before``) that get the same others (``after``).

    uids    ascending
    octets  their sizes together; needs to be right only where ``\\Deleted`` is set or taken away
    """

    before: tuple[int, str]
    after: tuple[int, str]
    uids: Sequence[Uid]
    octets: int


@dataclass(frozen=True, slots=True)
class NewMessage:
    """One message for APPEND."""

    content: Content
    flags: Flags
    keywords: frozenset[str]
    date: int
