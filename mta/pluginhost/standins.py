"""What a plugin in a process of its own offers through the registry, as the server registers it: stand-ins that ask over there.

Each offer is a question ``{"offer": [kind, …], "args": {…}}`` (offersthere.py answers). So they have what offers of plugins in the
server have: deadlines, breakers, counters, names that nobody else may take.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import contextlib
import inspect
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from mta.model.directory import StoredKeys
from mta.model.errors import TemporaryFailure
from mta.model.reply import Reply
from mta.net.tasks import Tasks
from mta.pluginhost.call import Outside
from mta.pluginhost.check import PluginRefused
from mta.pluginhost.crossing import BadAnswer, answer_in, octets_out, plain, typed
from mta.pluginhost.described import CapabilityThere, FunctionThere, MechanismThere, Place, PluginThere, RouteThere
from mta.pluginhost.remotebackends import backend_factory
from mta.pluginhost.served import Service
from mta.pluginhost.sink import CLOSE
from mta.pluginhost.tables import prefix_of
from mta_hooks import hookimpl
from mta_hooks.backends.tables import Schema
from mta_hooks.capabilities import ImapReply, Pop3Reply
from mta_hooks.http import HttpAnswer, HttpRequest, HttpRoute
from mta_hooks.metrics import Metric
from mta_hooks.sasl import Challenge, Credentials, Identified, Rejected, SaslError, SaslPeer
from mta_hooks.services import Registry

MOST_REQUESTS = 32
"""Requests over HTTP that one process is asked at a time: strangers' leave room for mail."""
_BINDINGS = ("tls-exporter", "tls-server-end-point", "tls-unique")
_REPLIES: Mapping[str, type] = {"imap": ImapReply, "smtp": Reply, "pop3": Pop3Reply}


