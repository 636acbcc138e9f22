"""The one place that starts tasks: none is forgotten, none loses its exception."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Coroutine
from types import CoroutineType
from typing import Any, TypeVar

from mta.net.prompt import promptly
from mta.obs.log import Log

T = TypeVar("T")


class Tasks:
    """A set of running tasks; ``close`` cancels and awaits what is left."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> "asyncio.Task[T]":
        """Start ``work``. An exception that ends it is logged as ``task.failed`` with the traceback."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any] | None":
        """Run ``work`` here until it has to wait, the rest in a task: see ``promptly``. Exceptions are logged as with ``spawn``.

        Returns the task; None: there is no rest.
        """
        try:
            later = promptly(work)
        except Exception:  # noqa: BLE001  # logged with its traceback, whatever it is
            self._log.error("task.failed", task=name, exc_info=True)
            return None
        return self.spawn(later, name) if isinstance(later, CoroutineType) else None

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            try:
                raise exc
            except BaseException:  # noqa: BLE001  # logged with its traceback, whatever it is
                self._log.error("task.failed", task=task.get_name(), exc_info=True)

    async def cancel(self, grace: float) -> list[str]:
        """Cancel all and wait ``grace`` seconds at most. Returns the names of those that have not ended."""
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(set(self._running), timeout=grace)
        return [task.get_name() for task in self._running]

    async def close(self, grace: float = 0.0) -> None:
        """Wait ``grace`` seconds for the tasks to end by themselves, then cancel and await them."""
        if self._running and grace > 0:
            await asyncio.wait(set(self._running), timeout=grace)
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.gather(*list(self._running), return_exceptions=True)
