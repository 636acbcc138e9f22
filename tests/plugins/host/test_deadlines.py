"""Deadlines and blocked loops, with the real watchdog: the session lives on, its own cancellation works, the culprit is named."""

import asyncio
import time

import pytest

from mta.model.errors import TemporaryFailure
from mta.net.tasks import Tasks
from mta.pluginhost.host import HostOptions
from mta.testing.plugins import RecordingLog, host_with, plugin_of
from mta_hooks import hookimpl, reject


def in_loop(host, work):
    """Run ``work()`` with the watchdogs of the host on."""

    async def main():
        tasks = Tasks(RecordingLog())
        host.start(tasks)
        try:
            return await work()
        finally:
            await tasks.close()
            host.stop()

    return asyncio.run(main())


def connect(host):
    return host.smtp_connect.verdict(session=None)


def hanging(hang, **options):
    @hookimpl(timeout=0.1, **options)
    async def smtp_connect(session):
        return await hang()

    return plugin_of(smtp_connect, name="hanging")


def test_a_hanging_hook_is_cancelled_and_on_error_answers() -> None:
    ended = []

    async def hang():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    log = RecordingLog()
    host = host_with(hanging(hang), log=log)

    async def work():
        began = time.monotonic()
        decision = await connect(host)
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)
        return decision, time.monotonic() - began

    decision, seconds = in_loop(host, work)
    assert decision.verdict.code == 451
    assert seconds < 1
    assert ended == [True]
    assert log.named("plugin.error")[0]["error"] == "Overdue: no answer within 0.1 s"


def test_a_hook_that_swallows_the_cancellation_is_left_behind() -> None:
    async def hang():
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass

    async def work():
        return await connect(host)

    host = host_with(hanging(hang))
    began = time.monotonic()
    assert in_loop(host, work).verdict.code == 451
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("answer", [None, "reject"])
def test_an_answer_given_because_of_the_cancellation_does_not_count(answer) -> None:
    async def hang():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return answer and reject("late")

    async def work():
        return await connect(host)

    host = host_with(hanging(hang))
    assert in_loop(host, work).verdict.code == 451


def test_a_hook_that_turns_the_cancellation_into_its_own_error_is_overdue_too() -> None:
    async def hang():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise OSError("gone") from None

    async def work():
        return await connect(host)

    host = host_with(hanging(hang))
    assert "Overdue" in in_loop(host, work).steps[0]["error"]


@pytest.mark.parametrize("kind", ["plain", "swallows", "translates"])
def test_the_session_s_own_cancellation_passes_whatever_the_hook_does(kind) -> None:
    async def hang():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if kind == "swallows":
                return
            if kind == "translates":
                raise ValueError from None
            raise

    async def work():
        session = asyncio.ensure_future(connect(host))
        await asyncio.sleep(0.01)
        session.cancel()
        with pytest.raises(asyncio.CancelledError):
            await session
        return session.cancelled()

    log = RecordingLog()
    host = host_with(hanging(hang), log=log)
    assert in_loop(host, work)
    assert not log.named("plugin.error")


def test_the_session_s_cancellation_wins_over_a_deadline_at_the_same_time() -> None:
    async def hang():
        await asyncio.sleep(60)

    async def work():
        session = asyncio.ensure_future(connect(host))
        await asyncio.sleep(0.01)
        host._dispatcher.watchdog.check(time.monotonic() + 10)
        session.cancel()
        with pytest.raises(asyncio.CancelledError):
            await session

    host = host_with(hanging(hang))
    in_loop(host, work)


def test_a_time_out_of_the_hook_s_own_works_inside() -> None:
    async def hang():
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        except TimeoutError:
            return reject("own time-out")

    async def work():
        return await connect(host)

    host = host_with(hanging(hang))
    assert in_loop(host, work).verdict.text == "own time-out"


def test_hooks_within_hooks_each_have_their_deadline() -> None:
    @hookimpl(timeout=0.1)
    async def smtp_ehlo():
        await asyncio.sleep(60)

    @hookimpl(timeout=30)
    async def smtp_connect():
        inner = await host.smtp_ehlo.verdict(session=None, name="", verb="")
        return reject(f"inner {inner.verdict.code}")

    async def work():
        return await connect(host)

    host = host_with(plugin_of(smtp_connect, smtp_ehlo, name="nested"))
    assert in_loop(host, work).verdict.text == "inner 451"


