"""The process of a plugin with ``isolate: process``: loads it, calls its hooks, and answers in JSON lines (see isolation.py).

Started as the server; gives root up before anything of the plugin is read. ``def`` functions run in the loop until one has held it up, then
in threads, as in the server; ``async def`` ones are tasks. Standard output is turned to standard error, which the server puts
into its log, so that a ``print`` disturbs nobody.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import contextlib
import dataclasses
import importlib.util
import inspect
import os
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint
from time import monotonic
from types import ModuleType, SimpleNamespace
from typing import Any

from mta.config.safe import GROUP
from mta.model.errors import AlreadyExists, ConfigError, Refused, TemporaryFailure
from mta.net.clock import SystemClock
from mta.net.tasks import Tasks
from mta.pluginhost.become import become
from mta.pluginhost.call import describe
from mta.pluginhost.check import PluginRefused, implementations
from mta.pluginhost.crossing import BadAnswer, answer_out, convert, plain
from mta.pluginhost.described import HookThere
from mta.pluginhost.describing import described
from mta.pluginhost.http import HttpClient, NoHttp
from mta.pluginhost.jsonlines import Lines, decode_line, encode_line
from mta.pluginhost.load import adopt, guarded
from mta.pluginhost.offersthere import OffersThere, Ready
from mta.pluginhost.plugin import HostOptions, Plugin, make_plugin
from mta.pluginhost.remote import RemoteLog, RemoteServices, argument_in
from mta.pluginhost.section import validate
from mta.pluginhost.specs import SPECS, hints
from mta.pluginhost.step import Step
from mta.pluginhost.threads import Pool
from mta.pluginhost.wishes import wishes_of
from mta_hooks.metrics import Metric
from mta_hooks.services import DnsError

LONGEST_PAUSE = 5.0
"""Seconds that ``ctx.metrics`` waits for the server."""
_NOTED = ("session", "transaction", "message")


def main() -> None:
    """The whole life of the process: until the server closes its end."""
    channel = socket.socket(fileno=os.dup(0))
    os.set_inheritable(channel.fileno(), False)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    lines = Lines()
    hello, rest = _first(channel, lines)
    if hello is None:
        return
    factory = _loop_factory()  # while we can read everything
    try:
        become(hello["account"])
        plugin = _load(hello)
        answer: dict[str, Any] = {"result": _described(plugin)}
    except ConfigError as exc:
        answer = {"error": exc.problem, "key": exc.key, "fix": exc.fix}
    except PluginRefused as exc:
        answer = {"error": exc.problem, "file": exc.file, "line": exc.line}
    except (Exception, SystemExit) as exc:  # noqa: BLE001  # the server says why, whatever it is
        answer = {"error": describe(exc)}
    channel.sendall(encode_line({"id": 0, **answer}))
    if "error" not in answer:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(Worker(channel, lines, plugin, hello).run(rest))
    os._exit(0)  # without waiting for threads that hang


def _first(channel: socket.socket, lines: Lines) -> tuple[dict[str, Any] | None, list[bytes | bytearray]]:
    while data := channel.recv(2**18):
        if found := list(lines.feed(data)):
            return decode_line(found[0]), found[1:]
    return None, []


def _load(hello: Mapping[str, Any]) -> Plugin:
    """Raises PluginRefused, ConfigError."""
    source, name = hello["source"], hello["plugin"]
    if "entry_point" in source:
        target = guarded(EntryPoint(name, source["entry_point"], GROUP).load)
        object = guarded(target) if inspect.isclass(target) else target
    else:
        object = ModuleType(f"mta_drop_in_{name}")
        object.__file__ = source["file"]
        sys.modules[object.__name__] = object
        guarded(exec, guarded(compile, source["text"], source["file"], "exec"), vars(object))
    plugin: Plugin = guarded(make_plugin, name, object, "package", 0, HostOptions())
    adopt(plugin)
    plugin.context = SimpleNamespace(config=validate(plugin.offers.model, hello["config"], "", lambda key: key))
    return plugin


def _described(plugin: Plugin) -> dict[str, Any]:
    """What the server has to know to stand in for it: the fields of PluginThere."""
    wishes = wishes_of(plugin.offers.choose, plugin.context.config)
    hooks = [
        HookThere(
            step.spec.name,
            tuple(name for name in step.names if name != "ctx"),
            dataclasses.asdict(step.options),
            (step.file, step.line),
        )
        for step in _steps(plugin)
    ]
    more = {"roles": plugin.roles, "wishes": None if wishes is None else sorted(wishes), "hooks": hooks}
    fields: dict[str, Any] = plain({"path": plugin.path, **more, **described(plugin)})
    return fields


def _steps(plugin: Plugin) -> list[Step]:
    return [Step(SPECS[hook], plugin, function) for hook, function in implementations(plugin.object) if hook != "register"]


def _loop_factory() -> Any:
    if importlib.util.find_spec("uvloop") is None:
        return None
    import concurrent.futures.thread  # noqa: F401  # uvloop does, later

    import uvloop

    return uvloop.new_event_loop


# ---- the process


class Worker:
    def __init__(self, channel: socket.socket, lines: Lines, plugin: Plugin, hello: Mapping[str, Any]) -> None:
        self._channel, self._lines, self._plugin = channel, lines, plugin
        self._steps = _steps(plugin)
        self._hints = [hints(step.spec.name) for step in self._steps]
        self._slow: set[Any] = set()
        self._pool = Pool(hello["plugin"])
        self._backlog = bytearray()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self._ended = asyncio.Event()
        self._log = RemoteLog(self.write)
        self._tasks = Tasks(self._log)
        remote = RemoteServices(self.ask)
        self._context = SimpleNamespace(
            plugin=hello["plugin"],
            config=plugin.context.config,
            hostname=hello["hostname"],
            log=self._log,
            clock=SystemClock(),
            dns=remote,
            http=NoHttp() if hello.get("sealed") else HttpClient(),
            kv=remote,
            threads=self._pool,
            send=remote.send,
            table=remote.table,
            domain=remote.domain,
            next_hop=remote.next_hop,
            metrics=self._metrics,
            db=remote,
        )
        self._offers = OffersThere(plugin, self._context, self._invoke, self.ask)
        self._started = list(hello.get("started", ()))
        self._held: list[dict[str, Any]] | None = [] if self._started else None

    async def run(self, rest: Sequence[bytes | bytearray]) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel.setblocking(False)
        self._loop.add_reader(self._channel, self._read)
        if self._started:
            self._tasks.spawn(self._start_again(), "startup")
        for line in rest:
            self._take(decode_line(line))
        await self._ended.wait()

    async def _start_again(self) -> None:
        """Taking the place of a process that died: ``startup`` first, as that one had it, while questions wait."""
        for question in self._started:
            step, values = self._values(question["call"], question["args"])
            try:
                await self._invoke(step.function, *step.arguments(values))
            except (Exception, SystemExit) as exc:  # noqa: BLE001  # whatever a plugin raises
                traceback.print_exception(exc)
        held, self._held = self._held or [], None
        for fields in held:
            self._take(fields)

    def _read(self) -> None:
        try:
            data = self._channel.recv(2**18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._channel)
            self._ended.set()
            return
        for line in self._lines.feed(data):
            self._take(decode_line(line))

    def write(self, fields: dict[str, Any]) -> None:
        line = encode_line(fields)
        sent = 0
        if not self._backlog:
            with contextlib.suppress(OSError):
                sent = self._channel.send(line)
        if sent < len(line):
            if not self._backlog:
                self._loop.add_writer(self._channel, self._flush)
            self._backlog += line[sent:]

    def _flush(self) -> None:
        with contextlib.suppress(OSError):
            del self._backlog[: self._channel.send(self._backlog)]
        if not self._backlog:
            self._flushed()

    def _flushed(self) -> None:
        self._backlog.clear()
        self._loop.remove_writer(self._channel)

    def _take(self, fields: dict[str, Any]) -> None:
        if "reply" in fields:
            return self._replied(fields)
        if self._held is not None:
            self._held.append(fields)
            return None
        if "cancel" in fields:
            if (task := self._running.get(fields["cancel"])) is not None:
                task.cancel()
            return None
        number = fields["id"]
        try:
            if "offer" in fields:
                return self._offer(number, fields["offer"], fields["args"])
            self._call(number, fields["call"], fields["args"])
        except (Exception, SystemExit) as exc:  # noqa: BLE001  # whatever a plugin raises
            self._failed(number, exc)

    def _offer(self, number: int, offer: list[Any], args: dict[str, Any]) -> None:
        values = {name: argument_in(name, value, Any) for name, value in args.items()}
        self._spawn(number, self._later(number, self._offers.do(offer, values), values, _notes(values)))

    def _values(self, place: int, args: Mapping[str, Any]) -> tuple[Step, dict[str, Any]]:
        kinds = self._hints[place]
        values = {name: argument_in(name, value, kinds[name]) for name, value in args.items()}
        return self._steps[place], {**values, "ctx": self._context}

    def _call(self, number: int, place: int, args: dict[str, Any]) -> None:
        step, values = self._values(place, args)
        before = _notes(values)
        given = step.arguments(values)
        if place in self._slow:
            return self._spawn(number, self._later(number, self._pool.run(step.function, *given), values, before))
        started = monotonic()
        answer = step.function(*given)
        if inspect.iscoroutine(answer):
            return self._spawn(number, self._later(number, answer, values, before))
        if monotonic() - started > HostOptions().block_seconds and not step.is_async:
            self._slow.add(place)
        return self._answered(number, answer, values, before)

    async def _invoke(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call what is no hook: in a thread once it has held us up; and wait for what it answers."""
        what = inspect.unwrap(function)
        key = getattr(what, "__func__", what)
        if key in self._slow:
            answer = await self._pool.run(function, *args)
        else:
            started = monotonic()
            answer = function(*args)
            if monotonic() - started > HostOptions().block_seconds and not inspect.isawaitable(answer):
                self._slow.add(key)
        return await answer if inspect.isawaitable(answer) else answer

    def _spawn(self, number: int, work: Any) -> None:
        task = self._tasks.spawn(work, f"call-{number}")
        self._running[number] = task
        task.add_done_callback(lambda _: self._running.pop(number, None))

    async def _later(self, number: int, work: Any, values: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        try:
            answer = await work
            if inspect.iscoroutine(answer):
                answer = await answer
            self._answered(number, answer, values, before)
        except asyncio.CancelledError:
            self.write({"id": number, "error": "cancelled", "temporary": True})
        except (Exception, SystemExit) as exc:  # noqa: BLE001  # whatever a plugin raises
            self._failed(number, exc)

    def _answered(self, number: int, answer: Any, values: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        fields: dict[str, Any] = {"id": number, "result": answer.value if isinstance(answer, Ready) else answer_out(answer)}
        kept = {name: notes for name in before if (notes := values[name].notes) and notes != before[name]}
        if kept:
            fields["kept"] = plain(kept)
        self.write(fields)

    def _failed(self, number: int, exc: BaseException) -> None:
        fields: dict[str, Any] = {"id": number, "error": describe(exc)}
        if isinstance(exc, TemporaryFailure):
            fields |= {"error": str(exc)[:1000], "temporary": True}
        elif isinstance(exc, ConfigError):
            fields |= {"error": exc.problem, "config": [exc.where, exc.key, exc.fix]}
        elif isinstance(exc, Refused):
            fields |= {"error": exc.detail, "refused": [exc.reply.code, exc.reply.enhanced, exc.reply.text, exc.reply.close]}
        elif not isinstance(exc, BadAnswer):
            traceback.print_exception(exc)
        self.write(fields)

    # ---- services

    async def ask(self, service: str, *args: Any) -> Any:
        """Raises what the service raises."""
        self._last = number = self._last + 1
        future = self._waiting[number] = self._loop.create_future()
        try:
            self.write({"call": number, "service": service, "args": list(args)})
            return await future
        finally:
            self._waiting.pop(number, None)

    def _replied(self, fields: Mapping[str, Any]) -> None:
        future = self._waiting.get(fields["reply"])
        if future is None or future.done():
            return
        if "error" not in fields:
            future.set_result(fields["result"])
        else:
            future.set_exception(_failure(fields))

    def _metrics(self) -> Sequence[Metric]:
        """``ctx.metrics``, which does not wait elsewhere: the server is asked, and this process stands still until it has answered."""
        if self._loop is not _running_loop():
            asked = asyncio.run_coroutine_threadsafe(self.ask("metrics"), self._loop)
            return [convert(each, Metric) for each in asked.result(LONGEST_PAUSE)]
        return [convert(each, Metric) for each in self._ask_now("metrics")]

    def _ask_now(self, service: str) -> Any:
        self._last = number = self._last + 1
        found: dict[str, Any] | None = None
        self._channel.settimeout(LONGEST_PAUSE)
        try:
            self._channel.sendall(self._backlog + encode_line({"call": number, "service": service, "args": []}))
            self._flushed()
            while found is None:
                if not (data := self._channel.recv(2**18)):
                    raise TemporaryFailure("the server is gone")
                for line in self._lines.feed(data):
                    fields = decode_line(line)
                    if fields.get("reply") == number:
                        found = fields
                    else:
                        self._loop.call_soon(self._take, fields)
        except OSError as exc:
            raise TemporaryFailure(f"the server does not answer: {exc}") from exc
        finally:
            self._channel.setblocking(False)
        if "error" in found:
            raise _failure(found)
        return found["result"]


def _notes(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain(values[name].notes) for name in _NOTED if values.get(name) is not None}


def _failure(fields: Mapping[str, Any]) -> Exception:
    """What a service raised, as far as its meaning crosses."""
    return {"dns": DnsError, "temporary": TemporaryFailure, "lookup": LookupError, "exists": AlreadyExists}.get(
        fields["kind"], ValueError
    )(fields["error"])


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
