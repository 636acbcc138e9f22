"""A plan: the implementations of one hook in their order, and the shapes in which their answers come together."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mta.model.delivery import Trouble
from mta.model.errors import ConfigError, HookFailed, TemporaryFailure
from mta.model.verdict import Action, Verdict, defer, reject
from mta.pluginhost.call import Dispatcher, Failure, Heard
from mta.pluginhost.chain import Chain
from mta.pluginhost.said import entry, note
from mta.pluginhost.sink import close_step, feed_step
from mta.pluginhost.specs import Spec
from mta.pluginhost.step import Step
from mta.pluginhost.wishes import hears

_DEFER = defer("temporary failure", enhanced="4.3.0")
_REJECT = reject("this cannot be processed here", code=554, enhanced="5.3.0")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a verdict chain came to.

    verdict  the final one; None: nobody decided
    plugin   who gave it, or ""
    score    sum of all scores
    steps    JSON-able, of those who had an opinion or failed: {"hook", "plugin", "verdict" | "verdicts" | "error", "seconds"}
    each     recipient -> (verdict, plugin) where a plugin decided for one recipient; ``verdict`` is for the others
    trouble  what went wrong, where ``verdict`` stands for a plugin's mistake
    """

    verdict: Verdict | None
    plugin: str
    score: float
    steps: tuple[Mapping[str, Any], ...]
    each: Mapping[str, tuple[Verdict, str]] = field(default_factory=dict)
    trouble: Trouble | None = None


NOTHING = Decision(None, "", 0.0, ())


