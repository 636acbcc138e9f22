"""What a plugin registered and the server calls: SASL mechanisms, commands of capabilities. Called like a hook, so that it has the same
deadline, breaker and counters, and shows up in the plugin's health under a name of its own.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable
from typing import Any

from mta.model.errors import TemporaryFailure
from mta.pluginhost.call import Dispatcher, Failure, Step, place_of_code
from mta.pluginhost.plugin import Plugin
from mta.pluginhost.specs import Spec
from mta_hooks.services import Context


class Offered:
    """One function of one plugin. ``label`` names it in health and log ("sasl SCRAM-SHA-256")."""

    __slots__ = ("_dispatcher", "_step")

    def __init__(
        self,
        dispatcher: Dispatcher,
        plugin: Plugin,
        label: str,
        function: Callable[..., Any],
        answers: tuple[type, ...],
        *,
        timeout: float = 10.0,
        written: Callable[..., Any] | None = None,
    ) -> None:
        """``function`` takes positional arguments, then ``ctx``; ``written``: the plugin's own code, when ``function`` is ours."""
        spec = Spec(label, ("values",), "first", frozenset(), "defer", timeout, answers, False, "")

        def call(values: tuple[Any, ...], ctx: Context) -> Any:
            return function(*values, ctx)

        self._dispatcher = dispatcher
        self._step = step = Step(spec, plugin, call)
        step.file, step.line = place_of_code(written or function)

    @property
    def plugin(self) -> str:
        return self._step.plugin.name

    async def __call__(self, *values: Any) -> Any:
        """Raises TemporaryFailure when the plugin failed, took too long, or answered what it may not."""
        answer = await self._dispatcher.call(self._step, {"values": values})
        if answer.__class__ is Failure:
            raise TemporaryFailure(f"{self._step.spec.name} of plugin {self.plugin}: {answer.error}")
        return answer