def test_many_overdue_calls_at_once_leave_the_others_alone() -> None:
    @hookimpl(timeout=0.1)
    async def smtp_connect(session):
        await asyncio.sleep(60 if session else 0.4)
        return reject("in time") if not session else None

    @hookimpl(timeout=5)
    async def smtp_ehlo():
        await asyncio.sleep(0.4)
        return reject("in time")

    async def work():
        late = [connect_with(i) for i in (1,) * 50]
        quick = [host.smtp_ehlo.verdict(session=None, name="", verb="") for _ in range(50)]
        return await asyncio.gather(*late, *quick)

    def connect_with(session):
        return host.smtp_connect.verdict(session=session)

    host = host_with(plugin_of(smtp_connect, smtp_ehlo, name="p"), options=HostOptions(breaker_errors=1000))
    decisions = in_loop(host, work)
    assert [d.verdict.code for d in decisions[:50]] == [451] * 50
    assert [d.verdict.text for d in decisions[50:]] == ["in time"] * 50


# ---- blocked loops


def blocking():
    @hookimpl
    def smtp_connect():
        time.sleep(0.2)  # this very line is named
        return reject("slow")

    return plugin_of(smtp_connect, name="blocking")


BLOCKING_LINE = blocking.__code__.co_firstlineno + 3


def test_a_blocking_function_is_named_with_file_and_line_and_then_runs_in_a_thread() -> None:
    log = RecordingLog()
    host = host_with(blocking(), log=log)

    async def work():
        gaps = []
        for _ in range(5):
            call = asyncio.ensure_future(connect(host))
            widest, last = 0.0, time.monotonic()
            while not call.done():
                await asyncio.sleep(0.005)
                now = time.monotonic()
                widest, last = max(widest, now - last), now
            gaps.append(widest)
            assert call.result().verdict.text == "slow"
        return gaps

    gaps = in_loop(host, work)
    assert all(gap > 0.15 for gap in gaps[:3])
    assert all(gap < 0.15 for gap in gaps[3:])
    lines = log.named("plugin.blocked")
    assert len(lines) == 3
    assert {(line["plugin"], line["hook"], line["line"]) for line in lines} == {("blocking", "smtp_connect", BLOCKING_LINE)}
    assert {line["file"] for line in lines} == {__file__}
    assert log.named("plugin.moved")[0]["plugin"] == "blocking"
    (health,) = host.health()
    assert (health.state, health.hooks[0].blocked, health.hooks[0].calls) == ("degraded", 3, 5)


def test_a_moved_plugin_stays_in_threads_when_plans_are_made_anew() -> None:
    host = host_with(blocking())
    plugin = host.plugins["blocking"]
    plugin.threaded = True
    host.change(remove=[plugin], add=[plugin])
    assert host.smtp_connect.steps[0].is_async


def test_a_function_that_hangs_in_its_thread_is_left_at_its_deadline() -> None:
    @hookimpl(timeout=0.1)
    def smtp_connect():
        time.sleep(1.5)

    host = host_with(plugin_of(smtp_connect, name="hanging"))
    plugin = host.plugins["hanging"]
    plugin.threaded = True
    host.change(remove=[plugin], add=[plugin])

    async def work():
        began = time.monotonic()
        decision = await connect(host)
        return decision, time.monotonic() - began

    decision, seconds = in_loop(host, work)
    assert decision.verdict.code == 451
    assert seconds < 1


def test_an_async_function_that_blocks_is_suspended() -> None:
    @hookimpl
    async def smtp_connect():
        await asyncio.sleep(0)
        time.sleep(0.2)

    log = RecordingLog()
    host = host_with(plugin_of(smtp_connect, name="blocking"), log=log)

    async def work():
        return [await connect(host) for _ in range(5)]

    decisions = in_loop(host, work)
    assert [d.verdict and d.verdict.code for d in decisions] == [None, None, None, 451, 451]
    assert log.named("plugin.suspended")[0]["plugin"] == "blocking"
    assert log.named("plugin.blocked")[0]["line"] == smtp_connect.__code__.co_firstlineno + 3


