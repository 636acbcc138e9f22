"""What one worker of all does: queue, outbox, maildrop, single jobs of plugins, housekeeping. The lock says which one."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import socket

from mta.app.lock import DispatchLock
from mta.app.places import Places
from mta.config.load import LoadedConfig
from mta.directory.resolve import Resolver
from mta.dispatch.maildrop import Maildrop
from mta.dispatch.outbox import OutboxRunner
from mta.model.errors import TemporaryFailure
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.pipeline.pipeline import Pipeline
from mta.pluginhost.context import Services
from mta.pluginhost.host import HookHost
from mta_hooks.backends.database import Database

_ASK_AGAIN = 0.25  # seconds until a crashed holder is replaced
_HOUSEKEEP = 300.0


class Dispatching:
    """Made in every worker; works in the one that holds the lock."""

    def __init__(
        self,
        *,
        loaded: LoadedConfig,
        places: Places,
        hooks: HookHost,
        database: Database,
        resolver: Resolver,
        pipeline: Pipeline,
        services: Services,
        tasks: Tasks,
        log: Log,
    ) -> None:
        self._hooks, self._database, self._services = hooks, database, services
        self._outer, self._log = tasks, log
        self._tasks = Tasks(log)
        self._lock = DispatchLock(places.dispatch_lock)
        self.holds = False
        owner = f"{socket.gethostname()}:{os.getpid()}"
        self._outbox = OutboxRunner(database=database, hooks=hooks, clock=services.clock, log=log, owner=owner)
        self._maildrop = Maildrop(
            folder=places.maildrop,
            bad=places.maildrop_bad,
            pipeline=pipeline,
            hostname=loaded.config.hostname,
            largest=loaded.config.limits.message_size,
            log=log,
        )

    def start(self) -> None:
        self._waiting = self._outer.spawn(self._wait(), "dispatch-lock")

    async def _wait(self) -> None:
        while not self._lock.acquire():  # noqa: ASYNC110  # flock has no event
            await asyncio.sleep(_ASK_AGAIN)
        self.holds = True
        self._log.info("dispatch.started")
        self._tasks.spawn(self._outbox.run(), "outbox")
        self._tasks.spawn(self._maildrop.run(), "maildrop")
        self._tasks.spawn(self._housekeep(), "housekeeping")
        self._hooks.start_jobs(self._tasks, single=True)

    def wake_queue(self) -> bool:
        """False: another worker has the lock."""
        return self.holds

    def wake_outbox(self) -> bool:
        if self.holds:
            self._outbox.wake()
        return self.holds

    async def _housekeep(self) -> None:
        while True:
            try:
                await self._database.housekeep(now=self._services.clock.now())
            except TemporaryFailure as exc:
                self._log.warning("housekeeping.failed", reason=str(exc))
            await asyncio.sleep(_HOUSEKEEP)

    async def stop(self, grace: float) -> None:
        """Let deliveries at work finish, give the rest back, then the lock."""
        self._waiting.cancel()
        await self._tasks.close()
        self.holds = False
        self._lock.release()
