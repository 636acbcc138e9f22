"""What one worker of all does: queue, outbox, maildrop, single jobs of plugins, housekeeping. The lock says which one."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import socket
from collections.abc import Callable

from mta.app.apart import separate
from mta.app.health import HealthWatch
from mta.app.indexing import Indexer
from mta.app.lock import DispatchLock
from mta.app.places import Places
from mta.config.load import LoadedConfig
from mta.directory.resolve import Resolver
from mta.dispatch.maildrop import Maildrop
from mta.dispatch.outbox import OutboxRunner
from mta.dispatch.runner import Runner
from mta.dispatch.suspects import Blame
from mta.local.deposit import Depositor
from mta.local.transport import LocalTransport
from mta.model.errors import StorageDead, TemporaryFailure
from mta.net.dialer import Dialer
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.obs.metrics import OUTBOX, QUEUE
from mta.outbound.courier import Outbound
from mta.pipeline.pipeline import Pipeline
from mta.pluginhost.context import Services
from mta.pluginhost.flight import Recorder
from mta.pluginhost.host import HookHost
from mta.route.router import Router
from mta_hooks.backends.database import Database

_ASK_AGAIN = 0.25  # seconds until a crashed holder is replaced
_HOUSEKEEP = 300.0
_AFTER_BUG = 1.0
_COUNT = 15.0  # seconds between looks at how much waits


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
        dead: Callable[[StorageDead], None],
    ) -> None:
        self._loaded, self._hooks, self._database, self._services = loaded, hooks, database, services
        self._resolver = resolver
        self._outer, self._log, self._dead = tasks, log, dead
        self._tasks = Tasks(log)
        self._router = Router(loaded.config, hooks)
        self._owner = f"{socket.gethostname()}:{places.data_dir}"
        self.indexer: Indexer | None = None
        self._lock = DispatchLock(places.dispatch_lock)
        self.holds = False
        self._flight, self._recorder = places.flight, Recorder()
        self._runner = self._new_runner()
        self._outbox = OutboxRunner(
            database=database, hooks=hooks, clock=services.clock, log=log, owner=self._owner, recorder=self._recorder
        )
        self._health = HealthWatch(hooks, places.health, services.clock, log)
        self._maildrop = Maildrop(
            folder=places.maildrop,
            bad=places.maildrop_bad,
            pipeline=pipeline,
            hostname=loaded.config.hostname,
            largest=loaded.config.limits.message_size,
            log=log,
            recorder=self._recorder,
        )
        self._blame = Blame(database, services.clock, log, self._maildrop.set_aside)

    def _new_runner(self) -> Runner:
        config, services = self._loaded.config, self._services
        return Runner(
            config=config,
            hooks=self._hooks,
            database=self._database,
            resolver=self._resolver,
            router=self._router,
            outbound=Outbound(
                hostname=config.hostname,
                dns=services.dns,
                queue=self._database.queue,
                dialer=Dialer(),
                log=self._log,
                connect_timeout=config.queue.connect_timeout,
                hooks=self._hooks,
                tasks=self._tasks,
                tls_policies=config.tls_policies,
                greeting_timeout=config.outbound.greeting_timeout,
                source_addresses=config.outbound.source_addresses,
                helo=config.outbound.helo,
            ),
            local=LocalTransport(self._hooks, self._database.directory, self._log, self._depositor(), self._database),
            clock=services.clock,
            log=self._log,
            tasks=self._tasks,
            hostname=config.hostname,
            owner=self._owner,
            recorder=self._recorder,
        )

    def _depositor(self) -> Depositor | None:
        store, config = separate(self._database), self._loaded.config
        if store is None:
            return None
        return Depositor(self._database.queue, store, os.path.join(config.data_dir, "tmp"), config.limits.memory_per_message)

    def start(self) -> None:
        self._waiting = self._outer.spawn(self._wait(), "dispatch-lock")

    async def _wait(self) -> None:
        while not self._lock.acquire():  # noqa: ASYNC110  # flock has no event
            await asyncio.sleep(_ASK_AGAIN)
        self.holds = True
        self._log.info("dispatch.started")
        await self._look_back()
        self._tasks.spawn(self._run_queue(), "queue")
        self._tasks.spawn(self._outbox.run(), "outbox")
        self._tasks.spawn(self._maildrop.run(), "maildrop")
        self._tasks.spawn(self._housekeep(), "housekeeping")
        self._tasks.spawn(self._health.run(), "health")
        self._tasks.spawn(self._count_queue(), "queue-depth")
        if self.indexer is not None:
            self._tasks.spawn(self.indexer.run(), "search-index")
        self._hooks.start_jobs(self._tasks, single=True)
        self._hooks.start_services(single=True)

    async def _look_back(self) -> None:
        """What was in hand when the last holder died in a hook, before anything of it is tried again."""
        try:
            suspects = self._recorder.open(self._flight)
        except OSError as exc:
            self._log.error("queue.flight_failed", file=self._flight, problem=exc.strerror)
            return
        while True:
            try:
                await self._blame.settle(suspects)
                await self._database.outbox.reclaim(self._owner)
                break
            except TemporaryFailure as exc:
                self._log.warning("queue.waits", reason=str(exc))
            except StorageDead as exc:
                self._dead(exc)
            await asyncio.sleep(_AFTER_BUG)
        self._recorder.clear()

    async def _run_queue(self) -> None:
        """A bug in the runner costs a second and what it had in hand, which its successor takes back; not the queue."""
        while True:
            try:
                await self._runner.run()
                return
            except StorageDead as exc:
                self._dead(exc)
            except Exception:  # noqa: BLE001  # logged with its traceback
                self._log.error("queue.failed", exc_info=True)
            await asyncio.sleep(_AFTER_BUG)
            self._runner = self._new_runner()

    def wake_queue(self) -> bool:
        """False: another worker has the lock."""
        if self.holds:
            self._runner.wake()
        return self.holds

    def flush_queue(self) -> None:
        """An operator made rows due: sites that are down are dialed all the same."""
        if self.holds:
            self._runner.forgive()

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

    async def _count_queue(self) -> None:
        """How much waits, for the metrics: we hold the lock, so we alone say it."""
        while True:
            try:
                found = dict(await self._database.queue.stats(now=self._services.clock.now()))
                notes = await self._database.outbox.count()
            except TemporaryFailure:
                pass  # the log says it elsewhere
            else:
                found["held"] -= found["error"] + found["quarantine"]
                for state in ("due", "waiting", "leased", "held", "error", "quarantine"):
                    QUEUE[state].value = found[state]
                OUTBOX["waiting"].value, OUTBOX["dead"].value = notes["total"] - notes["dead"], notes["dead"]
            await asyncio.sleep(_COUNT)

    async def stop(self, grace: float) -> None:
        """Let deliveries at work finish, give the rest back, then the lock."""
        self._waiting.cancel()
        drain = [self._runner.drain(grace)] if self.holds else []
        await asyncio.gather(self._hooks.stop_services(grace), *drain)  # before another worker starts the single ones
        await self._tasks.close()
        self._recorder.close()
        self.holds = False
        self._lock.release()
