"""One database that holds everything, so that acceptance and delivery are one transaction."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mta.model.errors import StorageDead
from mta.model.ids import MailboxId, QueueId, UserId
from mta.model.message import Intake, Notification
from mta_hooks.backends.blobs import Blobs
from mta_hooks.backends.directory import Directory
from mta_hooks.backends.queue import Queue
from mta_hooks.backends.store import MailStore
from mta_hooks.backends.tables import Tables

Changed = Callable[[Sequence[MailboxId]], None]


def _nobody(_mailboxes: Sequence[MailboxId]) -> None:
    """No one to tell."""


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """What the engine tells a backend.

    data_dir       folder for files of its own
    changed        called in the event loop after each commit that changed mailboxes, with their ids (wakes IDLE here and
                   in the other workers)
    queued         called in the event loop after each commit that added or released queue rows
    durable_hooks  durable hooks that somebody implements: only for these are outbox rows written ("mailbox_event", …)
    mailbox_events of these ``mailbox_event`` rows are written; None: of all
    undelete       seconds that expunged messages keep their octets
    reserve        octets of free disk below which new mail is refused with StorageFull
    noted          called in the event loop after each commit that added outbox rows
    dead           called in the event loop once, when an fsync or commit failed so that the disk's state is unknown: stop
                   acknowledging, exit non-zero
    blobs          where octets too large for a row go: into the first, while all are read; empty: as the backend likes
    trace_keep     seconds that the trace of accepted mail is kept, at least for as long as something of it is in the queue
    refused_keep, refused_most   seconds that refused and deferred mail is remembered, and how many records of it at most
    quota_levels   percentages of an account's quota
    quota_reached  called in the event loop after the commit with which an account came to one of them, with the highest
    read_only      nothing at all is written, the schema neither: for programs that look on while the server runs. Every write
                   raises TemporaryFailure. ``open`` raises FileNotFoundError when there is no database yet
    """

    data_dir: str
    changed: Changed = _nobody
    queued: Callable[[], None] = lambda: None
    durable_hooks: frozenset[str] = frozenset()
    mailbox_events: frozenset[str] | None = None
    undelete: float = 14 * 86400.0
    reserve: int = 32 * 2**20
    noted: Callable[[], None] = lambda: None
    dead: Callable[[StorageDead], None] = lambda _exc: None
    blobs: Sequence[Blobs] = ()
    trace_keep: float = 30 * 86400.0
    refused_keep: float = 7 * 86400.0
    refused_most: int = 100_000
    read_only: bool = False
    quota_levels: tuple[int, ...] = ()
    quota_reached: Callable[[UserId, int], None] = lambda _user, _level: None


class Spool(Protocol):
    """The one door through which mail becomes ours."""

    async def accept(self, intake: Intake) -> None:
        """Make it durable: octets, mailbox rows, queue rows, outbox rows, trace, in one transaction.

        Returns   after the commit is on stable storage; only then may 250 be said. Cancelled before: the caller must
                  treat the outcome as unknown (the peer gets no 250); nothing is ever half there.
        Raises    StorageFull, StorageReadOnly, TemporaryFailure (locked too long, database away), OverQuota,
                  StorageDead. An id that was accepted before: returns, changes nothing.
        """
        ...


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One durable call.

    plugin  the one that is still to be told; "": all who implement the hook
    error   of the last attempt
    made    wall clock
    due     next attempt, or the end of its lease; None: a dead letter
    """

    row: int
    hook: str
    payload: Mapping[str, Any]
    attempts: int
    plugin: str = ""
    error: str = ""
    made: float = 0.0
    due: float | None = 0.0


