"""A few daemon threads for one plugin: what ``ctx.threads`` runs on, and where functions go that blocked the event loop.

Of our own because ``concurrent.futures`` joins its threads at exit: a plugin that hangs would hold up the server's end.
One pool for each plugin, so that one which hangs starves nobody else. Threads start when first needed.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_Work = tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]


class Pool:
    """At most ``size`` threads; work beyond that waits, and work whose caller has gone is skipped."""

    def __init__(self, name: str, size: int = 4) -> None:
        self._name = name
        self._size = size
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Run ``function(*args)`` in a thread. Cancelled: the answer is dropped, the function runs on to its end."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._size:
            thread = threading.Thread(target=self._serve, name=f"plugin-{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._work.put((future, function, args))
        return await future

    def close(self) -> None:
        """Let idle threads end. What hangs is left to die with the process."""
        for _ in self._threads:
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._next()) is not None:
            future, function, args = work
            if not future.cancelled():
                answer, error = None, None
                try:
                    answer = function(*args)
                except BaseException as exc:  # noqa: BLE001  # whatever a plugin raises belongs to its caller
                    error = exc
                self._hand_back(future, answer, error)
            del work, future, function, args

    def _next(self) -> _Work | None:
        try:
            return self._work.get_nowait()
        except queue.Empty:
            self._idle.release()
            return self._work.get()

    def _hand_back(self, future: asyncio.Future[Any], answer: Any, error: BaseException | None) -> None:
        try:
            future.get_loop().call_soon_threadsafe(_settle, future, answer, error)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more


def _settle(future: asyncio.Future[Any], answer: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(answer)
    elif isinstance(error, StopIteration):
        future.set_exception(RuntimeError("StopIteration raised in a thread"))
    else:
        future.set_exception(error)
