"""Where a handler lives: a thread with an event loop of its own, as aiosmtpd's ``Controller`` gives it one.

Handlers were written for that: they keep objects of their loop, and block it (``smtplib``, mailboxes, databases). Here they block
nobody but themselves.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import fcntl
import importlib
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

STOP_WAIT = 5.0


class NoHandler(Exception):
    """The handler could not be made; the text says why."""


class Home:
    """Thread, loop and handler. ``close`` ends all three; a handler that blocks then is left to the end of the process."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.handler: Any = None
        self._thread = threading.Thread(target=self._run, name=f"aiosmtpd-{name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    async def make(self, place: str, arguments: tuple[Any, ...], options: dict[str, Any], lock: Path) -> None:
        """Import and make the handler, in its thread, one worker after the other: handlers make folders, files, tables then, and
        were not written to meet themselves. Raises NoHandler."""

        async def make() -> Any:
            with lock.open("w") as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)
                module, _, path = place.partition(":")
                found: Any = importlib.import_module(module)
                for name in path.split("."):
                    found = getattr(found, name)
                return found(*arguments, **options)

        try:
            self.handler = await self.run(make)
        except Exception as exc:
            raise NoHandler(f"{place}: {type(exc).__name__}: {exc}") from exc

    async def run(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Call it over there; a caller that is cancelled cancels it too."""

        async def call() -> Any:
            return await function(*args)

        started: Coroutine[Any, Any, Any] = call()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(started, self.loop))

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(STOP_WAIT)
