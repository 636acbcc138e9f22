"""Routes and metrics of plugins, called by the same dispatcher as hooks: so they have its deadlines and counters, and a circuit
breaker each, apart from that of the hooks: who makes a route fail must not stop the mail.

A route's path is below /plugins/NAME/ unless it begins with "/"; two plugins cannot have the same, nor one what is the server's.
"""
# SPDX-License-Identifier: Apache-2.0

import inspect
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mta.pluginhost.call import Dispatcher, Failure
from mta.pluginhost.check import PluginRefused
from mta.pluginhost.plugin import Plugin
from mta.pluginhost.specs import Spec
from mta.pluginhost.step import Step, place_of_code
from mta_hooks.http import Access, HttpAnswer, HttpRequest, HttpRoute
from mta_hooks.metrics import MOST_SAMPLES, Metric
from mta_hooks.services import Context

RESERVED = ("/healthz", "/readyz")
"""Paths of the server itself."""
METRICS_DEADLINE = 1.0

_PARAMETER = re.compile(r"\{[A-Za-z_]\w*(:path)?\}")
_UNFIT = re.compile(r"[^a-z0-9_]")


@dataclass(frozen=True, slots=True)
class PluginRoute:
    """One route, ready to be asked. ``path`` is the whole path."""

    method: str
    path: str
    access: Access
    plugin: str
    step: Step
    dispatcher: Dispatcher

    async def ask(self, request: HttpRequest) -> HttpAnswer | None:
        """None: it failed, which is logged and counted. Raises StorageDead, and the breaker's word as ``Away``."""
        answer = await self.dispatcher.call(self.step, {"request": request})
        if isinstance(answer, Failure):
            if not answer.called:
                raise Away
            return None
        found: HttpAnswer = answer
        return found


class Away(Exception):
    """The plugin is not asked at present: its circuit breaker is open."""


def routes_of(plugins: Mapping[str, Plugin], dispatcher: Dispatcher) -> tuple[PluginRoute, ...]:
    """Those of all plugins. Raises PluginRefused for a path that is taken."""
    taken: dict[tuple[str, str], str] = {}
    found: list[PluginRoute] = []
    for plugin in plugins.values():
        for route in plugin.offers.made_routes(plugin.context.config if plugin.context else None):
            path = _whole(route, plugin.name)
            key = (route.method, _PARAMETER.sub(r"{\1}", path))
            if (other := taken.setdefault(key, plugin.name)) is not plugin.name or key[1] in RESERVED:
                owner = "the server" if key[1] in RESERVED else other
                raise PluginRefused(f"the route {route.method} {path} is {owner}'s already", plugin.path)
            if key in {(r.method, _PARAMETER.sub(r"{\1}", r.path)) for r in found if r.plugin == plugin.name}:
                raise PluginRefused(f"offers the route {route.method} {path} twice", plugin.path)
            found.append(PluginRoute(route.method, path, route.access, plugin.name, _step(plugin, route, path), dispatcher))
    return tuple(found)


def _whole(route: HttpRoute, plugin: str) -> str:
    own = f"/plugins/{plugin}/"
    if not route.path.startswith("/"):
        return own + route.path
    if route.path.startswith("/plugins/") and not route.path.startswith(own):
        raise PluginRefused(f"the route {route.path} is below another plugin's name")
    return route.path


def _step(plugin: Plugin, route: HttpRoute, path: str) -> Step:
    spec = Spec(
        f"{route.method} {path}",
        ("request",),
        "first",
        frozenset(),
        "continue",
        route.timeout,
        (HttpAnswer,),
        listed=False,
        text="",
    )
    run = route.handler

    def call(request: HttpRequest, ctx: Context) -> Any:  # whatever the plugin calls its arguments
        answer = run(request, ctx)
        return _expected(answer) if inspect.isawaitable(answer) else _some(answer)

    return _prepared(Step(spec, plugin, call), run)


def _prepared(step: Step, run: Callable[..., Any]) -> Step:
    aside = step.plugin.aside
    if (breaker := aside.get(step.spec.name)) is None:
        breaker = aside[step.spec.name] = step.plugin.breaker.like()
    step.breaker = breaker
    step.file, step.line = place_of_code(run)
    step.timeout = step.spec.timeout  # the plugin's own timeout in the config is for its hooks
    step.on_error = "continue"
    if inspect.iscoroutinefunction(inspect.unwrap(run)):
        step.is_async = True  # it cannot be moved to a thread
    return step


async def _expected(answer: Awaitable[Any]) -> Any:
    return _some(await answer)


def _some(answer: Any) -> Any:
    if answer is None:
        raise TypeError("must answer HttpAnswer, not None")
    return answer


# ---- metrics


async def metrics_of(plugins: Mapping[str, Plugin], dispatcher: Dispatcher) -> list[Metric]:
    """What plugins count, each name below its plugin's; one that fails, or says too much, is left out."""
    found: list[Metric] = []
    for plugin in list(plugins.values()):
        for step in _metric_steps(plugin):
            answer = await dispatcher.call(step, {})
            if answer is None or isinstance(answer, Failure):
                continue
            prefix = f"mta_{_UNFIT.sub('_', plugin.name.lower())}_"
            found += [_renamed(metric, prefix) for metric in answer[:MOST_SAMPLES]]
    return found


def _metric_steps(plugin: Plugin) -> Iterator[Step]:
    offers = plugin.offers
    if not plugin.metric_steps and offers.metrics_functions:
        spec = Spec("metrics", (), "first", frozenset(), "continue", METRICS_DEADLINE, (Metric,), listed=True, text="")

        def step(run: Callable[..., Any]) -> Step:
            def call(ctx: Context) -> Any:
                return run(ctx)

            return _prepared(Step(spec, plugin, call), run)

        plugin.metric_steps = tuple(step(run) for run in offers.metrics_functions)
    yield from plugin.metric_steps


def _renamed(metric: Metric, prefix: str) -> Metric:
    return Metric(prefix + metric.name, metric.value, metric.kind, metric.help, metric.labels, metric.buckets, metric.count)
