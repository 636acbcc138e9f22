"""Connecting to one of several addresses of a host: a slow or dead one costs a moment, not a time-out (RFC 8305 §5)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from mta.net.tasks import Tasks

STAGGER = 0.25
"""Seconds that an attempt has before the next address is tried beside it: the Connection Attempt Delay of RFC 8305 §5."""

P = TypeVar("P")


async def race(
    dials: Sequence[Callable[[], Awaitable[P]]], tasks: Tasks, lose: Callable[[P], None], stagger: float = STAGGER
) -> tuple[P | None, dict[int, OSError]]:
    """Start the attempts in order, each when the one before failed or is slow; the first that connects wins, the others are ended.

    Returns it, or None when all failed, and by place why those that failed did. ``lose`` closes one that connected too late.
    """
    running: dict[asyncio.Task[P | OSError], int] = {}
    failures: dict[int, OSError] = {}
    winner: P | None = None
    started = 0
    try:
        while winner is None and (running or started < len(dials)):
            if started < len(dials):
                running[tasks.spawn(_attempt(dials[started]), "dial")] = started
                started += 1
            wait = stagger if started < len(dials) else None
            done, _ = await asyncio.wait(running, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=running.__getitem__):
                place, found = running.pop(task), task.result()
                if isinstance(found, OSError):
                    failures[place] = found
                elif winner is None:
                    winner = found
                else:
                    lose(found)
    finally:
        for task in running:
            task.cancel()
    return winner, failures


async def _attempt(dial: Callable[[], Awaitable[P]]) -> P | OSError:
    try:
        return await dial()
    except OSError as exc:  # TimeoutError is one
        return exc
