"""A plan: the implementations of one hook in their order, and the shapes in which their answers come together."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mta.model.errors import TemporaryFailure
from mta.model.verdict import Verdict, defer, reject
from mta.pluginhost.call import Dispatcher, Failure, Step
from mta.pluginhost.specs import Spec

_DEFER = defer("temporary failure", enhanced="4.3.0")
_REJECT = reject("this cannot be processed here", code=554, enhanced="5.3.0")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a verdict chain came to.

    verdict  the final one; None: nobody decided
    plugin   who gave it, or ""
    score    sum of all scores
    steps    JSON-able, of those who had an opinion or failed: {"hook", "plugin", "verdict" | "error", "seconds"}
    """

    verdict: Verdict | None
    plugin: str
    score: float
    steps: tuple[Mapping[str, Any], ...]


NOTHING = Decision(None, "", 0.0, ())


class Plan:
    """Compiled for one hook that somebody implements. Never changes: a reload makes another."""

    __slots__ = ("_dispatcher", "spec", "steps")

    def __init__(self, spec: Spec, steps: Sequence[Step], dispatcher: Dispatcher) -> None:
        self.spec = spec
        self.steps = tuple(steps)
        self._dispatcher = dispatcher

    async def verdict(self, **arguments: Any) -> Decision:
        """Ask in order until one decides. A failure with on_error defer (or retry) decides 451 4.3.0, with reject 554 5.3.0."""
        score = 0.0
        said: list[Mapping[str, Any]] | None = None
        call = self._dispatcher.call
        for step in self.steps:
            answer = await call(step, arguments)
            if answer is None:
                continue
            if said is None:
                said = []
            failure = answer.__class__ is Failure
            said.append(_entry(step, answer))
            if failure:
                if step.on_error == "continue":
                    continue
                answer = _REJECT if step.on_error == "reject" else _DEFER
            score += answer.score
            if answer.final:
                return Decision(answer, step.plugin.name, score, tuple(said))
        return NOTHING if said is None else Decision(None, "", score, tuple(said))

    async def first(self, **arguments: Any) -> Any | None:
        """Return the first answer. Raises TemporaryFailure when one asked before it failed and its on_error is not continue."""
        call = self._dispatcher.call
        for step in self.steps:
            answer = await call(step, arguments)
            if answer is None:
                continue
            if answer.__class__ is not Failure:
                return answer
            _raise_unless_continue(answer)
        return None

    async def all(self, **arguments: Any) -> list[tuple[str, Any]]:
        """Return (plugin, answer) pairs; a list of answers is given as several pairs. Raises like ``first``."""
        answers: list[tuple[str, Any]] = []
        call = self._dispatcher.call
        for step in self.steps:
            answer = await call(step, arguments)
            if answer is None:
                continue
            if answer.__class__ is Failure:
                _raise_unless_continue(answer)
            elif self.spec.listed and isinstance(answer, list | tuple):
                answers.extend((step.plugin.name, each) for each in answer)
            else:
                answers.append((step.plugin.name, answer))
        return answers

    async def pipeline(self, name: str, **arguments: Any) -> Any:
        """Hand ``arguments[name]`` from one to the next and return what comes out; None changes nothing. Raises like ``first``."""
        call = self._dispatcher.call
        for step in self.steps:
            answer = await call(step, arguments)
            if answer is None:
                continue
            if answer.__class__ is Failure:
                _raise_unless_continue(answer)
            else:
                arguments[name] = answer
        return arguments[name]

    async def notify(self, **arguments: Any) -> None:
        """Tell everybody, whoever fails. A durable one then raises TemporaryFailure naming those who failed, for another attempt."""
        call = self._dispatcher.call
        failures = []
        for step in self.steps:
            answer = await call(step, arguments)
            if answer.__class__ is Failure and step.on_error != "continue":
                failures.append(f"{step.plugin.name}: {answer.error}")
        if failures and self.spec.mode == "durable":
            raise TemporaryFailure("; ".join(failures))


def _entry(step: Step, answer: Any) -> Mapping[str, Any]:
    entry: dict[str, Any] = {"hook": step.spec.name, "plugin": step.plugin.name, "seconds": round(step.seconds, 6)}
    if answer.__class__ is Failure:
        entry["error"] = answer.error
    else:
        entry["verdict"] = answer.to_json()
    return entry


def _raise_unless_continue(failure: Failure) -> None:
    if failure.step.on_error != "continue":
        raise TemporaryFailure(f"{failure.step.plugin.name}: {failure.step.spec.name}: {failure.error}")
