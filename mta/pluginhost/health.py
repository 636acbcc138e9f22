"""How the plugins fare, as values: for ``mta plugins``, ``mta status`` and the health page."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Literal

from mta.pluginhost.plugin import Counter, Kind, Plugin
from mta.pluginhost.step import Step

State = Literal["ok", "degraded", "suspended", "failed"]


@dataclass(frozen=True, slots=True)
class HookHealth:
    """One hook, job or route of one plugin since the worker's start; ``seconds`` is the sum, ``last_error_at`` wall clock or 0.0."""

    hook: str
    calls: int
    errors: int
    seconds: float
    blocked: int
    last_error: str
    last_error_at: float
    on_error: str
    timeout: float


@dataclass(frozen=True, slots=True)
class PluginHealth:
    """One plugin.

    state   "failed": not running, see ``reason``; "suspended": its circuit breaker is open; "degraded": it blocked the
            loop and runs in threads, one of its routes is suspended, its process failed, or it is missing what an optional plugin may miss
    """

    name: str
    kind: Kind
    state: State
    reason: str = ""
    version: str = ""
    path: str = ""
    required: bool = False
    hooks: tuple[HookHealth, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """A plugin that was to run and does not."""

    name: str
    kind: Kind
    reason: str
    file: str = ""
    line: int = 0

    def health(self) -> PluginHealth:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return PluginHealth(self.name, self.kind, "failed", self.reason, path=place)


def health_of(plugin: Plugin, steps: Mapping[str, Sequence[Step]]) -> PluginHealth:
    """``steps`` are those of the plugin, by hook."""
    state: State = "ok"
    reason = ""
    if plugin.breaker.open_until > monotonic():
        state, reason = "suspended", "circuit breaker open"
    elif away := [name for name, breaker in plugin.aside.items() if breaker.open_until > monotonic()]:
        state, reason = "degraded", f"circuit breaker open: {', '.join(away)}"
    elif plugin.process is not None and plugin.process.trouble:
        state, reason = "degraded", plugin.process.trouble
    elif plugin.troubles:
        state, reason = "degraded", "; ".join(plugin.troubles.values())
    elif plugin.threaded:
        state, reason = "degraded", "blocked the event loop; its def functions run in threads"
    hooks = tuple(_hook(hook, plugin.counters.get(hook, Counter()), own[0]) for hook, own in steps.items())
    hooks += tuple(_offer(name, counter) for name, counter in plugin.counters.items() if name not in steps)
    return PluginHealth(plugin.name, plugin.kind, state, reason, plugin.version, plugin.path, plugin.required, hooks)


def _offer(name: str, counter: Counter) -> HookHealth:
    """A job, a route, …: what the plugin offered, and the server calls like a hook."""
    values = (counter.calls, counter.errors, counter.seconds, counter.blocked, counter.last_error, counter.last_error_at)
    return HookHealth(name, *values, on_error="continue", timeout=0.0)


def _hook(hook: str, counter: Counter, step: Step) -> HookHealth:
    return HookHealth(
        hook,
        counter.calls,
        counter.errors,
        counter.seconds,
        counter.blocked,
        counter.last_error,
        counter.last_error_at,
        step.on_error,
        step.timeout,
    )