class Plan:
    """Compiled for one hook that somebody implements. Never changes: a reload makes another."""

    __slots__ = ("_chain", "_dispatcher", "settle", "spec", "steps")

    def __init__(self, spec: Spec, steps: Sequence[Step], dispatcher: Dispatcher) -> None:
        self.spec = spec
        self._chain = Chain(steps)
        self.steps = self._chain.steps
        self.settle = self._chain.settle
        self._dispatcher = dispatcher

    # Of the shapes that every message meets there is one that is no coroutine: None when all answered at once and had no opinion,
    # as most do mostly, else a coroutine of what the other returns.

    def prompt_verdict(self, **arguments: Any) -> Coroutine[Any, Any, Decision] | None:
        heard = self._dispatcher.sweep(self._chain, 0, arguments, tasked=False)
        return None if heard is None else self._verdict(arguments, heard)

    def prompt_pipeline(self, name: str, **arguments: Any) -> Coroutine[Any, Any, Any] | None:
        heard = self._dispatcher.sweep(self._chain, 0, arguments, tasked=False)
        return None if heard is None else self._pipeline(name, arguments, heard)

    def prompt_notify(self, **arguments: Any) -> Coroutine[Any, Any, None] | None:
        heard = self._dispatcher.sweep(self._chain, 0, arguments, tasked=False)
        return None if heard is None else self._notify(arguments, heard)

    async def verdict(self, **arguments: Any) -> Decision:
        """Ask in order until one decides. A failure with on_error defer (or retry) decides 451 4.3.0, with reject 554 5.3.0."""
        heard = self._dispatcher.sweep(self._chain, 0, arguments)
        return NOTHING if heard is None else await self._verdict(arguments, heard)

    async def _verdict(self, arguments: dict[str, Any], heard: Heard | None) -> Decision:
        score = 0.0
        said: list[Mapping[str, Any]] | None = None
        each: dict[str, tuple[Verdict, str]] = {}
        ask, chain, index = self._dispatcher.ask, self._chain, 0
        while True:
            index, answer = await ask(chain, index, arguments, heard)
            heard = None
            if answer is None:
                break
            step = chain.steps[index - 1]
            if said is None:
                said = []
            failure = answer.__class__ is Failure
            said.append(entry(step, answer))
            if failure:
                if step.on_error == "continue":
                    continue
                verdict = _REJECT if step.on_error == "reject" else _DEFER
                trouble = None if answer.harmless or verdict is _REJECT else answer.trouble()
                return Decision(verdict, step.plugin.name, score, tuple(said), each, trouble)
            elif self.spec.each and isinstance(answer, Mapping):
                if self._dispatcher.override is not None:
                    answer, more = await _overruled_each(self._dispatcher, step, answer, arguments, said)
                    score += more
                each = {str(who): (verdict, step.plugin.name) for who, verdict in answer.items()} | each
                if all(str(r.address) in each for r in arguments["recipients"]):
                    break
                continue
            elif self._dispatcher.override is not None:
                answer = await _overruled(self._dispatcher, step, answer, arguments, said)
                if answer is None:
                    continue
            score += answer.score
            if answer.final:
                return Decision(answer, step.plugin.name, score, tuple(said), each)
        return NOTHING if said is None else Decision(None, "", score, tuple(said), each)

    async def first(self, **arguments: Any) -> Any | None:
        """Return the first answer. Raises TemporaryFailure when one asked before it failed and its on_error is not continue."""
        ask, chain, index = self._dispatcher.ask, self._chain, 0
        while True:
            index, answer = await ask(chain, index, arguments)
            if answer is None:
                break
            step = chain.steps[index - 1]
            note(step, answer, arguments)
            if answer.__class__ is not Failure:
                return answer
            _raise_unless_continue(answer)
        return None

    async def named(self, **arguments: Any) -> tuple[str, Any]:
        """The same with the name of the plugin that answered; ("", None) when nobody did."""
        ask, chain, index = self._dispatcher.ask, self._chain, 0
        while True:
            index, answer = await ask(chain, index, arguments)
            if answer is None:
                break
            step = chain.steps[index - 1]
            if answer.__class__ is not Failure:
                return step.plugin.name, answer
            note(step, answer, arguments)
            _raise_unless_continue(answer)
        return "", None

    async def open(self, **arguments: Any) -> "Sinks | None":
        """Make the objects of ``message_sink`` for one message; None when nobody wants it. Raises like ``first``."""
        sinks = []
        ask, chain, index = self._dispatcher.ask, self._chain, 0
        while True:
            index, made = await ask(chain, index, arguments)
            if made is None:
                break
            step = chain.steps[index - 1]
            if made.__class__ is Failure:
                note(step, made, arguments)
                _raise_unless_continue(made)
            else:
                sinks.append((feed_step(step, made.feed), close_step(step, made.close)))
        return Sinks(self._dispatcher, sinks, arguments) if sinks else None

    async def all(self, **arguments: Any) -> list[tuple[str, Any]]:
        """Return (plugin, answer) pairs; a list of answers is given as several pairs. Raises like ``first``."""
        answers: list[tuple[str, Any]] = []
        ask, chain, index = self._dispatcher.ask, self._chain, 0
        while True:
            index, answer = await ask(chain, index, arguments)
            if answer is None:
                break
            step = chain.steps[index - 1]
            note(step, answer, arguments)
            if answer.__class__ is Failure:
                _raise_unless_continue(answer)
            elif self.spec.listed and isinstance(answer, list | tuple):
                answers.extend((step.plugin.name, each) for each in answer)
            else:
                answers.append((step.plugin.name, answer))
        return answers

    async def pipeline(self, name: str, **arguments: Any) -> Any:
        """Hand ``arguments[name]`` from one to the next and return what comes out; None changes nothing. Raises like ``first``."""
        heard = self._dispatcher.sweep(self._chain, 0, arguments)
        return arguments[name] if heard is None else await self._pipeline(name, arguments, heard)

    async def _pipeline(self, name: str, arguments: dict[str, Any], heard: Heard | None) -> Any:
        ask, chain, index = self._dispatcher.ask, self._chain, 0
        while True:
            index, answer = await ask(chain, index, arguments, heard)
            heard = None
            if answer is None:
                break
            step = chain.steps[index - 1]
            note(step, answer, arguments)
            if answer.__class__ is Failure:
                _raise_unless_continue(answer)
            else:
                arguments[name] = answer
        return arguments[name]

    async def survey(self, **arguments: Any) -> list[tuple[Step, Any]]:
        """Everybody's answer, None or Failure where there is none, whatever the others said: for who tries hooks."""
        answers = []
        for step in self.steps:
            answer = await self._dispatcher.call(step, dict(arguments))
            answers.append((step, answer))
            if self.spec.mode == "pipeline" and answer is not None and answer.__class__ is not Failure:
                arguments[self.spec.arguments[-1]] = answer
        return answers

    async def notify(self, **arguments: Any) -> None:
        """Tell everybody, whoever fails."""
        heard = self._dispatcher.sweep(self._chain, 0, arguments)
        if heard is not None:
            await self._notify(arguments, heard)

    async def _notify(self, arguments: dict[str, Any], heard: Heard | None) -> None:
        ask, chain, index = self._dispatcher.ask, self._chain, 0
        while index < len(chain.steps):
            index, _ = await ask(chain, index, arguments, heard)
            heard = None

    async def tell(self, plugin: str, arguments: dict[str, Any], event: str = "") -> dict[str, str]:
        """Tell everybody, or this plugin, which may be gone. Return plugin -> error of those who failed, unless they say continue."""
        call = self._dispatcher.call
        failed: dict[str, str] = {}
        for step in self.steps:
            if (plugin and step.plugin.name != plugin) or (event and not hears(step.plugin.wishes, self.spec.name, event)):
                continue
            answer = await call(step, arguments)
            if answer.__class__ is Failure and step.on_error != "continue":
                failed[step.plugin.name] = answer.error
        return failed


