"""One implementation of a hook as a plan calls it."""
# SPDX-License-Identifier: Apache-2.0

import inspect
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from mta.pluginhost.plugin import Plugin
from mta.pluginhost.specs import Spec
from mta.pluginhost.when import conditions_of
from mta_hooks.markers import OPTIONS, HookOptions, OnError

_NO_OPTIONS = HookOptions()


class Step:
    """One implementation in a plan.

    file, line  where it is written
    reason      why it stands where it stands, for ``mta hooks order``
    seconds     how long the last call that had an answer took
    """

    __slots__ = (
        "arguments", "breaker", "context", "counter", "file", "function", "is_async", "line", "names", "on_error", "options",
        "plugin", "reason", "seconds", "spec", "timeout", "wants_ctx", "when",
    )  # fmt: skip

    def __init__(self, spec: Spec, plugin: Plugin, function: Callable[..., Any]) -> None:
        options: HookOptions = getattr(function, OPTIONS, _NO_OPTIONS)
        self.spec = spec
        self.plugin = plugin
        self.names, self.function = _fitted(function, spec)
        self.options = options
        self.arguments = _getter(self.names)
        self.wants_ctx = "ctx" in self.names
        self.is_async = inspect.iscoroutinefunction(inspect.unwrap(function))
        self.breaker = plugin.breaker
        self.context = plugin.context
        self.when = conditions_of(options, plugin.when)
        self.counter = plugin.counter(spec.name)
        self.on_error: OnError = options.on_error or plugin.on_error or spec.on_error
        if spec.name == "startup" and not (options.on_error or plugin.on_error or plugin.required):
            self.on_error = "continue"
        self.timeout = options.timeout or plugin.timeout or spec.timeout
        self.seconds = 0.0
        self.reason = ""
        self.file, self.line = place_of_code(function)
        if plugin.threaded:
            self.move_to_threads()

    def move_to_threads(self) -> None:
        """From now on a ``def`` runs in the plugin's threads; an ``async def`` cannot be moved."""
        if self.is_async:
            return
        function, pool = self.function, self.plugin.pool

        async def in_thread(*values: Any) -> Any:
            answer = await pool.run(function, *values)
            return await answer if inspect.iscoroutine(answer) else answer

        self.is_async = True
        self.function = in_thread


def place_of_code(function: Callable[..., Any]) -> tuple[str, int]:
    """File and first line of a function; ("", 0) when it has none. A ``place`` says where that is which it stands for."""
    if (place := getattr(function, "place", None)).__class__ is tuple:
        return place
    code = getattr(inspect.unwrap(function), "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code else ("", 0)


def _fitted(function: Callable[..., Any], spec: Spec) -> tuple[tuple[str, ...], Callable[..., Any]]:
    """The arguments to pass, and the function that takes them by position. A defaulted one that this version does not know
    keeps its default: that is how a plugin uses a newer argument and still runs on an older server."""
    parameters = tuple(inspect.signature(function).parameters)
    names = tuple(n for n in parameters if n in spec.arguments or n == "ctx")
    if names == parameters[: len(names)]:
        return names, function
    return names, lambda *values: function(**dict(zip(names, values, strict=True)))


def _getter(names: tuple[str, ...]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    if not names:
        return lambda _: ()
    if len(names) == 1:
        name = names[0]
        return lambda arguments: (arguments[name],)
    return itemgetter(*names)
