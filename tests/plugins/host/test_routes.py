"""``registry.routes`` and ``registry.metrics`` without a server: paths, collisions, failures, deadlines."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import threading
import time

import pytest

from mta.net.tasks import Tasks
from mta.pluginhost.check import PluginRefused
from mta.pluginhost.plugin import HostOptions
from mta.pluginhost.routes import Away
from mta.testing.plugins import FakeSession, RecordingLog, host_with, plugin_of
from mta_hooks import hookimpl
from mta_hooks.http import HttpAnswer, HttpRequest, HttpRoute
from mta_hooks.metrics import Metric

REQUEST = HttpRequest("GET", "/", {}, (("a", "1"), ("a", "2")), {}, b"", FakeSession())


def ok(request, ctx):
    return HttpAnswer.text(ctx.plugin)


def offering(name, *routes, metrics=None):
    @hookimpl
    def register(registry):
        registry.routes(routes[0] if len(routes) == 1 and callable(routes[0]) else list(routes))
        if metrics is not None:
            registry.metrics(metrics)

    return plugin_of(register, name=name)


def get(path, handler=ok, **more):
    return HttpRoute("GET", path, handler, access="public", **more)


def ask(host, times=1, route=0):
    async def run():
        tasks = Tasks(RecordingLog())
        host.start(tasks, jobs=False)
        try:
            return [await host.routes[route].ask(REQUEST) for _ in range(times)]
        finally:
            host.stop()
            await tasks.close()

    return asyncio.run(run())


def test_below_the_plugins_name_or_as_it_asks():
    host = host_with(offering("one", get("a/{x}"), get("/b")), offering("two", get("a/{x}")))
    assert [r.path for r in host.routes] == ["/plugins/one/a/{x}", "/b", "/plugins/two/a/{x}"]
    assert ask(host)[0].body == b"one"


@pytest.mark.parametrize(
    ("path", "owner"),
    [("/b/{other}", "one's"), ("/healthz", "the server's"), ("/readyz", "the server's"), ("/plugins/one/x", "another plugin's")],
)
def test_a_path_that_is_taken_is_refused_and_the_first_keeps_it(path, owner):
    host = host_with(offering("one", get("/b/{name}")))
    plugin = host.make("two", offering("two", get(path)), "package", 1)
    with pytest.raises(PluginRefused, match=owner):
        host.change(add=[plugin])
    assert [r.plugin for r in host.routes] == ["one"]
    assert "two" not in host.plugins


def test_another_method_at_the_same_path_is_free_and_the_same_is_not():
    assert len(host_with(offering("one", get("/b")), offering("two", HttpRoute("POST", "/b", ok, access="public"))).routes) == 2
    with pytest.raises(PluginRefused, match="twice"):
        host_with(offering("one", get("b/{x}"), get("b/{y}")))


def test_routes_may_depend_on_the_config():
    host = host_with(offering("one", lambda config: [get(f"/{config['path']}")]), config={"path": "here"})
    assert host.routes[0].path == "/here"


@pytest.mark.parametrize("given", [[1], "GET /", None])
def test_what_is_no_list_of_routes_is_refused(given):
    @hookimpl
    def register(registry):
        registry.routes(given)

    with pytest.raises(PluginRefused, match="HttpRoute"):
        host_with(plugin_of(register, name="one"))


def test_a_removed_plugin_takes_its_routes_along():
    host = host_with(offering("one", get("a")))
    host.change(remove=[host.plugins["one"]])
    assert host.routes == ()


@pytest.mark.parametrize("answer", [None, "text", 7, b"octets"])
def test_what_is_no_answer_counts_as_an_error(answer):
    async def later(request, ctx):
        return answer

    host = host_with(offering("one", get("a", lambda request, ctx: answer), get("b", later)), strict=False)
    assert ask(host) + ask(host, route=1) == [None, None]
    hooks = {h.hook: h for h in host.health()[0].hooks}
    assert [hooks[f"GET /plugins/one/{name}"].errors for name in "ab"] == [1, 1]


def test_errors_in_a_row_close_the_route_and_nothing_else():
    def broken(request, ctx):
        raise RuntimeError("broken")

    host = host_with(offering("one", get("a", broken), get("b")), options=HostOptions(breaker_errors=3), log=RecordingLog())
    assert ask(host, 3) == [None] * 3
    assert (host.health()[0].state, host.health()[0].reason) == ("degraded", "circuit breaker open: GET /plugins/one/a")
    with pytest.raises(Away):
        ask(host)
    assert ask(host, route=1)[0].body == b"one"
    assert host.plugins["one"].breaker.open_until == 0.0  # its hooks are asked as ever


def test_metrics_that_fail_are_not_asked_for_a_while_and_harm_nothing_else():
    asked = []

    def broken(ctx):
        asked.append(1)
        raise RuntimeError("broken")

    host = host_with(offering("one", get("a"), metrics=broken), options=HostOptions(breaker_errors=3), log=RecordingLog())
    for _ in range(10):
        assert asyncio.run(host.metrics()) == []
    assert len(asked) == 3
    assert ask(host)[0].status == 200
    assert host.plugins["one"].breaker.open_until == 0.0


def test_a_handler_that_waits_too_long_is_given_up():
    async def slow(request, ctx):
        await asyncio.sleep(30)

    host = host_with(offering("one", get("a", slow, timeout=0.2)))
    began = time.monotonic()
    assert ask(host) == [None]
    assert time.monotonic() - began < 5
    assert "0.2 s" in host.health()[0].hooks[0].last_error


def test_a_def_that_blocks_the_loop_again_and_again_runs_in_a_thread():
    threads = []

    def heavy(request, ctx):
        threads.append(threading.current_thread())
        time.sleep(0.15)
        return HttpAnswer()

    host = host_with(offering("one", get("a", heavy)), options=HostOptions(block_seconds=0.01, block_limit=2))
    assert [answer.status for answer in ask(host, 3)] == [200] * 3
    assert [thread is threading.main_thread() for thread in threads] == [True, True, False]


def test_query_values():
    assert (REQUEST.value("a"), REQUEST.value("b"), REQUEST.value("b", "c")) == ("1", "", "c")


@pytest.mark.parametrize(
    "arguments",
    [("GETT", "a", ok, "public"), ("GET", "a b", ok, "public"), ("GET", "/a//b", ok, "public"), ("GET", "{a", ok, "public"),
     ("GET", "a", ok, "everybody"), ("GET", "a", None, "public"), ("GET", "a", ok, "public", 0), ("GET", "a", ok, "public", 1e9),
     ("GET", "{a}/{a}", ok, "public")],
)  # fmt: skip
def test_what_cannot_be_a_route_is_refused(arguments):
    with pytest.raises(ValueError, match=r"\w"):
        HttpRoute(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"status": 99}, {"status": 101}, {"status": "200"}, {"body": "text"}, {"headers": {"X": "a\r\nSet-Cookie: b"}}, {"headers": {"X Y": "a"}},
     {"headers": {"Content-Length": "7"}}, {"content_type": "text/\n"}],
)  # fmt: skip
def test_what_http_cannot_carry_is_refused(arguments):
    with pytest.raises(ValueError, match=r"\w"):
        HttpAnswer(**arguments)


def test_numbers_stand_below_the_plugins_name_and_a_failing_plugin_costs_only_its_own():
    def broken(ctx):
        raise RuntimeError("no numbers")

    async def later(ctx):
        return (Metric("b", 2, "gauge"),)

    host = host_with(
        offering("one", metrics=lambda ctx: [Metric("a_total", 1)]),
        offering("bad", metrics=broken),
        offering("worse", metrics=lambda ctx: [1]),
        offering("dash-ed", metrics=later),
        strict=False,
    )
    found = asyncio.run(host.metrics())
    assert [(m.name, m.value) for m in found] == [("mta_one_a_total", 1), ("mta_dash_ed_b", 2)]
    assert {p.name: p.hooks[0].errors for p in host.health()} == {"one": 0, "bad": 1, "worse": 1, "dash-ed": 0}
