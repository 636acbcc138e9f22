"""Results on their way into the queue: what ends within ``PAUSE`` goes into one commit, unless nothing else is under way.

A commit costs more than what it says of ten recipients, and nobody waits for it. A crash meanwhile delivers again what was not
written; it loses nothing.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Callable, Sequence

from mta.dispatch.conclude import Concluder, Finding, Settlement
from mta.model.delivery import Leased
from mta.model.errors import MailError, NoSuchUser, OverQuota, StorageDead, TemporaryFailure
from mta.model.ids import QueueId, UserId
from mta.obs.log import Log
from mta_hooks.backends.queue import Queue

MAX_BATCH = 1000  # outcomes in one transaction: keeps it short for those who wait behind it
PAUSE = 0.01
_RETRY = 1.0


class Settler:
    def __init__(
        self,
        queue: Queue,
        concluder: Concluder,
        log: Log,
        settled: Callable[[Leased], None],
        exceeded: Callable[[Sequence[UserId], QueueId], None] = lambda _users, _id: None,
        in_hand: Callable[[], int] = lambda: 0,
    ) -> None:
        """``settled`` is told of each row that is out of our hands; ``exceeded``: whose mailboxes are full; ``in_hand``: rows with and
        without a result."""
        self._in_hand = in_hand
        self._exceeded = exceeded
        self._queue = queue
        self._concluder = concluder
        self._log = log
        self._settled = settled
        self._waiting: list[Settlement] = []
        self._rows = 0
        self._timer: asyncio.TimerHandle | None = None
        self._woken = asyncio.Event()
        self._busy = False

    @property
    def empty(self) -> bool:
        return not self._waiting and not self._busy

    def add(self, settlement: Settlement) -> None:
        self._waiting.append(settlement)
        self._rows += len(settlement.outcomes)
        if self._rows >= min(self._in_hand(), MAX_BATCH):
            self._woken.set()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PAUSE, self._pause_ends)

    def _pause_ends(self) -> None:
        self._timer = None
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled. Raises StorageDead."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._waiting:
                await self._write()

    async def _write(self) -> None:
        batch, count = 0, 0
        while batch < len(self._waiting) and count < MAX_BATCH:
            count += len(self._waiting[batch].outcomes)
            batch += 1
        taken, self._waiting[:batch] = self._waiting[:batch], []
        self._rows -= count
        if self._waiting:
            self._woken.set()
        self._busy = True
        try:
            await self._settle(taken)
        except BaseException:
            self._waiting[:0] = taken  # what was written already changes nothing when it is written again
            self._rows += count
            raise
        finally:
            self._busy = False

    async def _settle(self, taken: list[Settlement]) -> None:
        try:
            await self._together(taken)
        except StorageDead:
            raise
        except Exception as exc:  # noqa: BLE001  # the one that cannot be written must not hold up the others
            if not isinstance(exc, MailError):
                self._log.error("queue.settle_failed", rows=len(taken), exc_info=True)
            for one in taken:
                await self._alone(one)

    async def _together(self, taken: list[Settlement]) -> None:
        outcomes = [outcome for one in taken for outcome in one.outcomes]
        submissions = [intake for one in taken for intake in one.submissions]
        while True:
            try:
                await self._queue.settle(outcomes, submissions)
                break
            except TemporaryFailure as exc:
                self._log.warning("queue.settle_waits", rows=len(outcomes), reason=str(exc))
                await asyncio.sleep(_RETRY)
        for outcome in outcomes:
            self._settled(outcome.leased)

    async def _alone(self, one: Settlement) -> None:
        try:
            await self._together([one])
        except StorageDead:
            raise
        except (OverQuota, NoSuchUser) as exc:
            await self._refused(one, exc)
        except Exception:  # noqa: BLE001  # a bug: its lease ends, then it is tried again
            self._log.error("queue.settle_failed", id=one.outcomes[0].leased.message.id, exc_info=True)
            for outcome in one.outcomes:
                self._settled(outcome.leased)

    async def _refused(self, one: Settlement, exc: MailError) -> None:
        """A mailbox is full or gone: that of a sender who was to be told, else that of a recipient, who fails."""
        if isinstance(exc, OverQuota) and len(one.outcomes) == 1:
            self._exceeded(exc.users, one.outcomes[0].leased.message.id)
        if one.submissions:
            self._log.warning("dsn.undeliverable", ids=" ".join(intake.id for intake in one.submissions), reason=str(exc))
            await self._alone(Settlement(one.outcomes))
        elif len(one.outcomes) > 1:
            for outcome in one.outcomes:
                await self._alone(Settlement((outcome,)))
        else:
            leased = one.outcomes[0].leased
            reply = "552 5.2.2 mailbox is full" if isinstance(exc, OverQuota) else "550 5.1.1 no such user here"
            await self._alone(await self._concluder.conclude(leased.message, [Finding(leased, reply)]))
