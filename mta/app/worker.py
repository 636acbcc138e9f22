"""One worker process: an event loop that serves the shared sockets, and, when it holds the lock, the queue.

It says "ready" to the supervisor when it accepts; SIGTERM drains it; the end of the lifeline (the supervisor died) too.
StorageDead ends it at once, with no further word to any peer: what was answered is durable, the rest was not answered.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import faulthandler
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mta.app.accept import Acceptor
from mta.app.accounts import open_launcher
from mta.app.board import Board, Line
from mta.app.build import Assembly
from mta.app.live import Live, Overview, measure
from mta.app.places import Places
from mta.app.privileges import Account, become
from mta.app.sockets import Listening
from mta.config.load import LoadedConfig
from mta.model.errors import ConfigError, MailError, StorageDead
from mta.net.tasks import Tasks
from mta.net.tls import ServerContext
from mta.obs.log import Log
from mta.obs.metrics import LAG, OPEN
from mta.pluginhost.launcher import Launcher

EX_SOFTWARE, EX_IOERR, EX_TEMPFAIL, EX_CONFIG = 70, 74, 75, 78
_TOLD_EVERY = 0.5  # seconds between looks at our own numbers
_ORPHAN_GRACE = 5.0


@dataclass(frozen=True, slots=True)
class Job:
    """What the supervisor gives one worker. ``old``: the config in force while a reload starts it; ``number`` from 0; ``slot``: row of the board; ``ready`` and ``lifeline``: fds."""

    loaded: LoadedConfig
    old: LoadedConfig | None
    listening: Sequence[Listening]
    tls: ServerContext
    places: Places
    account: Account | None
    board: Board
    live: Live
    slots: int
    number: int
    slot: int
    ready: int
    lifeline: int
    log: Log


def main(job: Job) -> int:
    """The whole life of the process. Returns the exit status."""
    faulthandler.enable()
    launcher = None
    if job.account is not None:
        launcher = open_launcher(job.loaded.config, job.account, job.log)
        become(job.account)
    gc.set_threshold(50_000, 20, 50)
    try:
        with asyncio.Runner(loop_factory=_new_loop()) as runner:
            return runner.run(Worker(job, launcher).run())
    except ConfigError as exc:
        return _failed(job, exc, EX_CONFIG)
    except StorageDead as exc:
        return _failed(job, exc, EX_IOERR)
    except (MailError, OSError) as exc:
        return _failed(job, exc, EX_TEMPFAIL)


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """None: asyncio's own, where uvloop is not to be had."""
    try:
        import uvloop
    except ImportError:
        return None
    make: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return make


def _failed(job: Job, exc: Exception, status: int) -> int:
    job.log.error("worker.failed", problem=str(exc) or type(exc).__name__, status=status)
    os.write(job.ready, json.dumps({"failed": str(exc) or type(exc).__name__, "status": status}).encode() + b"\n")
    return status


class Worker:
    def __init__(self, job: Job, launcher: Launcher | None = None) -> None:
        """``launcher``: opened while we were root."""
        self._launcher = launcher
        self._job = job
        self._log = job.log
        self._tasks = Tasks(job.log)
        self._stopping = asyncio.Event()
        self._grace = job.loaded.config.drain
        self._crowded = False

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._loop_exception)
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends these to the whole group; the supervisor acts on them
            loop.add_signal_handler(number, _nothing)
        loop.add_reader(self._job.lifeline, self._orphaned)
        job = self._job
        overview = Overview(job.board, job.live, job.slots, int(job.loaded.config.workers))
        assembly = Assembly(job.loaded, job.places, job.number, job.tls, self._tasks, self._log, job.old, overview, self._launcher)
        await assembly.open(self._dead)
        acceptor = self._make_acceptor(assembly)
        gc.collect()
        gc.freeze()
        self._assembly, self._acceptor = assembly, acceptor
        acceptor.start()
        self._tell()
        await self._publish()
        os.write(self._job.ready, b'{"ready": true}\n')
        telling = self._tasks.spawn(self._keep_telling(), "board")
        await self._stopping.wait()
        telling.cancel()
        acceptor.stop()
        self._tell(accepting=0)
        await assembly.close(self._grace)
        await self._publish()
        await self._tasks.close()
        return 0

    def _make_acceptor(self, assembly: Assembly) -> Acceptor:
        job = self._job
        return Acceptor(
            [(one, assembly.factory(one.spec)) for one in job.listening],
            tls=job.tls,
            count=assembly.connections,
            tell=self._tell,
            others_least=lambda: job.board.least_connections(job.slot, job.slots),
            limit=job.loaded.config.limits.connections,
            tasks=self._tasks,
            log=self._log,
        )

    def _tell(self, accepting: int = 1) -> None:
        smtp, imap, pop3, http = self._assembly.counts()
        line = Line(os.getpid(), smtp + self._acceptor.arriving, imap, pop3, int(self._assembly.dispatching), accepting, http)
        self._job.board.write(self._job.slot, line)

    async def _keep_telling(self) -> None:
        """Our line on the board, and every other time our numbers; what the timer is late by is one of them."""
        numbers = False
        while True:
            due = time.monotonic() + _TOLD_EVERY
            await asyncio.sleep(_TOLD_EVERY)
            LAG.observe(max(0.0, time.monotonic() - due))
            self._tell()
            numbers = not numbers
            if numbers:
                await self._publish()

    async def _publish(self) -> None:
        """Let the others see our numbers."""
        hooks, (smtp, imap, pop3, http) = self._assembly.hooks, self._assembly.counts()
        for protocol, count in (("smtp", smtp), ("imap", imap), ("pop3", pop3), ("http", http)):
            OPEN[protocol].value = count
        snapshot = measure(self._job.number, os.getpid(), hooks.health(), await hooks.metrics())
        if not self._job.live.write(self._job.slot, snapshot) and not self._crowded:
            self._crowded = True
            self._log.warning("metrics.too_many", numbers=len(snapshot.metrics), fix="a plugin has a label with too many values")

    def _stop(self) -> None:
        self._stopping.set()

    def _orphaned(self) -> None:
        asyncio.get_running_loop().remove_reader(self._job.lifeline)
        self._log.error("worker.orphaned", problem="the supervisor is gone")
        self._grace = min(self._grace, _ORPHAN_GRACE)
        self._stopping.set()

    def _dead(self, exc: StorageDead) -> None:
        """The disk's state is unknown: not one more octet to anybody."""
        self._log.error("storage.dead", problem=str(exc))
        sys.stderr.flush()
        os._exit(EX_IOERR)

    def _loop_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Exceptions of callbacks and protocols that nobody caught: a bug, or the disk."""
        exc = context.get("exception")
        if isinstance(exc, StorageDead):
            self._dead(exc)
        if isinstance(exc, BaseException):
            try:
                raise exc
            except BaseException:  # noqa: BLE001  # logged with its traceback, whatever it is
                self._log.error("loop.exception", message=context.get("message"), exc_info=True)
        else:
            self._log.error("loop.exception", message=context.get("message"))


def _nothing() -> None:
    """Signals that are the supervisor's."""
