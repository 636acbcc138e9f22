"""The offers of all plugins together, as the servers use them: SASL mechanisms, capabilities, commands and parameters by name."""
# SPDX-License-Identifier: Apache-2.0

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mta.model.errors import TemporaryFailure
from mta.model.reply import Reply
from mta.pluginhost.call import Dispatcher, describe
from mta.pluginhost.capabilities import ARGUMENTS, Protocol
from mta.pluginhost.check import PluginRefused
from mta.pluginhost.offered import Offered
from mta.pluginhost.plugin import Plugin
from mta.pluginhost.registry import RECEIVED
from mta_hooks.capabilities import ImapReply, Pop3Reply
from mta_hooks.sasl import Mechanism

_SASL_TIMEOUT = 60.0
"""Seconds of one step: a throttled client waits inside it."""

Advance = Callable[[bytes | None, Any], Awaitable[Any]]
Check = Callable[[str | None], str | None] | Offered
"""Of a parameter: what is wrong with its value, or None. ``Offered``: to be awaited, of a plugin in a process of its own."""
_ANSWERS: Mapping[str, type] = {"imap": ImapReply, "smtp": Reply, "pop3": Pop3Reply}


@dataclass(frozen=True, slots=True)
class OfferedMechanism:
    """``call(run=function, response=octets)`` calls ``function(octets, ctx)`` as the plugin's."""

    mechanism: type[Mechanism]
    call: Offered


@dataclass(frozen=True, slots=True)
class OfferedCommand:
    """``call(session=…, arguments=…)`` answers an ImapReply, Reply or Pop3Reply, or None: no such command, for this session."""

    call: Offered
    before_login: bool


@dataclass(frozen=True, slots=True)
class Offering:
    """Made anew whenever the set of plugins changes.

    lines     capabilities by protocol: (as advertised, also before login)
    commands  by protocol and verb; mail, rcpt: checks of parameters by keyword
    received  those who rewrite our Received field
    """

    mechanisms: Mapping[str, OfferedMechanism] = field(default_factory=dict)
    lines: Mapping[str, tuple[tuple[str, bool], ...]] = field(default_factory=dict)
    commands: Mapping[tuple[str, str], OfferedCommand] = field(default_factory=dict)
    mail: Mapping[str, Check] = field(default_factory=dict)
    rcpt: Mapping[str, Check] = field(default_factory=dict)
    received: tuple[Offered, ...] = ()

    def advertised(self, protocol: Protocol, *, logged_in: bool) -> Iterator[str]:
        return (line for line, before in self.lines.get(protocol, ()) if logged_in or before)

    def calls(self) -> Iterator[Offered]:
        """Everything that is called like a hook."""
        yield from (mechanism.call for mechanism in self.mechanisms.values())
        yield from (command.call for command in self.commands.values())
        yield from (check for check in (*self.mail.values(), *self.rcpt.values()) if isinstance(check, Offered))
        yield from self.received

    @classmethod
    def of(cls, plugins: Mapping[str, Plugin], dispatcher: Dispatcher) -> "Offering":
        """Raises PluginRefused for something that two plugins bring."""
        gathered = _Gathered(dispatcher)
        for plugin in sorted(plugins.values(), key=lambda p: p.place):
            gathered.add(plugin)
        lines = {protocol: tuple(found) for protocol, found in gathered.lines.items()}
        return cls(gathered.mechanisms, lines, gathered.commands, gathered.mail, gathered.rcpt, tuple(gathered.received))


class _Gathered:
    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._owners: dict[str, str] = {}
        self.mechanisms: dict[str, OfferedMechanism] = {}
        self.lines: dict[str, list[tuple[str, bool]]] = {}
        self.commands: dict[tuple[str, str], OfferedCommand] = {}
        self.mail: dict[str, Check] = {}
        self.rcpt: dict[str, Check] = {}
        self.received: list[Offered] = []

    def add(self, plugin: Plugin) -> None:
        if (write := plugin.offers.received) is not None:
            self.received.append(Offered(self._dispatcher, plugin, "received_header", write, RECEIVED, (str,)))
        for name, mechanism in plugin.offers.mechanisms.items():
            self._own(plugin, f"the SASL mechanism {name}")
            call = Offered(
                self._dispatcher,
                plugin,
                f"sasl {name}",
                _advance,
                ("run", "response"),
                timeout=_SASL_TIMEOUT,
                written=mechanism.step,
            )
            self.mechanisms[name] = OfferedMechanism(mechanism, call)
        for capability in plugin.offers.capabilities:
            protocol = capability.protocol
            self._own(plugin, f"the {protocol} capability {capability.line.partition(' ')[0]}")
            self.lines.setdefault(protocol, []).append((capability.line, capability.before_login))
            for verb, handler in capability.commands.items():
                self._own(plugin, f"the {protocol} command {verb}")
                call = Offered(self._dispatcher, plugin, f"{protocol} {verb}", handler, ARGUMENTS, (_ANSWERS[protocol],))
                self.commands[protocol, verb] = OfferedCommand(call, capability.before_login)
            for command, checks, into in (("MAIL", capability.mail, self.mail), ("RCPT", capability.rcpt, self.rcpt)):
                for name, check in checks.items():
                    self._own(plugin, f"the {command} parameter {name}")
                    into[name] = _guarded(plugin, self._dispatcher, name, check)

    def _own(self, plugin: Plugin, what: str) -> None:
        if what in self._owners:
            raise PluginRefused(f"brings {what}, and so does {self._owners[what]}")
        self._owners[what] = plugin.name


async def _advance(run: Advance, response: bytes | None, ctx: Any) -> Any:
    return await run(response, ctx)


def _guarded(plugin: Plugin, dispatcher: Dispatcher, name: str, check: Callable[[str | None], str | None] | None) -> Check:
    """A check that raises costs the command, not the connection."""
    if check is None:
        return lambda _value: None
    if inspect.iscoroutinefunction(check):
        return Offered(dispatcher, plugin, f"smtp {name}", check, ("value",), (str,))
    checked = check

    def run(value: str | None) -> str | None:
        try:
            problem = checked(value)
        except Exception as exc:  # noqa: BLE001  # whatever a plugin raises
            dispatcher.log.error(  # noqa: G201
                "plugin.error", plugin=plugin.name, hook=f"smtp {name}", error=describe(exc), then="defer", exc_info=True
            )
            raise TemporaryFailure(f"smtp {name} of plugin {plugin.name}: {describe(exc)}") from exc
        return None if problem is None else str(problem)[:500]

    return run
