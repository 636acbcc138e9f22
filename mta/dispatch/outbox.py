"""Durable notifications: rows of the outbox called, at least once each, until the hooks succeed or the row is buried.

A row that some plugins failed goes on for those alone, each in a row of its own, so that none hears twice because another is away; but
a crash between a call and its commit does make it hear twice (a plugin that must not act twice remembers the record's id in
``ctx.kv``). Waits grow from ten seconds to six hours; after ``ATTEMPTS`` the row is a dead letter, kept for ``mta hooks
replay --dead``. Two rows may be called at the same time and in any order.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Mapping

from mta.model.errors import StorageDead, TemporaryFailure
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.pluginhost.flight import Recorder
from mta.pluginhost.host import HookHost
from mta_hooks.backends.database import Database, OutboxRow
from mta_hooks.services import Clock

CONCURRENCY = 32
"""Rows called at the same time: bounds memory and connections, and lets one slow hook not hold up the others."""
LEASE = 600.0
"""Longer than all implementations of a hook may take together; a crashed owner's rows come back after it."""
POLL = 5.0
ATTEMPTS = 12
LONGEST_WAIT = 6 * 3600.0


class OutboxRunner:
    def __init__(
        self, *, database: Database, hooks: HookHost, clock: Clock, log: Log, owner: str, recorder: Recorder | None = None
    ) -> None:
        self._outbox = database.outbox
        self._hooks = hooks
        self._clock = clock
        self._log = log
        self._owner = owner
        self._recorder = recorder or Recorder()
        self._tasks = Tasks(log)
        self._running = 0
        self._woken = asyncio.Event()
        self._succeeded: list[int] = []
        self._dead: StorageDead | None = None

    def wake(self) -> None:
        """New rows may be there."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled; then calls that run have a moment to end, the others come back when their lease ends. Raises StorageDead."""
        try:
            while True:
                self._woken.clear()
                try:
                    await self._round()
                except TemporaryFailure as exc:
                    self._log.warning("outbox.waiting", reason=str(exc))
                if self._dead is not None:
                    raise self._dead
                await self._rest()
        finally:
            await self._tasks.close(grace=1.0)
            await self._settle()

    async def _round(self) -> None:
        """Write what succeeded, start what is due as far as there is room; every end of a call asks for another round."""
        await self._settle()
        free = CONCURRENCY - self._running
        if free <= 0:
            return
        rows = await self._outbox.lease(self._owner, free, LEASE, now=self._clock.now())
        self._running += len(rows)
        for row in rows:
            self._tasks.spawn(self._call(row), f"outbox-{row.row}")

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(POLL):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _settle(self) -> None:
        if self._succeeded:
            rows, self._succeeded = self._succeeded, []
            try:
                await self._outbox.done(rows)
            except TemporaryFailure:
                self._succeeded += rows
                raise

    async def _call(self, row: OutboxRow) -> None:
        try:
            with self._recorder.of("outbox", str(row.row)):
                failed = await self._hooks.call_durable(row.hook, row.payload, row.plugin)
            if failed:
                await self._put_off(row, "; ".join(f"{plugin}: {error}" for plugin, error in failed.items()), failed)
            else:
                self._succeeded.append(row.row)
        except TemporaryFailure as exc:
            await self._put_off(row, str(exc))
        except StorageDead as exc:
            self._dead = exc
        finally:
            self._running -= 1
            self._woken.set()

    async def _put_off(self, row: OutboxRow, error: str, failed: Mapping[str, str] | None = None) -> None:
        attempts, error = row.attempts + 1, error[:1000]
        try:
            if attempts >= ATTEMPTS:
                await self._outbox.bury(row.row, error=error)
                self._log.error("outbox.buried", row=row.row, hook=row.hook, attempts=attempts, error=error)
            else:
                await self._outbox.retry(row.row, due=self._clock.now() + wait_after(attempts, row.row), error=error, failed=failed)
                self._log.warning("outbox.retry", row=row.row, hook=row.hook, attempts=attempts, error=error)
        except TemporaryFailure as exc:
            self._log.warning("outbox.waiting", reason=str(exc))
        except StorageDead as exc:
            self._dead = exc


def wait_after(attempts: int, row: int) -> float:
    """Seconds: 10, 30, 90, … to six hours, spread by up to a tenth so that rows that failed together come back apart."""
    return min(10.0 * 3.0 ** (attempts - 1), LONGEST_WAIT) * (1 + (row % 97) / 970)
