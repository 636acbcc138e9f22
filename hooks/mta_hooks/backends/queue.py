"""The durable queue: one row per recipient (design: docs/architecture.md, "Sending")."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mta.model.delivery import Leased, Outcome, QueueRow, Trouble
from mta.model.ids import BlobId, QueueId
from mta.model.message import Intake, QueuedRecipient

LEASE = 900.0
"""Seconds for which the dispatcher leases rows: longer than one transaction may take. Only another machine has to wait for its end."""


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which rows; all given conditions must hold.

    text          a part of an address or of the last reply
    state         as ``QueueRow.state``; "held": those that are neither "error" nor "quarantine"
    plugin, hook  whose ``Trouble`` a row has
    rows          just these
    """

    ids: tuple[QueueId, ...] = ()
    domain: str = ""
    sender: str | None = None
    recipient: str = ""
    text: str = ""
    state: str = ""
    older_than: float | None = None
    everything: bool = False
    plugin: str = ""
    hook: str = ""
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """What waits for one site. ``ages``: how many recipients by the age of their message, up to each of ``SHAPE_AGES``, then older."""

    site: str
    total: int
    ages: tuple[int, ...]


SHAPE_AGES = tuple(60.0 * minutes for minutes in (5, 10, 20, 40, 80, 160, 320, 640, 1280))


class Queue(Protocol):
    async def lease(
        self, owner: str, limit: int, seconds: float, *, now: float, exclude: Collection[str] = (), sites: Collection[str] = ()
    ) -> list[Leased]:
        """Take up to ``limit`` due rows that nobody holds, oldest due first, for ``seconds``.

        exclude  sites that can take no more at present; sites: only these, when given (more work for an open connection)
        A row whose lease ended is due again, so a crashed owner loses nothing; ``owner`` is for the listing.
        """
        ...

    async def reclaim(self, owner: str) -> int:
        """End the leases of ``owner``: their rows are due again as they were. For who is sure that this owner is dead, such as
        its successor under the same name. Returns how many rows."""
        ...

    async def settle(self, outcomes: Sequence[Outcome], submissions: Sequence[Intake] = ()) -> None:
        """Write results durably, in one transaction with the messages that follow from them (DSNs, forwards).

        delivered, relayed, failed, expanded, discarded: the row goes; ``Outcome.delivery`` is put into its mailbox in
        the same transaction. deferred, held: the row stays. A row that is gone already (settled twice) changes nothing,
        and its delivery and notifications are not done again; when no outcome changed anything, ``submissions`` are not
        made either. Raises OverQuota (``users``) or NoSuchUser when a delivery cannot be made: then nothing is written, and
        the caller settles that recipient as failed or deferred.
        """
        ...

    async def blame(self, row: int, trouble: Trouble, hold: str = "") -> None:
        """The worker that had this row died of a hook: keep ``trouble`` with it; with ``hold`` keep the row until released, its
        lease ends. A row that is gone changes nothing."""
        ...

    async def next_due(self, *, now: float) -> float | None:
        """When the earliest row not held and not leased is due, or a lease ends; None: nothing waits."""
        ...

    async def content(self, blob: BlobId, start: int = 0, length: int | None = None) -> bytes:
        """Octets of a queued message. Raises TemporaryFailure when the storage is away."""
        ...

    async def count(self, wanted: QueueFilter | None = None, *, now: float = 0.0) -> int:
        """Recipients in the queue, held ones included; with a filter those that it chooses."""
        ...

    async def list(self, wanted: QueueFilter, *, limit: int = 1000, now: float, after: int = 0) -> list[QueueRow]:
        """In the order of ``row``, those above ``after``."""
        ...

    # What changes many rows does so in several transactions, so that nobody waits for long, and keeps few of them in memory.

    async def flush(self, wanted: QueueFilter, *, now: float) -> int:
        """Make rows due now (not held ones). Returns how many."""
        ...

    async def hold(self, wanted: QueueFilter, reason: str) -> int: ...

    async def release(self, wanted: QueueFilter, *, now: float) -> int:
        """Make held rows due now, and forget their trouble. Returns how many."""
        ...

    async def delete(self, wanted: QueueFilter) -> int:
        """Remove rows without a bounce; the trace keeps that it was done."""
        ...

    async def reroute(self, wanted: QueueFilter, route: str, *, now: float) -> int:
        """Give rows another next hop ("": where they go by themselves) and make those due now that wait. Returns how many."""
        ...

    async def edit(self, id: QueueId, *, remove: Sequence[int] = (), add: Sequence[QueuedRecipient] = (), now: float) -> bool:
        """Take rows out of a queued message and put recipients into it, in one transaction; who is in it already is not put in again.

        False, and nothing is done: the message is not in the queue, or a row of ``remove`` is gone, or in somebody's
        hands, which it stays when it is held and released there.
        """
        ...

    async def stats(self, *, now: float) -> Mapping[str, int]:
        """``total``, ``due``, ``waiting``, ``leased``, ``held``, and of the held ones ``error`` and ``quarantine``. Quick at any length."""
        ...

    async def shape(self, *, now: float, limit: int = 100) -> Sequence[Shape]:
        """The sites that most waits for, most first."""
        ...
