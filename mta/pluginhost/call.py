"""One implementation called: the dispatcher's inner step, and everything that can go wrong in it.

The call runs in the caller's own task, without a timer. An ``async`` implementation is driven by hand: one that never
waits costs no more than a function, one that does is entered into the watchdog's list while it waits.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import traceback
import types
from collections.abc import Callable, Coroutine, Generator
from time import monotonic, time
from typing import Any

from mta.model.delivery import Trouble
from mta.model.errors import ConfigError, Refused, StorageDead, TemporaryFailure
from mta.model.verdict import Verdict, defer, reject
from mta.net.prompt import has_own_task, own_task
from mta.obs.log import Log
from mta.pluginhost.answers import LONGEST_TEXT, problem_of
from mta.pluginhost.chain import SHORT, Chain
from mta.pluginhost.flight import FLIGHT, Flight
from mta.pluginhost.plugin import HostOptions, Plugin
from mta.pluginhost.step import Step
from mta.pluginhost.watchdog import Pulse, Waiting, Watchdog

LONGEST_TRACEBACK = 8000


class ContractError(Exception):
    """Strict mode (tests): an answer that this hook may not give."""


class Overdue(Exception):
    """The implementation waited past its deadline."""


class Outside(Exception):
    """What a program or another process did wrong: an error of the plugin, but no traceback of ours is worth a line."""


class Raised:
    """Stands in place of what a step returned when it raised."""

    __slots__ = ("exception",)

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception


class Begun:
    """Stands in place of what a step returned that waits, for ``future``."""

    __slots__ = ("coroutine", "future")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], future: Any) -> None:
        self.coroutine = coroutine
        self.future = future


UNASKED: Any = object()
"""Stands in place of what a step returned that has to be asked with care: on condition, or with its breaker or its work in view."""

Heard = tuple[int, Any, float]
"""What a sweep along a chain came upon: the index behind the step, what it returned (or Raised, Begun, UNASKED), seconds it took."""


class Failure:
    """Stands in place of an answer. ``called``: False when the circuit breaker kept it from being called."""

    __slots__ = ("called", "error", "exception", "step")

    def __init__(self, step: "Step", error: str, exception: BaseException | None = None, *, called: bool = True) -> None:
        self.step = step
        self.error = error
        self.exception = exception
        self.called = called

    @property
    def harmless(self) -> bool:
        """The plugin did its work and found something else away."""
        return isinstance(self.exception, TemporaryFailure)

    def trouble(self) -> Trouble:
        """What is kept of it with a message."""
        step, exc = self.step, self.exception
        file, line, text = step.file, step.line, ""
        if exc is not None:
            own = [frame for frame in traceback.extract_tb(exc.__traceback__) if frame.filename == file]
            line = (own[-1].lineno if own else None) or line
            if not isinstance(exc, Outside | Overdue):
                text = "".join(traceback.format_exception(exc))[-LONGEST_TRACEBACK:]
        return Trouble(step.plugin.name, step.spec.name, self.error, file, line, text, time(), int(self.called))


class Dispatcher:
    """Calls steps; knows the watchdog, the bounds and the log."""

    def __init__(self, log: Log, options: HostOptions, moved: Callable[[Plugin], None], *, strict: bool = False) -> None:
        self.pulse = Pulse()
        self.watchdog = Watchdog(self.pulse, log, options.block_seconds)
        self._log = log
        self._options = options
        self._moved = moved
        self.log = log
        self.override: Any = None  # the plan of verdict_override; Plan imports this module
        self._block_seconds = options.block_seconds
        self._strict = strict

    async def call(self, step: Step, arguments: dict[str, Any]) -> Any:
        """The answer of one step, None, or a Failure (logged and counted); ``arguments`` gets ``ctx``.

        Raises StorageDead, and the cancellation of the task by anyone but the watchdog. In strict mode ContractError.
        """
        return await self.hear_out(step, UNASKED, 0.0, arguments)

    async def ask(self, chain: Chain, index: int, arguments: dict[str, Any], heard: Heard | None = None) -> tuple[int, Any]:
        """Call steps from ``index`` on until one answers. Return the index behind it and the answer, or a Failure; None when all
        had no opinion. ``heard``: what a sweep from there has come upon already. Raises like ``call``."""
        heard = heard or self.sweep(chain, index, arguments)
        while heard is not None:
            index, said, seconds = heard
            answer = await self.hear_out(chain.steps[index - 1], said, seconds, arguments)
            if answer is not None:
                return index, answer
            heard = self.sweep(chain, index, arguments)
        return len(chain.steps), None

    def sweep(self, chain: Chain, index: int, arguments: dict[str, Any], *, tasked: bool = True) -> Heard | None:
        """Call steps from ``index`` on for as long as they say nothing, and at once. None: all had no opinion.

        One loop for all of those, with as little as can be for each: that is what most plugins do on most hooks, and what ten of
        them cost a message. ``tasked``: whoever calls is a task, or inside of ``promptly``; else no coroutine may be begun here.
        """
        steps, first, said = chain.steps, index, None
        if FLIGHT.get() is not None:
            return (index + 1, UNASKED, 0.0) if index < len(steps) else None
        pulse, longer = self.pulse, 0.0
        began = started = ended = monotonic()
        try:
            for step in steps[first:] if first else steps:
                if step.when is not None or step.breaker.troubled:
                    said = UNASKED
                    break
                if step.wants_ctx:
                    arguments["ctx"] = step.context
                pulse.started = started
                pulse.step = step
                said = step.function(*step.arguments(arguments)) if step.names else step.function()
                if said is not None:
                    if said.__class__ is types.CoroutineType and tasked and has_own_task():
                        said = _begun(said)
                    if said is not None:
                        ended = monotonic()
                        break
                ended = monotonic()
                index += 1
                if ended - started > SHORT:
                    longer += self._took_long(step, ended - started)
                started = ended
        except (Exception, SystemExit, asyncio.CancelledError) as exc:  # noqa: BLE001  # whatever a plugin raises
            said, ended = Raised(exc), monotonic()
        pulse.step = None
        if said is None and not first:
            chain.calls += 1
            chain.seconds += ended - began - longer
            return None
        chain.count(first, index, started - began - longer)
        if said is None:
            return None
        return index + 1, said, ended - started

    def _took_long(self, step: Step, seconds: float) -> float:
        step.counter.seconds += seconds
        if seconds > self._block_seconds:
            self._stalled(step, seconds)
        return seconds

    async def hear_out(self, step: Step, said: Any, seconds: float, arguments: dict[str, Any]) -> Any:
        """What comes of a step that returned ``said`` after ``seconds``: see ``sweep``, and ``call``."""
        flight = FLIGHT.get()
        if said is UNASKED:
            if step.when is not None and not step.when(arguments):
                return None
            if (failure := self._skipped(step)) is not None:
                return failure
        started, waited = monotonic() - seconds, 0.0
        try:
            if said is UNASKED:
                self._enter(step, started, flight)
                if step.wants_ctx:
                    arguments["ctx"] = step.context
                said = step.function(*step.arguments(arguments)) if step.names else step.function()
            elif said.__class__ is Raised:
                raise said.exception
            if said.__class__ is types.CoroutineType:
                if not has_own_task():
                    started = await self._into_task(said)
                said = self._begin(step, said, flight)
            if said.__class__ is Begun:
                waited = self._pause(step, monotonic() - started)
                said = await self._wait(step, said.coroutine, said.future, started)
        except (Exception, SystemExit, asyncio.CancelledError) as exc:  # noqa: BLE001  # whatever a plugin raises
            self._leave_flight(flight)
            return self._failed(step, exc, monotonic() - started, arguments)
        self._leave_flight(flight)
        step.counter.calls += 1
        step.counter.seconds += (seconds := monotonic() - started)
        if seconds > self._block_seconds and not waited:
            self._stalled(step, seconds)
        if step.breaker.troubled and step.breaker.succeeded():
            self._log.info("plugin.recovered", plugin=step.plugin.name, hook=step.spec.name)
        step.seconds = seconds
        return None if said is None else self._checked(step, said, arguments)

    def _enter(self, step: Step, now: float, flight: Flight | None) -> None:
        self.pulse.started = now
        self.pulse.step = step
        if flight is not None:
            flight.enter(step)

    def _begin(self, step: Step, coroutine: Coroutine[Any, Any, Any], flight: Flight | None) -> Any:
        if self.pulse.step is None:
            self._enter(step, monotonic(), flight)
        return _begun(coroutine)

    def _leave_flight(self, flight: Flight | None) -> None:
        self.pulse.step = None
        if flight is not None:
            flight.leave()

    # ---- waiting

    async def _into_task(self, coroutine: Coroutine[Any, Any, Any]) -> float:
        """It may ask for its task before it first waits. Return when it begins."""
        self._leave_flight(FLIGHT.get())
        try:
            await own_task()
        except BaseException:
            coroutine.close()
            raise
        return monotonic()

    def _pause(self, step: Step, ran: float) -> float:
        self.pulse.step = None
        if (flight := FLIGHT.get()) is not None:
            flight.wait()
        if ran > self._block_seconds:
            self._stalled(step, ran)
        return ran or 1e-9

    async def _wait(self, step: Step, coroutine: Coroutine[Any, Any, Any], future: Any, started: float) -> Any:
        task = asyncio.current_task()
        assert task is not None
        call = Waiting(task, started + step.timeout)
        self.watchdog.waiting.add(call)
        try:
            answer = await self._drive(step, coroutine, future, call)
        except (Exception, SystemExit, asyncio.CancelledError):
            self._leave(step, call)
            raise
        finally:
            self.watchdog.waiting.discard(call)
        self._leave(step, call)
        return answer

    def _leave(self, step: Step, call: Waiting) -> None:
        """A task cancelled from outside ends cancelled, whatever the plugin made of it; one that we cancelled goes on."""
        if call.cancelled_from_outside():
            raise asyncio.CancelledError
        if call.cancels:
            raise Overdue(f"no answer within {step.timeout:g} s") from None

    @types.coroutine
    def _drive(self, step: Step, coroutine: Coroutine[Any, Any, Any], future: Any, call: Waiting) -> Generator[Any, Any, Any]:
        """What ``yield from`` does, with the time of every piece measured, and the power to leave one that will not end."""
        pulse = self.pulse
        while True:
            try:
                sent = yield future
            except BaseException as exc:
                if call.cancels > 1:
                    coroutine.close()
                    raise
                advance: Callable[[Any], Any] = coroutine.throw
                value: Any = exc
            else:
                advance, value = coroutine.send, sent
            began = pulse.started = monotonic()
            pulse.step = step
            if (flight := FLIGHT.get()) is not None:
                flight.enter(step)
            try:
                future = advance(value)
            except StopIteration as stop:
                return stop.value
            finally:
                self._pause(step, monotonic() - began)

    # ---- answers

    def _checked(self, step: Step, answer: Any, arguments: dict[str, Any]) -> Any:
        spec = step.spec
        problem = problem_of(answer, spec, arguments)
        if not problem:
            return answer
        if self._strict:
            raise ContractError(f"{step.plugin.name}: {spec.name}: {problem}")
        self._count(step, problem)
        self._log.error(
            "plugin.bad_verdict", plugin=step.plugin.name, hook=spec.name, problem=problem, file=step.file, line=step.line
        )
        return Failure(step, problem)

    # ---- failures

    def _skipped(self, step: Step) -> Failure | None:
        if not step.breaker.open_until or step.breaker.may_call(monotonic()):
            return None
        step.seconds = 0.0
        return Failure(step, "not called: its circuit breaker is open", called=False)

    def _failed(self, step: Step, exc: BaseException, seconds: float, arguments: dict[str, Any]) -> Any:
        if isinstance(exc, StorageDead | ContractError):
            raise exc
        if isinstance(exc, asyncio.CancelledError) and (task := asyncio.current_task()) is not None and task.cancelling():
            raise exc
        step.seconds = seconds
        step.counter.calls += 1
        step.counter.seconds += seconds
        if isinstance(exc, Refused) and step.spec.mode == "verdict":
            return self._checked(step, _verdict_of(exc), arguments)
        error = describe(exc)
        expected = isinstance(exc, TemporaryFailure | ConfigError | Overdue | Outside)
        self._log.error(
            "plugin.error",
            plugin=step.plugin.name,
            hook=step.spec.name,
            error=error,
            then=step.on_error,
            exc_info=not expected and len(error) < LONGEST_TEXT,
        )
        self._count(step, error, harmless=isinstance(exc, TemporaryFailure))
        return Failure(step, error, exc)

    def _count(self, step: Step, error: str, *, harmless: bool = False) -> None:
        """``harmless``: the plugin did its work and found something else away; its breaker stays as it is."""
        counter = step.counter
        counter.errors += 1
        counter.last_error = error
        counter.last_error_at = time()
        if not harmless and step.breaker.failed(monotonic()):
            self._log.error("plugin.suspended", plugin=step.plugin.name, hook=step.spec.name, seconds=self._options.breaker_pause)

    def _stalled(self, step: Step, seconds: float) -> None:
        """It held up the loop: count, and take it off the loop when it does so again and again.

        Held against it when the watchdog saw it in the act, or when it was ten times too long. What the watchdog did not see
        may well be a machine with too much to do: a thread that is put aside in the middle of a call keeps the interpreter.
        """
        plugin, now = step.plugin, monotonic()
        step.counter.blocked += 1
        if self.pulse.reported != self.pulse.started:
            if seconds < 10 * self._block_seconds:
                return
            self.watchdog.report(step, seconds, step.file, step.line)
        if plugin.kind == "built-in":
            return
        plugin.stalls = plugin.stalls + 1 if now - plugin.last_stall <= self._options.block_window else 1
        plugin.last_stall = now
        if plugin.stalls < self._options.block_limit:
            return
        if step.is_async:
            step.breaker.trip(now)
            self._log.error("plugin.suspended", plugin=plugin.name, hook=step.spec.name, seconds=self._options.breaker_pause)
        elif not plugin.threaded:
            plugin.threaded = True
            self._log.error("plugin.moved", plugin=plugin.name, hook=step.spec.name, to="threads")
            self._moved(plugin)


def _begun(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What it returns at once, or Begun."""
    try:
        return Begun(coroutine, coroutine.send(None))
    except StopIteration as stop:
        return stop.value


def describe(exc: BaseException) -> str:
    """``Type: text``, of ``Outside`` the text alone, cut; never fails, whatever the exception's own code does."""
    try:
        text = str(exc)[:LONGEST_TEXT]
    except Exception:  # noqa: BLE001  # a hostile __str__
        text = "(no text)"
    if isinstance(exc, Outside):
        return text
    return f"{type(exc).__name__}: {text}"[:LONGEST_TEXT] if text else type(exc).__name__


def _verdict_of(refused: Refused) -> Verdict:
    reply = refused.reply
    make = defer if reply.temporary else reject
    verdict = make(reply.text, code=reply.code, enhanced=reply.enhanced, reason=refused.detail[:LONGEST_TEXT])
    return verdict.disconnect() if reply.close else verdict
