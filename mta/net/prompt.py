"""Coroutines that seldom wait, run where they are called: a task costs some 20 µs, and most hooks answer at once."""
# SPDX-License-Identifier: Apache-2.0

import threading
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


def promptly(work: Coroutine[Any, Any, T]) -> T | Coroutine[Any, Any, T]:
    """Run ``work`` until it has to wait. Return its result when it never had to, else a coroutine that goes on with it in a task.

    Raises what ``work`` raises. Until it first waits, ``work`` has no task, or is in one that is not its own, so it must come to
    ``own_task`` before it runs anything that needs one: ``asyncio.timeout``, a plugin's coroutine. Calls of hooks do so by themselves.
    """
    _HERE.depth += 1
    try:
        future = work.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        _HERE.depth -= 1
    return _later(work, future)


class _Here(threading.local):
    """How many coroutines are run promptly at the moment, each within the next."""

    depth = 0


_HERE = _Here()


def has_own_task() -> bool:
    """Whether who asks will be in the current task to its end."""
    return not _HERE.depth


@types.coroutine
def own_task() -> Generator[None, None, None]:
    """Go on in a task that is one's own: wait for it when there is none yet."""
    while _HERE.depth:
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