# ---- threads of a plugin


def test_ctx_threads_are_bounded_and_hand_back_errors() -> None:
    running = []

    def job(i):
        running.append(1)
        widest = len(running)
        time.sleep(0.02)
        running.pop()
        if i == 7:
            raise KeyError(i)
        return widest

    @hookimpl
    async def startup(ctx):
        results = await asyncio.gather(*(ctx.threads.run(job, i) for i in range(12)), return_exceptions=True)
        widths.extend(results)

    widths = []
    host = host_with(startup)

    async def work():
        await host.startup.all(server=None)

    in_loop(host, work)
    assert isinstance(widths[7], KeyError)
    assert max(w for w in widths if isinstance(w, int)) <= 4


# ---- jobs


def test_jobs_run_again_and_again_and_a_failing_one_goes_on() -> None:
    ran = []

    async def tick(context):
        ran.append(context.plugin)
        if len(ran) == 1:
            raise ValueError("first time")

    async def single(context):
        ran.append("single")

    @hookimpl
    def register(registry):
        registry.job("tick", 0.01, tick, single=False)
        registry.job("one", 0.01, single)

    log = RecordingLog()
    host = host_with(plugin_of(register, name="jobs"), log=log)

    async def work():
        while len(ran) < 3:
            await asyncio.sleep(0.01)

    in_loop(host, work)
    assert set(ran) == {"jobs"}
    assert log.named("plugin.error")[0]["hook"] == "job tick"


def test_send_and_keys_reach_the_services() -> None:
    @hookimpl
    async def startup(ctx):
        await ctx.kv.set("k", b"v", ttl=10)
        seen.append((await ctx.kv.get("k"), await ctx.send(None, ["a@b"], b"x")))
        ctx.clock.advance(11)
        seen.append(await ctx.kv.get("k"))

    seen = []
    host = host_with(startup)
    asyncio.run(host.startup.all(server=None))
    assert seen == [(b"v", "sent-1"), None]
    host.services.send = None

    @hookimpl
    async def shutdown(ctx):
        with pytest.raises(TemporaryFailure):
            await ctx.send(None, ["a@b"], b"x")

    host.change(add=[host.make("s", plugin_of(shutdown), "drop-in")])
    asyncio.run(host.shutdown.all(server=None))


def test_a_stall_that_nobody_saw_is_not_held_against_the_plugin() -> None:
    """On a machine with too much to do any thread may be put aside for a tenth of a second, in the middle of any call."""

    @hookimpl
    def smtp_connect():
        time.sleep(0.06)

    log = RecordingLog()
    host = host_with(plugin_of(smtp_connect, name="p"), log=log)

    async def without_watchdog():
        for _ in range(5):
            await connect(host)

    asyncio.run(without_watchdog())
    assert host.health()[0].state == "ok"
    assert host.health()[0].hooks[0].blocked == 5
    assert log.lines == []


def test_the_engine_s_own_parts_are_never_suspended_or_moved() -> None:
    @hookimpl
    def smtp_connect():
        time.sleep(0.51)
        raise ValueError

    log = RecordingLog()
    host = host_with(log=log, options=HostOptions(breaker_errors=1, block_limit=1))
    host.add_builtin("part", plugin_of(smtp_connect))

    async def work():
        return [await connect(host) for _ in range(2)]

    assert [d.steps[0]["error"] for d in asyncio.run(work())] == ["ValueError"] * 2
    assert not host.plugins["part"].threaded
    assert not log.named("plugin.suspended")


def test_a_function_that_hands_back_a_coroutine_works_in_a_thread_too() -> None:
    async def later():
        await asyncio.sleep(0)
        return reject("later")

    @hookimpl
    def smtp_connect():
        return later()

    host = host_with(plugin_of(smtp_connect, name="p"))
    assert asyncio.run(connect(host)).verdict.text == "later"
    host.smtp_connect.steps[0].move_to_threads()
    assert asyncio.run(connect(host)).verdict.text == "later"
