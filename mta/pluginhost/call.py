"""One implementation called: the dispatcher's inner step, and everything that can go wrong in it.

The call runs in the caller's own task, without a timer. An ``async`` implementation is driven by hand: one that never
waits costs no more than a function, one that does is entered into the watchdog's list while it waits.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import inspect
import traceback
import types
from collections.abc import Callable, Coroutine, Generator
from operator import itemgetter
from time import monotonic, time
from typing import Any

from mta.model.delivery import Trouble
from mta.model.errors import ConfigError, Refused, StorageDead, TemporaryFailure
from mta.model.verdict import Verdict, defer, reject
from mta.net.prompt import has_own_task, own_task
from mta.obs.log import Log
from mta.pluginhost.answers import LONGEST_TEXT, problem_of
from mta.pluginhost.flight import FLIGHT, Flight
from mta.pluginhost.plugin import HostOptions, Plugin
from mta.pluginhost.specs import Spec
from mta.pluginhost.watchdog import Pulse, Waiting, Watchdog
from mta.pluginhost.when import conditions_of
from mta_hooks.markers import OPTIONS, HookOptions, OnError

LONGEST_TRACEBACK = 8000
_NO_OPTIONS = HookOptions()


class ContractError(Exception):
    """Strict mode (tests): an answer that this hook may not give."""


class Overdue(Exception):
    """The implementation waited past its deadline."""


class Outside(Exception):
    """What a program or another process did wrong: an error of the plugin, but no traceback of ours is worth a line."""


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
        """The answer of one step, None, or a Failure; see ``ask``."""
        return (await self.ask((step,), 0, arguments))[1]

    async def ask(  # noqa: C901  # one loop, see below
        self, steps: tuple[Step, ...], index: int, arguments: dict[str, Any]
    ) -> tuple[int, Any]:
        """Call steps from ``index`` on until one answers. Return the index behind it and the answer, or a Failure (logged and
        counted); None when all had no opinion. ``arguments`` gets ``ctx``.

        One loop for all who say nothing, not a coroutine for each: that is what most plugins do on most hooks, and what ten of
        them cost a message. Raises StorageDead, and the cancellation of the task by anyone but the watchdog. In strict mode
        ContractError.
        """
        pulse, flight, limit, total = self.pulse, FLIGHT.get(), self._block_seconds, len(steps)
        ended = monotonic()
        while index < total:
            step = steps[index]
            index += 1
            if step.when is not None and not step.when(arguments):
                continue
            breaker = step.breaker
            if breaker.open_until and not breaker.may_call(monotonic()):
                return index, self._skipped(step)
            if step.wants_ctx:
                arguments["ctx"] = step.context
            started = pulse.started = ended
            pulse.step = step
            if flight is not None:
                flight.enter(step)
            waited = 0.0
            try:
                answer = step.function(*step.arguments(arguments)) if step.names else step.function()
                if answer is not None and answer.__class__ is types.CoroutineType:
                    if not has_own_task():
                        started = await self._into_task(step, answer)
                    try:
                        future = answer.send(None)
                    except StopIteration as stop:
                        answer = stop.value
                    else:
                        waited = self._pause(step, monotonic() - started)
                        answer = await self._wait(step, answer, future, started)
            except (Exception, SystemExit, asyncio.CancelledError) as exc:  # noqa: BLE001  # whatever a plugin raises
                self._leave_flight(flight)
                return index, self._failed(step, exc, monotonic() - started, arguments)
            pulse.step = None
            if flight is not None:
                flight.leave()
            ended = monotonic()
            seconds = ended - started
            counter = step.counter
            counter.calls += 1
            counter.seconds += seconds
            if seconds > limit and not waited:
                self._stalled(step, seconds)
            if breaker.troubled and breaker.succeeded():
                self._log.info("plugin.recovered", plugin=step.plugin.name, hook=step.spec.name)
            if answer is not None:
                step.seconds = seconds
                return index, self._checked(step, answer, arguments)
        return index, None

    def _leave_flight(self, flight: Flight | None) -> None:
        self.pulse.step = None
        if flight is not None:
            flight.leave()

    # ---- waiting

    async def _into_task(self, step: Step, coroutine: Coroutine[Any, Any, Any]) -> float:
        """It may ask for its task before it first waits. Return when it begins."""
        self.pulse.step = None
        try:
            await own_task()
        except BaseException:
            coroutine.close()
            raise
        self.pulse.started = started = monotonic()
        self.pulse.step = step
        return started

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

    def _skipped(self, step: Step) -> Failure:
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
