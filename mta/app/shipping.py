"""The hook ``log_event``: lines of this worker's log for plugins, later and beside everything else.

A handler puts each line into a bounded list, which costs the logger an append; a task hands them on in order. What is logged while
a plugin is told (by it, by the host about it, by tasks it begins) is not told, and neither are lines that bear the name of a
plugin that implements the hook: so no line begets another.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Protocol

from mta.obs.log import Log, values_of
from mta.pluginhost.plan import Plan
from mta_hooks.views import LogRecord

MOST = 10_000
"""Lines that wait; about 5 MB."""
_TOLD_EVERY = 60.0

_telling: ContextVar[bool] = ContextVar("telling_of_the_log", default=False)


class Hooks(Protocol):
    @property
    def log_event(self) -> Plan | None: ...


class Shipper(logging.Handler):
    """Attached to the log while a worker runs. ``dropped``: lines that found no room, in all."""

    def __init__(self, hooks: Hooks, log: Log, now: Callable[[], float] = lambda: asyncio.get_running_loop().time()) -> None:
        super().__init__()
        self._hooks = hooks
        self._log = log
        self._now = now
        self._waiting: deque[logging.LogRecord] = deque()
        self._loop = asyncio.get_running_loop()
        self._wake, self._idle = asyncio.Event(), asyncio.Event()
        self._called = False
        self.dropped = 0

    def handle(self, record: logging.LogRecord) -> bool:
        """Any thread. Without the lock of other handlers: a deque needs none."""
        if self._hooks.log_event is None or _telling.get():
            return False
        if len(self._waiting) >= MOST:
            self.dropped += 1
            return False
        self._waiting.append(record)
        if not self._called and not self._loop.is_closed():
            self._called = True
            self._loop.call_soon_threadsafe(self._wake.set)
        return True

    def attach(self) -> None:
        logging.getLogger("mta").addHandler(self)

    async def detach(self, grace: float) -> None:
        """No further line; those that wait may still be told for ``grace`` seconds."""
        logging.getLogger("mta").removeHandler(self)
        if self._waiting and self._hooks.log_event is not None:
            self._idle.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._idle.wait()

    async def run(self) -> None:
        """Tell plugins, until cancelled."""
        _telling.set(True)
        said, told_at = 0, -_TOLD_EVERY
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._called = False
            while self._waiting:
                await self._tell(self._waiting.popleft())
                if self.dropped > said and self._now() - told_at >= _TOLD_EVERY:
                    self._log.warning("log.dropped", lines=self.dropped - said, waiting=len(self._waiting))
                    said, told_at = self.dropped, self._now()
                await asyncio.sleep(0)
            self._idle.set()

    async def _tell(self, record: logging.LogRecord) -> None:
        plan = self._hooks.log_event
        if plan is None:
            return
        fields = values_of(record)
        if any(step.plugin.name == fields.get("plugin") for step in plan.steps):
            return
        await plan.notify(record=LogRecord(record.created, record.levelname.lower(), record.getMessage(), fields))
