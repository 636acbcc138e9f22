"""A chain of steps that answer at once: what a sweep calls, what it stops at, and whose counters it fills."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import time
from collections.abc import Callable
from types import CoroutineType
from typing import Any

import pytest

from mta.model.verdict import Action, Verdict, defer, reject
from mta.net.prompt import promptly
from mta.pluginhost.health import HookHealth
from mta.pluginhost.host import HookHost
from mta.testing.plugins import host_with, plugin_of
from mta_hooks import hookimpl


def host_of(*functions: Callable[[], Any]) -> HookHost:
    """A plugin "0", "1", … for each, that does this at ``smtp_connect``."""

    def plugin(name: str, function: Callable[[], Any]) -> Any:
        @hookimpl
        def smtp_connect() -> Any:
            return function()

        return plugin_of(smtp_connect, name=name)

    return host_with(*(plugin(str(number), function) for number, function in enumerate(functions)))


def ask(host: HookHost) -> Verdict | None:
    """What the hook comes to when it is asked promptly."""
    assert host.smtp_connect is not None
    asked = host.smtp_connect.prompt_verdict(session=None)
    return None if asked is None else asyncio.run(asked).verdict


def counts(host: HookHost) -> dict[str, HookHealth]:
    return {plugin.name: hook for plugin in host.health() for hook in plugin.hooks if hook.hook == "smtp_connect"}


def nothing() -> None:
    return None


def slow() -> None:
    until = time.monotonic() + 0.002
    while time.monotonic() < until:
        pass


def fail() -> None:
    raise OSError("away")


def test_who_says_nothing_costs_no_coroutine() -> None:
    host = host_of(nothing, nothing)
    assert host.smtp_connect is not None
    assert host.smtp_connect.prompt_verdict(session=None) is None
    assert asyncio.run(host.smtp_connect.verdict(session=None)).verdict is None


def test_each_call_is_counted_and_read_once() -> None:
    host = host_of(nothing, nothing, nothing)
    for _ in range(5):
        assert ask(host) is None
    assert [hook.calls for hook in counts(host).values()] == [5, 5, 5]
    assert [hook.calls for hook in counts(host).values()] == [5, 5, 5]
    assert all(0 < hook.seconds < 0.01 for hook in counts(host).values())


def test_counts_outlive_a_change_of_the_plugins() -> None:
    host = host_of(nothing)
    ask(host)
    host.change(remove=(), add=())
    ask(host)
    assert counts(host)["0"].calls == 2


def test_a_long_call_is_the_time_of_its_plugin_alone() -> None:
    host = host_of(nothing, slow, nothing)
    for _ in range(3):
        assert ask(host) is None
    found = counts(host)
    assert [hook.calls for hook in found.values()] == [3, 3, 3]
    assert found["1"].seconds >= 0.006
    assert found["0"].seconds < 0.003
    assert found["2"].seconds < 0.003


@pytest.mark.parametrize("place", range(3))
def test_who_answers_ends_the_sweep(place: int) -> None:
    functions: list[Callable[[], Any]] = [nothing, nothing, nothing]
    functions[place] = lambda: reject("not you")
    host = host_of(*functions)
    verdict = ask(host)
    assert verdict is not None
    assert verdict.action is Action.REJECT
    assert [hook.calls for hook in counts(host).values()] == [1] * (place + 1) + [0] * (2 - place)


def test_those_that_wait_are_heard_between_others() -> None:
    async def wait() -> None:
        await asyncio.sleep(0)

    async def wait_and_defer() -> Verdict:
        await asyncio.sleep(0)
        return defer("later")

    host = host_of(nothing, wait, nothing, wait_and_defer, nothing)
    assert host.smtp_connect is not None
    asked = host.smtp_connect.prompt_verdict(session=None)
    assert isinstance(asked, CoroutineType)
    decision = asyncio.run(asked)
    assert decision.verdict is not None
    assert decision.verdict.action is Action.DEFER
    assert [hook.calls for hook in counts(host).values()] == [1, 1, 1, 1, 0]


def test_one_that_waits_has_a_task_of_its_own_from_its_first_line_on() -> None:
    seen: list[object] = []

    async def wait() -> Verdict:
        async with asyncio.timeout(1):
            seen.append(asyncio.current_task())
            await asyncio.sleep(0)
            seen.append(asyncio.current_task())
        return defer("later")

    host = host_of(nothing, wait)
    assert host.smtp_connect is not None
    plan = host.smtp_connect

    async def run() -> None:
        """As a protocol does it: no task is there when octets come."""
        done = asyncio.get_running_loop().create_future()

        def octets_came() -> None:
            asked = plan.prompt_verdict(session=None)
            assert asked is not None
            later = promptly(asked)
            assert isinstance(later, CoroutineType)
            done.set_result(asyncio.ensure_future(later))

        asyncio.get_running_loop().call_soon(octets_came)
        task = await done
        assert (await task).verdict.action is Action.DEFER
        assert seen == [task, task]

    asyncio.run(run())


def test_one_that_fails_is_counted_and_named() -> None:
    host = host_of(nothing, fail, nothing)
    verdict = ask(host)
    assert verdict is None or verdict.action is Action.DEFER
    found = counts(host)["1"]
    assert (found.calls, found.errors) == (1, 1)
    assert "away" in found.last_error


def test_a_troubled_plugin_is_asked_with_care_until_it_is_well() -> None:
    ill = [True]

    def fail_first() -> None:
        if ill:
            ill.pop()
            fail()

    host = host_of(nothing, fail_first)
    ask(host)
    breaker = host.plugins["1"].breaker
    assert breaker.troubled
    assert ask(host) is None
    assert not breaker.troubled
    assert counts(host)["1"].calls == 2


def test_one_that_holds_up_the_loop_is_found_in_the_middle_of_a_sweep() -> None:
    def block() -> None:
        time.sleep(0.6)  # ten times the bound: held against it though nobody watches

    host = host_of(nothing, block, nothing)
    assert ask(host) is None
    assert [hook.blocked for hook in counts(host).values()] == [0, 1, 0]
