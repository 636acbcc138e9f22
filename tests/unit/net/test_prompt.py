"""Coroutines run where they are called: what they come to, and how they go on in a task."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

from mta.net.prompt import own_task, promptly
from mta.net.tasks import Tasks
from mta.testing.plugins import RecordingLog


def soon(work):
    """Call ``work`` from the event loop, outside of any task, and return what it returned and raised there."""

    async def run():
        done = asyncio.get_running_loop().create_future()

        def call():
            try:
                done.set_result((promptly(work()), None))
            except Exception as exc:
                done.set_result((None, exc))

        asyncio.get_running_loop().call_soon(call)
        made, error = await done
        if error is not None:
            raise error
        return ("later", await Tasks(RecordingLog()).spawn(made, "later")) if asyncio.iscoroutine(made) else ("at once", made)

    return asyncio.run(run())


async def nothing():
    return 7


async def waits():
    return [await asyncio.sleep(0.001, n) for n in range(3)]


async def yields():
    await asyncio.sleep(0)
    return 1


async def asks_for_time():
    await own_task()
    async with asyncio.timeout(5):
        return asyncio.current_task() is not None


async def catches():
    try:
        async with asyncio.timeout(0.001):  # only a task can be timed
            await asyncio.sleep(5)
    except TimeoutError:
        return "caught"


async def waits_first_then_times():
    await asyncio.sleep(0.001)
    return await catches()


@pytest.mark.parametrize(
    ("work", "when", "comes_to"),
    [
        (nothing, "at once", 7),
        (waits, "later", [0, 1, 2]),
        (yields, "later", 1),
        (asks_for_time, "later", True),
        (waits_first_then_times, "later", "caught"),
    ],
)
def test_what_it_comes_to(work, when, comes_to):
    assert soon(work) == (when, comes_to)


@pytest.mark.parametrize("pause", [None, 0, 0.001])
def test_its_exception_is_the_callers_or_the_tasks(pause):
    async def fails():
        if pause is not None:
            await asyncio.sleep(pause)
        raise ValueError(pause)

    with pytest.raises(ValueError, match=str(pause)):
        soon(fails)


def test_a_task_has_its_own_already():
    async def run():
        return await asks_for_time(), promptly(nothing())

    assert asyncio.run(run()) == (True, 7)


def test_the_callers_task_is_not_ones_own():
    """Who is called in a task and has to wait goes on in another: what it does to its task is not for the caller."""
    found = []

    async def looks():
        await own_task()
        found.append(asyncio.current_task())

    async def run():
        made = promptly(looks())
        task = Tasks(RecordingLog()).spawn(made, "later")
        await task
        return found == [task] and task is not asyncio.current_task()

    assert asyncio.run(run())


def test_one_within_another_waits_for_the_task_of_the_outer():
    async def outer():
        inner = promptly(asks_for_time())
        return await inner

    assert soon(outer) == ("later", True)


@pytest.mark.parametrize("first", [own_task, lambda: asyncio.sleep(3600)])
def test_cancelled_while_it_waits_it_may_clean_up(first):
    told = []

    async def cleans():
        try:
            await first()
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            told.append("cancelled")
            await asyncio.sleep(0)
            raise
        finally:
            told.append("left")

    async def run():
        made = []
        asyncio.get_running_loop().call_soon(lambda: made.append(promptly(cleans())))
        await asyncio.sleep(0)
        task = Tasks(RecordingLog()).spawn(made[0], "later")
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert told == ["cancelled", "left"]


def test_what_nobody_goes_on_with_is_closed():
    told = []

    async def waits_long():
        try:
            await asyncio.sleep(3600)
        finally:
            told.append("left")

    async def run():
        made = promptly(waits_long())
        made.send(None)  # begun, as a task does
        made.close()

    asyncio.run(run())
    assert told == ["left"]


def test_started_work_is_logged_when_it_fails_at_once_or_later_and_awaited():
    async def fails(pause):
        if pause:
            await asyncio.sleep(pause)
        raise ValueError("no")

    async def run():
        log = RecordingLog()
        tasks = Tasks(log)
        tasks.start(nothing(), "good")
        assert len(tasks) == 0  # it never was one
        tasks.start(fails(0), "bad")
        tasks.start(fails(0.001), "late")
        assert len(tasks) == 1
        await tasks.close(1)
        return [(event, about["task"]) for _, event, about in log.lines]

    assert asyncio.run(run()) == [("task.failed", "bad"), ("task.failed", "late")]
