"""``isolate: process``: a plugin whose hooks run in a process of its own, with its own account and limits, and the same meaning.

    plugins:
      images:
        isolate: process                            # or {user: mta-images, memory: 512 MiB, files: 64, processes: 16}

Here is the server's side: the plugin is loaded over there and never imported here; what the host registers are stand-ins that
send each call across (jsonlines). ``ctx.kv``, ``ctx.dns`` and ``ctx.send`` come back here as calls; ``ctx.http``, ``ctx.clock`` and
``ctx.threads`` are the process's own. What it offers through the registry: standins.py.
"""
# SPDX-License-Identifier: Apache-2.0

import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from time import monotonic
from types import ModuleType
from typing import Any

import msgspec

from mta.model.errors import AlreadyExists, ConfigError, NoSuchMailbox, NoSuchUser, Refused, TemporaryFailure
from mta.model.reply import Reply
from mta.net.tasks import Tasks
from mta.pluginhost.call import Outside, describe
from mta.pluginhost.check import PluginRefused
from mta.pluginhost.confine import Confinement, account_for, credentials
from mta.pluginhost.context import PluginContext, Services
from mta.pluginhost.crossing import BadAnswer, arguments_out, notes_in, uncrossable
from mta.pluginhost.described import PluginThere
from mta.pluginhost.executables import answer_from, implementation
from mta.pluginhost.handover import Handover
from mta.pluginhost.jsonlines import LONGEST_LINE, VERSION, Rubbish, encode_line
from mta.pluginhost.launcher import Command, Launcher
from mta.pluginhost.lineprocess import LineProcess
from mta.pluginhost.plugin import Plugin
from mta.pluginhost.section import Where
from mta.pluginhost.served import SERVICES
from mta.pluginhost.specs import SPECS
from mta.pluginhost.standins import StandIns
from mta.pluginhost.threads import Pool
from mta_hooks.services import DnsError
from mta_hooks.views import Part

LOADING = 30.0
"""Seconds for the process to start and import the plugin."""
LARGEST_DECODED = 2**18
"""Octets of a part that are decoded in the loop; more in a thread."""
MOST_CALLS = 64
"""Services that one process asks for at a time."""
_TERMINAL = ("TERM", "COLUMNS", "LINES", "NO_COLOR", "TZ")
LOG_LINES, LOG_WINDOW = 600, 60.0
_EVENT = re.compile(r"[a-z0-9_.]{1,80}\Z")
_LEVELS = ("debug", "info", "warning", "error")
_BOOT = "import json,sys; sys.path[:] = json.loads(sys.argv[1]); from mta.pluginhost.isolated import main; main()"


_RAISED: Mapping[Any, type[Exception]] = {kind.__name__: kind for kind in (AlreadyExists, NoSuchUser, NoSuchMailbox)}
"""What a command raises beside what every question may: told apart by their exit status."""