class Process(Protocol):
    """The process as stand-ins see it (isolation.py)."""

    async def ask(self, question: dict[str, Any], arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """What it answers. Raises Outside, TemporaryFailure, Refused, ConfigError."""
        ...

    async def with_octets(self, octets: bytes, ask: Callable[[dict[str, Any]], Awaitable[Any]]) -> Any:
        """``ask`` with where these octets are, as long as they are there."""
        ...


class StandIns:
    """``register`` is what stands for the plugin's own."""

    def __init__(self, name: str, there: PluginThere, process: Process, tasks: Tasks) -> None:
        """Raises PluginRefused."""
        self._there, self._process, self._tasks = there, process, tasks
        self._requests = asyncio.Semaphore(MOST_REQUESTS)
        self._peers: dict[int, SaslPeer] = {}
        self._ends: dict[int, BaseException] = {}
        self._last = 0
        self._schema = None if there.schema is None else _schema(there.schema, there.path, name)
        self.services: Mapping[Any, Service] = {"sasl.keys": self._keys, "db.read": self._read, "db.write": self._write}
        """What it may ask of us beside those of served.py."""

    def register(self) -> Callable[[Registry], None]:
        there = self._there

        @hookimpl
        def register(registry: Registry) -> None:
            for job in there.jobs:
                registry.job(job.name, job.every, _placed(self._running(["job", job.name]), job.place), single=job.single)
            if (wishes := there.wishes) is not None:
                registry.notifications(lambda _config: wishes)
            for service in there.services:
                registry.service(service.name, _placed(self._service(service.name), service.place), single=service.single)
            if there.routes:
                registry.routes([self._route(number, route) for number, route in enumerate(there.routes)])
            for number, place in enumerate(there.metrics):
                registry.metrics(_placed(self._metrics(number), place))
            if there.received is not None:
                registry.received_header(self._function(there.received, ["received"], _text))
            for mechanism in there.mechanisms:
                registry.sasl(self._mechanism(mechanism))
            for number, capability in enumerate(there.capabilities):
                self._capability(registry, number, capability)
            if there.command is not None:
                registry.cli(_command(there.command))
            if (schema := self._schema) is not None:
                registry.schema(schema.metadata, schema.migrations)
            for backend in there.backends:
                registry.backend(backend.kind, backend.scheme, backend_factory(backend, self._process))

        return register

    async def _ask(self, offer: list[Any], arguments: Mapping[str, Any]) -> Any:
        return (await self._process.ask({"offer": offer}, arguments)).get("result")

    def _running(self, offer: list[Any]) -> Callable[[Any], Awaitable[None]]:
        async def run(_ctx: Any) -> None:
            await self._ask(offer, {})

        return run

    def _service(self, name: str) -> Callable[[Any], Awaitable[None]]:
        async def run(_ctx: Any) -> None:
            running = self._tasks.spawn(self._ask(["service", name], {}), f"service-there-{name}")
            try:
                await asyncio.shield(running)
            except asyncio.CancelledError:
                if not running.done():
                    await self._ask(["stop", name], {})  # answered once it has finished
                raise

        return run

    def _route(self, number: int, route: RouteThere) -> HttpRoute:
        async def handle(request: HttpRequest, _ctx: Any) -> HttpAnswer:
            given = {
                "method": request.method, "path": request.path, "params": dict(request.params), "query": request.query,
                "headers": dict(request.headers), "admin": request.admin,
            }  # fmt: skip

            async def ask(body: dict[str, Any]) -> Any:
                return await self._ask(["route", number], {"session": request.session, "request": {**given, **body}})

            async with self._requests:
                answer = await self._process.with_octets(request.body, ask)
            found: HttpAnswer = _typed(answer, HttpAnswer)
            return found

        return HttpRoute(route.method, route.path, _placed(handle, route.place), route.access, route.timeout)

    def _metrics(self, number: int) -> Callable[[Any], Awaitable[Sequence[Metric]]]:
        async def numbers(_ctx: Any) -> Sequence[Metric]:
            answer = await self._ask(["metrics", number], {})
            return [_typed(each, Metric) for each in _list(answer)]

        return numbers

    def _function(self, function: FunctionThere, offer: list[Any], read: Callable[[Any], Any]) -> Callable[..., Any]:
        names = tuple(name for name in function.names if name != "ctx")

        async def call(*values: Any) -> Any:
            arguments = dict(zip(names, values, strict=True))
            if "arguments" in arguments:
                arguments["arguments"] = octets_out(arguments["arguments"])
            return read(await self._ask(offer, arguments))

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        call.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
        placed: Callable[..., Any] = _placed(call, function.place)
        return placed

    def sink(self, place: int, at: Place) -> Callable[[Mapping[str, Any]], Coroutine[Any, Any, Any]]:
        """What stands for a ``message_sink``."""

        async def make(arguments: Mapping[str, Any]) -> "RemoteSink | None":
            self._last = number = self._last + 1
            if await self._ask(["message_sink", place, number], arguments) is None:
                return None
            made = RemoteSink(self._ask, number)
            loop = asyncio.get_running_loop()
            weakref.finalize(made, self._drop, loop, number).atexit = False
            return made

        return make

    def _drop(self, loop: asyncio.AbstractEventLoop, number: int) -> None:
        """In whatever thread: the message came to its end, or never will."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(lambda: self._tasks.spawn(self._forget(number), "sink-forgotten"))

    async def _forget(self, number: int) -> None:
        with contextlib.suppress(Outside, TemporaryFailure):
            await self._ask(["forget", number], {})

    # ---- commands and capabilities

    def _capability(self, registry: Registry, number: int, there: CapabilityThere) -> None:
        keyword, _, params = there.line.partition(" ")
        reply = _REPLIES[there.protocol]
        commands = {
            verb: self._function(function, ["command", number, verb], lambda answer: _typed(answer, reply))
            for verb, function in there.commands.items()
        }
        checks = [
            {name: at and _placed(self._check(["param", number, place, name]), at) for name, at in given.items()}
            for place, given in (("mail", there.mail), ("rcpt", there.rcpt))
        ]
        before = there.before_login and there.protocol != "smtp"
        registry.capability(
            there.protocol, keyword, params=params, commands=commands, mail=checks[0], rcpt=checks[1], before_login=before
        )

    def _check(self, offer: list[Any]) -> Any:
        async def check(value: str | None) -> str | None:
            problem = await self._ask(offer, {"value": value})
            return None if problem is None else str(problem)

        return check

    # ---- SASL

    def _mechanism(self, there: MechanismThere) -> type[Any]:
        async def step(run: Any, response: bytes | None) -> Any:
            return await self._step(there.name, run, response)

        fields = {
            "__init__": lambda run, peer, _ctx: run.__dict__.update(peer=peer, number=0),
            "step": _placed(step, there.place),
            "name": there.name,
            "needs_tls": there.needs_tls,
            "server_first": there.server_first,
            "channel_binding": there.channel_binding,
        }
        return type(f"Mechanism {there.name}", (), fields)

    async def _step(self, name: str, run: Any, response: bytes | None) -> Any:
        arguments: dict[str, Any] = {"response": response}
        if not run.number:
            self._last = run.number = self._last + 1
            arguments |= {"peer": _peer_out(run.peer), "session": run.peer.session}
        self._peers[run.number] = run.peer
        try:
            answer = await self._ask(["sasl", name, run.number], arguments)
        finally:
            del self._peers[run.number]
            ended = self._ends.pop(run.number, None)
        kind = answer.get("type") if isinstance(answer, dict) else None
        if kind == "Ended" and ended is not None:
            raise ended
        if kind == "SaslError":
            raise SaslError(str(answer.get("text"))[:500])
        return _typed(answer, Challenge, Credentials, Identified, Rejected)

    async def _keys(self, _ctx: Any, number: Any, username: Any) -> Any:
        """A run asks for the keys of an account. Raises TemporaryFailure, ValueError."""
        peer = self._peers.get(number)
        if peer is None:
            raise ValueError("there is no such run")
        try:
            found: StoredKeys | None = await peer.keys(str(username))
        except TemporaryFailure:
            raise
        except Exception as exc:  # noqa: BLE001  # it ends the run: told to whoever runs it
            self._ends[number] = exc
            return {"ended": True}
        return {"keys": plain(found)}

    # ---- tables

    async def _read(self, ctx: Any, tree: Any) -> Any:
        """Raises what ``ctx.db.read`` raises."""
        from mta.pluginhost.sqltree import rows_out  # SQLAlchemy is imported by plugins that have tables

        return rows_out(await ctx.db.read(self._statement(tree)))

    async def _write(self, ctx: Any, *trees: Any) -> Any:
        return await ctx.db.write(*(self._statement(tree) for tree in trees))

    def _statement(self, tree: Any) -> Any:
        from mta.pluginhost.sqlin import statement_in

        if self._schema is None:
            raise LookupError("it offers no registry.schema: it has no tables")
        return statement_in(tree, self._schema.metadata.tables)


class RemoteSink:
    """mta_hooks.views.Sink, of one message."""

    def __init__(self, ask: Callable[[list[Any], Mapping[str, Any]], Awaitable[Any]], number: int) -> None:
        self._ask, self._number = ask, number

    async def feed(self, octets: bytes) -> None:
        await self._ask(["feed", self._number], {"octets": octets})

    async def close(self) -> Any:
        answer = await self._ask(["close", self._number], {})
        try:
            return answer_in(CLOSE, answer, {})
        except BadAnswer as exc:
            raise Outside(f"answered {exc}") from None


def _peer_out(peer: SaslPeer) -> dict[str, Any]:
    bindings = {kind: found for kind in _BINDINGS if (found := peer.channel_binding(kind)) is not None}
    return {"service": peer.service, "mechanisms": list(peer.mechanisms), "certificate": peer.certificate, "bindings": bindings}


def _command(text: str) -> Any:
    import click  # not for every server

    return click.Command("elsewhere", help=text)


def _schema(tree: Mapping[str, Any], path: str, plugin: str) -> Schema:
    from mta.pluginhost.sqlschema import schema_in

    try:
        return schema_in(tree, prefix_of(plugin))
    except (LookupError, ValueError) as exc:
        raise PluginRefused(str(exc), path) from None


def _placed(function: Any, place: Place) -> Any:
    function.place = place
    return function


def _text(answer: Any) -> str | None:
    return None if answer is None else str(answer)


def _list(answer: Any) -> list[Any]:
    if not isinstance(answer, list):
        raise Outside("answered no list")
    return answer


def _typed(answer: Any, *kinds: type[Any]) -> Any:
    """None, or one of these kinds. Raises Outside."""
    try:
        return typed(answer, kinds)
    except BadAnswer as exc:
        raise Outside(f"answered {exc}") from None
