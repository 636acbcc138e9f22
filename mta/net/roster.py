"""The connections of one server: looked at from time to time while there are any, and ended together."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from mta_hooks.services import Clock


class Kept(Protocol):
    """What a server keeps of each connection."""

    def dismiss(self) -> None:
        """Say goodbye unless work is under way; then afterwards."""
        ...

    def abort(self) -> None:
        """Cut it at once."""
        ...

    def check_time(self, now: float) -> None:
        """End it when a deadline (monotonic seconds) has passed."""
        ...


C = TypeVar("C", bound=Kept)


class Roster(Generic[C]):
    """``check_time`` is called every ``tick`` seconds. Not for threads."""

    def __init__(self, clock: Clock, tick: float) -> None:
        self._clock, self._tick_seconds = clock, tick
        self._members: set[C] = set()
        self._empty = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, connection: C) -> bool:
        return connection in self._members

    def add(self, connection: C) -> None:
        self._members.add(connection)
        self._empty.clear()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._tick_seconds, self._tick)

    def discard(self, connection: C) -> None:
        self._members.discard(connection)
        if not self._members:
            self._empty.set()

    async def drain(self, grace: float) -> None:
        """End idle connections; those at work have ``grace`` seconds; then cut off. The server takes no new ones meanwhile."""
        for connection in list(self._members):
            connection.dismiss()
        if self._members:
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._empty.wait()
        for connection in list(self._members):
            connection.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        now = self._clock.monotonic()
        for connection in list(self._members):
            connection.check_time(now)
        self._timer = asyncio.get_running_loop().call_later(self._tick_seconds, self._tick) if self._members else None