class IsolatedPlugin:
    """Fulfils mta.pluginhost.plugin.Process. ``source``: {"entry_point": value}, or {"file": path, "text": source}."""

    def __init__(self, name: str, confinement: Confinement, services: Services, source: Mapping[str, str]) -> None:
        self._name = name
        self._confinement = confinement
        self._services = services
        self._source = dict(source)
        self._log = services.log.bind(plugin=name)
        self._tasks = Tasks(self._log)
        self._context: PluginContext | None = None
        self._pool = Pool(name, 2)
        self._logged_since, self._logged = 0.0, 0
        self._lines: LineProcess
        self._handover: Handover
        self._hello: dict[str, Any] = {}
        self._stand_ins: StandIns

    def load(self, launcher: Launcher, config: Mapping[str, Any], key: str, where: Where) -> ModuleType:
        """Start the process, have it load the plugin, and return what the host registers. Blocks for as long as an import takes.

        Raises PluginRefused when it cannot run, ConfigError when its config is wrong.
        """
        account = account_for(self._confinement.user, launcher)
        late = credentials(account) if os.geteuid() == 0 else None
        self._hello = {
            "version": VERSION,
            "plugin": self._name,
            "hostname": self._services.hostname,
            "config": dict(config),
            "source": self._source,
            "account": late,
            "sealed": self._services.sealed,
        }
        command = Command(
            (sys.executable, "-I", "-c", _BOOT, json.dumps(sys.path)),
            {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": account.home or "/", **self._shown()},
            None
            if late
            else credentials(account),  # late: by itself, when it has imported the engine, which root can read for sure
            self._confinement.limits(one_shot=False),
            counted=account.uid,
            cwd=os.getcwd() if self._services.terminal else "/",
        )
        self._handover = Handover(self._pool)
        self._lines = LineProcess(launcher, command, self._log, self._hello, self._handle, self._services.terminal)
        self._lines.closed = self._handover.close
        try:
            said = self._lines.hello(LOADING)
        except (Outside, TemporaryFailure) as exc:
            raise PluginRefused(f"in a process of its own: {exc}") from None
        try:
            if "error" in said:
                self._refuse(said, key, where)
            return self._module(said.get("result"))
        except (PluginRefused, ConfigError):
            self.close()
            raise
        except (TypeError, ValueError, AttributeError) as exc:
            self.close()
            raise PluginRefused(f"its process says of itself what cannot be: {describe(exc)}") from None

    def _shown(self) -> dict[str, str]:
        """What a command shows depends on."""
        names = _TERMINAL if self._services.terminal else ()
        return {name: os.environ[name] for name in names if name in os.environ}

    def _refuse(self, said: Mapping[str, Any], key: str, where: Where) -> None:
        problem = str(said["error"])[:1000]
        if "key" in said:
            at = ".".join(part for part in (key, str(said["key"]).lstrip(".")) if part)
            raise ConfigError(where(at), at, problem, str(said.get("fix", "")))
        raise PluginRefused(problem, str(said.get("file", "")), int(said.get("line", 0)))

    def _module(self, result: Any) -> ModuleType:
        try:
            there = msgspec.convert(result, PluginThere)
        except msgspec.ValidationError as exc:
            raise PluginRefused(f"its process says of itself what cannot be: {exc}") from None
        module = ModuleType(self._name)
        module.__file__ = there.path
        module.roles = there.roles  # type: ignore[attr-defined]
        self._stand_ins = StandIns(self._name, there, self, self._tasks)
        for number, one in enumerate(there.hooks):
            if one.hook not in SPECS or SPECS[one.hook].mode == "load":
                raise PluginRefused(f"there is no hook {one.hook[:80]}", *one.place)
            if one.hook != "message_sink" and (problem := uncrossable(SPECS[one.hook], [n for n in one.names if n != "part"])):
                raise PluginRefused(f"isolate: {problem}", *one.place)
            options = {key: tuple(value) if isinstance(value, list) else value for key, value in one.options.items()}
            answer = self._stand_ins.sink(number, one.place) if one.hook == "message_sink" else self._asker(number, one.hook)
            stand_in = implementation(one.hook, one.names, answer, specname=one.hook, **options)
            stand_in.place = one.place  # type: ignore[attr-defined]
            setattr(module, f"step_{number}", stand_in)
        module.register = self._stand_ins.register()  # type: ignore[attr-defined]
        return module

    def place(self, plugin: Plugin) -> None:
        """The plugin that stands for it is made: its services are there."""
        self._context = plugin.context

    # ---- calls over there

    def _asker(self, number: int, hook: str) -> Callable[[Mapping[str, Any]], Any]:
        spec = SPECS[hook]

        async def call(arguments: Mapping[str, Any]) -> Any:
            said = await self.ask({"call": number}, arguments)
            if hook == "startup":  # to be told again to a process that takes this one's place
                self._hello.setdefault("started", []).append({"call": number, "args": arguments_out(arguments)})
            return answer_from(spec, said, arguments)

        return call

    async def ask(self, question: dict[str, Any], arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Fulfils mta.pluginhost.standins.Process."""
        given = arguments_out(arguments)
        files: list[str] = []
        try:
            for name, put in (("message", self._handover.put), ("part", self._put_part)):
                if (one := arguments.get(name)) is not None:
                    handed = await put(one)
                    given[name] |= handed
                    if "file" in handed:
                        files.append(handed["file"])
            said = await self._lines.ask({**question, "args": given})
        finally:
            for file in files:
                self._handover.drop(file)
        self._refused(said)
        self._keep(said.get("kept"), arguments)
        return said

    async def _put_part(self, part: Part) -> dict[str, Any]:
        octets = part.octets if part.size <= LARGEST_DECODED else await self._pool.run(getattr, part, "octets")
        return await self._handover.put_octets(octets)

    async def command(self, program: str, words: Sequence[str], services: Callable[[], AbstractAsyncContextManager[None]]) -> int:
        """Run the plugin's command on ``Services.terminal``, within ``services`` when it is an ``async def``; its exit status.

        Raises what it raises of mta.model.errors.
        """
        said = await self._deed(["cli", program, list(words)])
        if said.get("waits") is True:
            async with services():
                said = await self._deed(["cli_goes_on"])
        status = said.get("exit")
        return status if isinstance(status, int) else 1

    async def _deed(self, offer: list[Any]) -> Mapping[str, Any]:
        try:
            said = (await self.ask({"offer": offer}, {})).get("result")
        except Outside as exc:
            raise TemporaryFailure(f"plugin {self._name}: {exc}") from exc
        if not isinstance(said, dict):
            raise TemporaryFailure(f"plugin {self._name}: answered nothing")
        if isinstance(raised := said.get("raised"), list) and len(raised) == 2 and raised[0] in _RAISED:
            raise _RAISED[raised[0]](str(raised[1])[:1000])
        return said

    async def with_octets(self, octets: bytes, ask: Callable[[dict[str, Any]], Awaitable[Any]]) -> Any:
        """Fulfils mta.pluginhost.standins.Process."""
        handed = await self._handover.put_octets(octets)
        try:
            return await ask(handed)
        finally:
            if "file" in handed:
                self._handover.drop(handed["file"])

    def _refused(self, said: Mapping[str, Any]) -> None:
        if isinstance(refused := said.get("refused"), list):
            try:
                code, enhanced, text, close = refused
                reply = Reply(int(code), str(enhanced), str(text)[:1000], close is True)
            except (TypeError, ValueError):
                raise Outside("answered no refusal") from None
            raise Refused(reply, str(said.get("error", ""))[:1000])
        if "error" not in said:
            return
        error = str(said["error"])[:1000]
        if isinstance(mistake := said.get("config"), list) and len(mistake) == 3:
            raise ConfigError(str(mistake[0])[:500], str(mistake[1])[:500], error, str(mistake[2])[:1000])
        raise TemporaryFailure(error) if said.get("temporary") is True else Outside(error)

    def _keep(self, kept: Any, arguments: Mapping[str, Any]) -> None:
        if not isinstance(kept, dict):
            return
        try:
            for name, notes in kept.items():
                if name in ("session", "transaction", "message") and arguments.get(name) is not None:
                    arguments[name].notes.update(notes_in(notes))
        except BadAnswer as exc:
            raise Outside(f"answered {exc}") from None

    # ---- what comes from there

    def _handle(self, fields: Mapping[str, Any]) -> None:
        """A line without id: a word for the log, or a service asked for."""
        if isinstance(level := fields.get("log"), str):
            return self._say(level, fields)
        if type(number := fields.get("call")) is int and self._context is not None:
            if len(self._tasks) >= MOST_CALLS:
                return self._reply({"reply": number, "error": "too many services asked for at a time", "kind": "temporary"})
            self._tasks.spawn(self._serve(number, fields), f"plugin-{self._name}-service")
            return None
        raise Rubbish("a line that says nothing")

    def _say(self, level: str, fields: Mapping[str, Any]) -> None:
        event, more = fields.get("event"), fields.get("fields")
        if level not in _LEVELS or not isinstance(event, str) or not _EVENT.match(event) or not isinstance(more, dict):
            raise Rubbish("a log line that is none")
        if monotonic() - self._logged_since > LOG_WINDOW:
            self._logged_since, self._logged = monotonic(), 0
        self._logged += 1
        if self._logged <= LOG_LINES:
            known = {
                str(key): value for key, value in list(more.items())[:20] if key not in ("event", "exc_info", "plugin", "self")
            }
            getattr(self._log, level)(event, **known)

    async def _serve(self, number: int, fields: Mapping[str, Any]) -> None:
        service, args = fields.get("service"), fields.get("args")
        try:
            if not isinstance(args, list):
                raise ValueError("there is no such service")
            if service not in SERVICES and service not in self._stand_ins.services:
                raise ValueError("there is no such service")
            serve = SERVICES.get(service) or self._stand_ins.services[service]
            result = await serve(self._context, *args)
            answer: dict[str, Any] = {"result": result}
        except DnsError as exc:
            answer = {"error": str(exc), "kind": "dns"}
        except (TemporaryFailure, OSError) as exc:
            answer = {"error": str(exc), "kind": "temporary"}
        except AlreadyExists as exc:
            answer = {"error": str(exc)[:1000], "kind": "exists"}
        except LookupError as exc:
            answer = {"error": str(exc)[:1000], "kind": "lookup"}
        except Exception as exc:  # noqa: BLE001  # whatever its arguments caused is its own affair
            answer = {"error": f"{type(exc).__name__}: {exc}"[:1000], "kind": "other"}
        self._reply({"reply": number, **answer})

    def _reply(self, fields: dict[str, Any]) -> None:
        line = encode_line(fields)
        if len(line) > LONGEST_LINE:
            line = encode_line({"reply": fields["reply"], "error": "more than a line may hold", "kind": "other"})
        try:
            self._lines.write(line)
        except TemporaryFailure:
            return  # it has ended, or does not read: then it has other troubles

    # ---- mta.pluginhost.plugin.Process

    def retire(self) -> None:
        self._lines.retire()
        self._pool.close()

    def close(self) -> None:
        self._lines.close()
        self._pool.close()

    @property
    def trouble(self) -> str:
        return self._lines.trouble
