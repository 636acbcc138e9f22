"""What a plugin registered and the server calls: SASL mechanisms, commands of capabilities. Called like a hook, so that it has the same
deadline, breaker and counters, and shows up in the plugin's health under a name of its own.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable
from typing import Any

from mta.model.errors import TemporaryFailure
from mta.pluginhost.call import Dispatcher, Failure
from mta.pluginhost.plugin import Plugin
from mta.pluginhost.specs import Spec
from mta.pluginhost.step import Step, place_of_code


class Offered:
    """One function of one plugin. It names what it wants of ``arguments``, and ``ctx``."""

    __slots__ = ("_dispatcher", "_step")

    def __init__(
        self,
        dispatcher: Dispatcher,
        plugin: Plugin,
        label: str,
        function: Callable[..., Any],
        arguments: tuple[str, ...],
        answers: tuple[type, ...] = (),
        *,
        timeout: float = 10.0,
        written: Callable[..., Any] | None = None,
    ) -> None:
        """``label`` names it in the log; ``written``: the plugin's own code, when ``function`` is ours."""
        spec = Spec(label, arguments, "first", frozenset(), "defer", timeout, answers, False, "")
        self._dispatcher = dispatcher
        self._step = Step(spec, plugin, function)
        if written is not None:
            self._step.file, self._step.line = place_of_code(written)

    @property
    def step(self) -> Step:
        """For the plugin's health."""
        return self._step

    @property
    def plugin(self) -> str:
        return self._step.plugin.name

    async def __call__(self, **arguments: Any) -> Any:
        """Raises TemporaryFailure when the plugin failed, took too long, or answered what it may not."""
        answer = await self._dispatcher.call(self._step, arguments)
        if answer.__class__ is Failure:
            raise TemporaryFailure(f"{self._step.spec.name} of plugin {self.plugin}: {answer.error}")
        return answer
