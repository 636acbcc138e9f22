"""The offers of a plugin in a process of its own, done when the server's stand-ins ask (standins.py)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import base64
import contextlib
import inspect
import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from mta.model.address import Address
from mta.model.directory import StoredKeys
from mta.model.errors import ConfigError, MailError, Refused, TemporaryFailure
from mta.pluginhost.check import implementations
from mta.pluginhost.crossing import answer_out, convert, octets_in, octets_out, plain
from mta.pluginhost.jsonlines import LONGEST_LINE
from mta.pluginhost.plugin import Plugin
from mta_hooks.backends.accounts import Account, AccountsOptions
from mta_hooks.http import HttpAnswer, HttpRequest
from mta_hooks.lookup import TableOptions
from mta_hooks.sasl import Challenge, Identified, SaslError
from mta_hooks.views import Sink

TERMINAL = 3
"""The first of three descriptors: standard input, output and error of who runs a command."""
LARGEST_ANSWER = LONGEST_LINE // 4 * 3 - 2**16
"""Octets of a body over HTTP: what fits into a line as base64."""
MOST_RUNS, LONGEST_RUN = 4096, 900.0
"""Of SASL mechanisms; nobody says when a client has given one up."""
Invoke = Callable[..., Awaitable[Any]]
"""``invoke(function, *args)``: call, in a thread once it has held up the process, and await what it answers."""


class Ended(Exception):  # noqa: N818  # ends a run of a mechanism
    """The server does not let this run go on; let it pass."""


class Ready:
    """An answer that is JSON already."""

    def __init__(self, value: Any) -> None:
        self.value = value


class OffersThere:
    """``do`` answers one question; ``ask`` asks the server, as for services."""

    def __init__(self, plugin: Plugin, context: Any, invoke: Invoke, ask: Callable[..., Awaitable[Any]]) -> None:
        self._offers, self._context, self._invoke, self._ask = plugin.offers, context, invoke, ask
        self._routes = plugin.offers.made_routes(plugin.context.config)
        self._hooks = [function for hook, function in implementations(plugin.object) if hook != "register"]
        self._sinks: dict[int, Any] = {}
        self._services: dict[str, asyncio.Task[Any]] = {}
        self._runs: dict[int, tuple[float, Any]] = {}
        self._command_waits: Awaitable[Any] | None = None
        self._made: dict[tuple[str, ...], asyncio.Future[Any]] = {}

    async def do(self, offer: list[Any], values: Mapping[str, Any]) -> Any:
        """A value for JSON, or one that ``answer_out`` makes one."""
        kind, *which = offer
        return await _DEEDS[kind](self, values, *which)

    # ---- what runs

    async def job(self, _values: Mapping[str, Any], name: str) -> None:
        await next(job.run for job in self._offers.jobs if job.name == name)(self._context)

    async def service(self, _values: Mapping[str, Any], name: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._services[name] = task
        try:
            await next(one.run for one in self._offers.services if one.name == name)(self._context)
        finally:
            del self._services[name]

    async def stop(self, _values: Mapping[str, Any], name: str) -> None:
        if (task := self._services.get(name)) is not None:
            task.cancel()
            await asyncio.wait([task])

    # ---- what is asked

    async def route(self, values: Mapping[str, Any], number: int) -> HttpAnswer:
        given = dict(values["request"])
        file = given.pop("file", None)
        body = Path(file).read_bytes() if file is not None else base64.b64decode(given.pop("body"))  # noqa: ASYNC240  # just written
        given["query"] = tuple((name, value) for name, value in given["query"])
        answer = await self._invoke(
            self._routes[number].handler, HttpRequest(**given, body=body, session=values["session"]), self._context
        )
        if not isinstance(answer, HttpAnswer):
            raise TypeError(f"must answer HttpAnswer, not {type(answer).__name__}")
        if len(answer.body) > LARGEST_ANSWER:
            raise ValueError(f"a body of more than {LARGEST_ANSWER} octets cannot leave a process of its own")
        return answer

    async def metrics(self, _values: Mapping[str, Any], number: int) -> Any:
        return list(await self._invoke(self._offers.metrics_functions[number], self._context))

    async def received(self, values: Mapping[str, Any]) -> str | None:
        assert self._offers.received is not None
        found: str | None = await self._named(self._offers.received, values)
        return found

    async def command(self, values: Mapping[str, Any], number: int, verb: str) -> Any:
        if "arguments" in values:
            values = {**values, "arguments": octets_in(values["arguments"])}
        answer = answer_out(await self._named(self._offers.capabilities[number].commands[verb], values))
        if isinstance(answer, dict) and "lines" in answer:
            answer["lines"] = octets_out(answer["lines"])
        return Ready(answer)

    async def param(self, values: Mapping[str, Any], number: int, command: str, name: str) -> str | None:
        capability = self._offers.capabilities[number]
        check = (capability.mail if command == "mail" else capability.rcpt)[name]
        assert check is not None
        problem: str | None = await self._invoke(check, values["value"])
        return problem

    async def _named(self, function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
        known = {**values, "ctx": self._context}
        names = [name for name in inspect.signature(function).parameters if name in known]
        return await self._invoke(_by_name(function, names), *(known[name] for name in names))

    # ---- message_sink

    async def message_sink(self, values: Mapping[str, Any], place: int, number: int) -> Ready:
        sink = await self._named(self._hooks[place], values)
        if sink is None:
            return Ready(None)
        if not isinstance(sink, Sink):
            raise TypeError(f"message_sink must answer an object with feed and close or None, not {type(sink).__name__}")
        self._sinks[number] = sink
        return Ready(True)

    async def feed(self, values: Mapping[str, Any], number: int) -> None:
        await self._invoke(self._sink(number).feed, base64.b64decode(values["octets"]))

    async def close(self, _values: Mapping[str, Any], number: int) -> Any:
        sink = self._sink(number)
        del self._sinks[number]
        return await self._invoke(sink.close)

    async def forget(self, _values: Mapping[str, Any], number: int) -> None:
        self._sinks.pop(number, None)

    def _sink(self, number: int) -> Any:
        if number not in self._sinks:
            raise TemporaryFailure("its process was started again within a message")
        return self._sinks[number]

    # ---- the command line

    async def cli(self, _values: Mapping[str, Any], program: str, words: list[str]) -> Ready:
        """Run it on the terminal that we were given; {"waits": true}: what it has to wait for needs the database."""
        for number in range(3):
            os.dup2(TERMINAL + number, number)
        command = self._offers.command
        assert command is not None

        async def run() -> Any:
            return command.main(words, prog_name=program, standalone_mode=False, obj=self._context)

        said = await ended(run())
        if inspect.iscoroutine(said):
            self._command_waits, said = said, {"waits": True}
        return Ready(said)

    async def cli_goes_on(self, _values: Mapping[str, Any]) -> Ready:
        assert self._command_waits is not None
        return Ready(await ended(self._command_waits))

    # ---- SASL

    async def sasl(self, values: Mapping[str, Any], name: str, number: int) -> Any:
        mechanism, response = self._offers.mechanisms[name], values["response"]
        if (peer := values.get("peer")) is not None:
            self._forget_runs()
            self._runs[number] = monotonic(), mechanism(RemotePeer(number, peer, values["session"], self._ask), self._context)
        elif number not in self._runs:
            raise TemporaryFailure("its process was started again within a login")
        began, run = self._runs.pop(number)
        try:
            answer = await self._invoke(run.step, None if response is None else base64.b64decode(response))
        except SaslError as exc:
            return Ready({"type": "SaslError", "text": str(exc)})
        except Ended:
            return Ready({"type": "Ended"})
        if isinstance(answer, Challenge) or (isinstance(answer, Identified) and answer.final):
            self._runs[number] = began, run
        return answer

    def _forget_runs(self) -> None:
        while self._runs:
            number, (began, _) = next(iter(self._runs.items()))
            if len(self._runs) < MOST_RUNS and monotonic() - began < LONGEST_RUN:
                return
            del self._runs[number]

    # ---- backends

    async def backend(self, values: Mapping[str, Any], kind: str, scheme: str, url: str, method: str) -> Any:
        key = kind, scheme, url
        if method == "close":
            if (future := self._made.pop(key, None)) is not None:
                await (await future).close()
            return None
        if key not in self._made:
            self._made[key] = asyncio.ensure_future(self._open(kind, scheme, url, values["options"]))
        try:
            backend = await asyncio.shield(self._made[key])
        except BaseException:
            if self._made[key].done():
                del self._made[key]
            raise
        if method == "open":
            return bool(getattr(backend, "patterns", False))
        args = list(values["args"])
        if method == "account":
            args = [convert(args[0], Address)]
        elif method == "verify":
            args[0] = convert(args[0], Account)
        answer = await getattr(backend, method)(*args)
        return Ready([answer, bool(backend.patterns)] if kind == "table" else plain(answer))

    async def _open(self, kind: str, scheme: str, url: str, options: Mapping[str, Any]) -> Any:
        context = self._context
        given: Any = (
            AccountsOptions(options["data_dir"], options["hostname"], tuple(options["domains"]))
            if kind == "directory"
            else TableOptions(options["data_dir"], "", context.threads, context.log)
        )
        backend = self._offers.backends[kind, scheme](url, given)
        await backend.open()
        return backend


async def ended(work: Awaitable[Any]) -> Any:
    """How a command ended: {"exit": status}, {"raised": [kind, text]}; or the coroutine that it answered."""
    import click

    status = 1
    try:
        result = await work
        if inspect.iscoroutine(result):
            return result
        status = result if isinstance(result, int) else 0
    except click.exceptions.Abort:
        status = 130
    except click.ClickException as exc:
        exc.show()
        status = 64
    except BrokenPipeError:
        status = 0
    except (TemporaryFailure, ConfigError, Refused):
        raise
    except MailError as exc:
        return {"raised": [type(exc).__name__, str(exc)]}
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 0 if exc.code is None else 1
    except Exception:  # noqa: BLE001  # a bug of the command's, told where it runs
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
    return {"exit": status}


class RemotePeer:
    """Fulfils mta_hooks.sasl.SaslPeer."""

    def __init__(self, number: int, fields: Mapping[str, Any], session: Any, ask: Callable[..., Awaitable[Any]]) -> None:
        self._number, self._ask = number, ask
        self.service: str = fields["service"]
        self.session = session
        self.mechanisms: list[str] = fields["mechanisms"]
        certificate = fields["certificate"]
        self.certificate = None if certificate is None else base64.b64decode(certificate)
        self._bindings = {kind: base64.b64decode(data) for kind, data in fields["bindings"].items()}

    def channel_binding(self, kind: str) -> bytes | None:
        return self._bindings.get(kind)

    async def keys(self, username: str) -> StoredKeys | None:
        answer = await self._ask("sasl.keys", self._number, username)
        if "ended" in answer:
            raise Ended
        found: StoredKeys | None = convert(answer["keys"], StoredKeys | None)
        return found


def _by_name(function: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
    def call(*values: Any) -> Any:
        return function(**dict(zip(names, values, strict=True)))

    call.__wrapped__ = function  # type: ignore[attr-defined]  # who runs it tells functions apart by what is wrapped
    return call


_DEEDS: Mapping[str, Callable[..., Awaitable[Any]]] = {
    "job": OffersThere.job,
    "service": OffersThere.service,
    "stop": OffersThere.stop,
    "route": OffersThere.route,
    "metrics": OffersThere.metrics,
    "received": OffersThere.received,
    "command": OffersThere.command,
    "param": OffersThere.param,
    "sasl": OffersThere.sasl,
    "message_sink": OffersThere.message_sink,
    "feed": OffersThere.feed,
    "close": OffersThere.close,
    "forget": OffersThere.forget,
    "cli": OffersThere.cli,
    "cli_goes_on": OffersThere.cli_goes_on,
    "backend": OffersThere.backend,
}
