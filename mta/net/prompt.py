"""Coroutines that seldom wait, run where they are called: a task costs some 20 µs, and most hooks answer at once."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


def promptly(work: Coroutine[Any, Any, T]) -> T | Coroutine[Any, Any, T]:
    """Run ``work`` until it has to wait. Return its result when it never had to, else a coroutine that goes on with it in a task.

    Raises what ``work`` raises. Until it first waits, ``work`` may be in no task, so it must come to ``own_task`` before it runs
    anything that needs one: ``asyncio.timeout``, a plugin's coroutine. Calls of hooks do so by themselves.
    """
    try:
        future = work.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    return _later(work, future)


@types.coroutine
def own_task() -> Generator[None, None, None]:
    """Go on in a task: wait for one when there is none yet."""
    if asyncio.current_task() is None:
        yield


async def _later(work: Coroutine[Any, Any, T], future: Any) -> T:
    return await _rest(work, future)


@types.coroutine
def _rest(work: Coroutine[Any, Any, T], future: Any) -> Generator[Any, None, T]:
    """What ``yield from`` does, with a coroutine that has said already what it waits for; None: for its task, which it has now."""
    advance: Callable[[Any], Any] = work.send
    value: BaseException | None = None
    first = future is None
    while True:
        if not first:
            try:
                yield future
            except GeneratorExit:
                work.close()
                raise
            except BaseException as exc:  # noqa: BLE001  # the work's to handle
                advance, value = work.throw, exc
            else:
                advance, value = work.send, None
        first = False
        try:
            future = advance(value)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
