"""Racing addresses: order, delay, failures, who loses (RFC 8305 §5)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

from mta.net.race import race
from mta.net.tasks import Tasks
from mta.obs.log import Log


def run(*plan, stagger=0.02):
    """Each of the plan: (seconds, result or exception). Return (winner, failures, started, ended early, lost)."""
    started, ended, lost = [], [], []

    def dial(place, seconds, result):
        async def connect():
            started.append(place)
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                ended.append(place)
                raise
            if isinstance(result, Exception):
                raise result
            return result

        return connect

    async def main():
        tasks = Tasks(Log())
        found = await race([dial(n, *each) for n, each in enumerate(plan)], tasks, lost.append, stagger)
        await asyncio.sleep(0)
        assert len(tasks) == 0 or ended or started
        await tasks.close()
        return (*found, started, ended, lost)

    return asyncio.run(main())


def test_the_first_that_is_quick_needs_no_others():
    assert run((0, "a"), (0, "b")) == ("a", {}, [0], [], [])


def test_a_dead_address_costs_a_moment():
    assert run((9, "a"), (0, "b"), (0, "c")) == ("b", {}, [0, 1], [0], [])


def test_a_refused_one_costs_nothing():
    refused = ConnectionRefusedError()
    assert run((0, refused), (0, "b"), stagger=9) == ("b", {0: refused}, [0, 1], [], [])


def test_the_slow_first_may_still_win():
    assert run((0.04, "a"), (9, "b"), stagger=0.01)[0] == "a"


def test_all_fail():
    one, two = OSError("1"), TimeoutError("2")
    assert run((0, one), (0.01, two)) == (None, {0: one, 1: two}, [0, 1], [], [])


def test_two_at_once_and_one_is_closed():
    winner, _, _, _, lost = run((0.05, "a"), (0.03, "b"), stagger=0.02)
    assert {winner, *lost} <= {"a", "b"}
    assert winner is not None


def test_who_gives_up_ends_all():
    async def main():
        tasks = Tasks(Log())

        async def forever():
            await asyncio.sleep(9)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await race([forever, forever], tasks, lambda _: None, 0.01)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(tasks) == 0

    asyncio.run(main())