class Outbox(Protocol):
    """Durable notifications waiting to be called."""

    async def lease(self, owner: str, limit: int, seconds: float, *, now: float) -> list[OutboxRow]: ...

    async def reclaim(self, owner: str) -> int:
        """End the leases of ``owner``, who is dead: their rows are due again as they were. Returns how many."""
        ...

    async def add(self, notifications: Sequence[Notification]) -> None:
        """Rows of their own, for what no other transaction carries. Those that nobody implements are left out."""
        ...

    async def done(self, rows: Sequence[int]) -> None: ...

    async def retry(self, row: int, *, due: float, error: str, failed: Mapping[str, str] | None = None) -> None:
        """Count an attempt. ``failed``: plugin -> error of those who are still to be told, when others were: the row goes on for
        the first of them, copies of it for each further one, in one transaction."""
        ...

    async def bury(self, row: int, *, error: str) -> None:
        """Dead letter: kept, not called again until replayed."""
        ...

    async def list(self, *, dead: bool = False, rows: Sequence[int] = (), limit: int = 1000) -> list[OutboxRow]:
        """Oldest first. ``dead``: dead letters only; ``rows``: these only, when given."""
        ...

    async def replay(self, rows: Sequence[int], *, now: float) -> int:
        """Dead letters are due again, as if never tried. Returns how many there were."""
        ...

    async def discard(self, rows: Sequence[int]) -> int:
        """Remove dead letters for good. Returns how many there were."""
        ...

    async def count(self) -> Mapping[str, int]:
        """``total``, and of these ``dead``."""
        ...


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """What is known of one message, or of one refusal.

    state       "accepted"; "refused" (5xx) or "deferred" (4xx) for what was not taken
    stage       where it was not: "connect", "ehlo", "tls", "auth", "mail", "rcpt", "data", "message"; "" when accepted
    reply       what the peer was told then
    count       how often the same was refused between ``at`` and ``until``
    """

    id: QueueId
    at: float
    origin: str
    sender: str
    message_id: str
    size: int
    client: str
    user: str
    steps: list[Mapping[str, Any]] = field(default_factory=list)
    recipients: tuple[str, ...] = ()
    state: str = "accepted"
    stage: str = ""
    reply: str = ""
    count: int = 1
    until: float = 0.0


class Traces(Protocol):
    async def find(
        self,
        text: str = "",
        *,
        limit: int = 50,
        since: float = 0.0,
        until: float = float("inf"),
        accepted: bool = True,
        refused: bool = True,
        plugin: str = "",
    ) -> list[TraceRecord]:
        """By queue id, Message-ID, sender, recipient or client address, all regardless of case; "": everything. Newest first.

        since, until       wall clock, of arrival
        accepted, refused  mail that was taken; mail that was refused or deferred
        plugin             only with a step of this plugin, later ones included
        """
        ...

    async def keep_refused(self, records: Sequence[TraceRecord]) -> None:
        """Write records of what was not taken. Raises TemporaryFailure, StorageFull."""
        ...


class KeyValues(Protocol):
    async def get(self, plugin: str, key: str, *, now: float) -> bytes | None: ...
    async def set(self, plugin: str, key: str, value: bytes, *, expires: float | None) -> None: ...
    async def delete(self, plugin: str, key: str) -> None: ...


class Database(Protocol):
    """All backends over one connection pool."""

    spool: Spool
    store: MailStore
    queue: Queue
    directory: Directory
    outbox: Outbox
    traces: Traces
    kv: KeyValues
    blobs: Blobs
    tables: Tables

    async def open(self) -> None:
        """Connect, migrate the schema to this program's version. Raises ConfigError when the data is newer than the
        program or the place cannot be used; TemporaryFailure when the server is away."""
        ...

    async def close(self) -> None:
        """Finish what is written, close."""
        ...

    async def housekeep(self, *, now: float) -> None:
        """Sweep what nothing names any more (blobs, tombstones, expired keys, traces past their time) in short transactions; called by one worker, every few minutes."""
        ...

    async def verify(self, progress: Callable[[int, int], None]) -> list[str]:
        """Check every invariant and every blob; one line for each damage, empty when sound."""
        ...


Factory = Callable[[str, DatabaseOptions], Database]