class Sinks:
    """Those who hear one message. One that fails with on_error continue hears no more of it, and says nothing at its end."""

    __slots__ = ("_arguments", "_dispatcher", "_sinks")

    def __init__(self, dispatcher: Dispatcher, sinks: list[tuple[Step, Step]], arguments: Mapping[str, Any]) -> None:
        self._dispatcher = dispatcher
        self._arguments = arguments
        self._sinks = sinks

    async def feed(self, octets: bytes) -> Decision:
        """Hand a piece to all. A decision comes of it only when one failed."""
        said: list[Mapping[str, Any]] = []
        for sink in tuple(self._sinks):
            step = sink[0]
            answer = await self._dispatcher.call(step, {"octets": octets})
            if answer.__class__ is Failure:
                said.append(entry(step, answer))
                if step.on_error != "continue":
                    return Decision(_REJECT if step.on_error == "reject" else _DEFER, step.plugin.name, 0.0, tuple(said))
                self._sinks.remove(sink)
        return Decision(None, "", 0.0, tuple(said)) if said else NOTHING

    async def close(self) -> Decision:
        """Ask all for their verdicts, so that every one is closed. The first refusal decides, else the first final verdict."""
        score, said = 0.0, list[Mapping[str, Any]]()
        verdict: Verdict | None = None
        plugin = ""
        for _, step in self._sinks:
            answer = await self._dispatcher.call(step, {})
            if answer is None:
                continue
            said.append(entry(step, answer))
            if answer.__class__ is Failure:
                if step.on_error == "continue":
                    continue
                answer = _REJECT if step.on_error == "reject" else _DEFER
            elif self._dispatcher.override is not None:
                answer = await _overruled(self._dispatcher, step, answer, self._arguments, said)
                if answer is None:
                    continue
            score += answer.score
            if answer.final and (verdict is None or (answer.code and not verdict.code)):
                verdict, plugin = answer, step.plugin.name
        return Decision(verdict, plugin, score, tuple(said)) if said else NOTHING


async def _overruled(
    dispatcher: Dispatcher, step: Step, verdict: Verdict, arguments: Mapping[str, Any], said: list[Mapping[str, Any]]
) -> Verdict | None:
    """What ``verdict_override`` makes of a verdict; None: as if there had been none. accept and scores are not its business."""
    if verdict.action is Action.ACCEPT:
        return verdict
    transaction = arguments.get("transaction") or getattr(arguments.get("message"), "transaction", None)
    hook, plugin = step.spec.name, step.plugin.name
    by, instead = await dispatcher.override.named(
        session=arguments.get("session"), transaction=transaction, hook=hook, plugin=plugin, verdict=verdict
    )
    if instead is None:
        return verdict
    said.append({"hook": "verdict_override", "plugin": by, "over": plugin, "verdict": instead.to_json()})
    dispatcher.log.info(
        "plugin.overruled", hook=hook, plugin=plugin, verdict=str(verdict.action), by=by, instead=str(instead.action)
    )
    return None if instead.action is Action.ACCEPT and instead.final else instead


async def _overruled_each(
    dispatcher: Dispatcher, step: Step, answer: Mapping[Any, Verdict], arguments: Mapping[str, Any], said: list[Mapping[str, Any]]
) -> tuple[Mapping[Any, Verdict], float]:
    """The same for each recipient: the verdicts that are left, and what was made a score of."""
    left: dict[Any, Verdict] = {}
    score = 0.0
    for who, verdict in answer.items():
        instead = await _overruled(dispatcher, step, verdict, arguments, said)
        if instead is not None and instead.final:
            left[who] = instead
        elif instead is not None:
            score += instead.score
    return left, score


def _raise_unless_continue(failure: Failure) -> None:
    """What the operator must mend stays a ConfigError."""
    if failure.step.on_error != "continue":
        if isinstance(failure.exception, ConfigError):
            raise failure.exception
        text = f"{failure.step.plugin.name}: {failure.step.spec.name}: {failure.error}"
        raise TemporaryFailure(text) if failure.harmless else HookFailed(text, failure.trouble())
