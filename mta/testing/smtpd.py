"""A server for incoming mail without sockets, disks and clocks: for transcripts and unit tests.

``SmtpSite`` builds the real server and pipeline over fakes: a directory in a dict, hooks that are plain functions, a database
that records what it was given, a clock that only moves when told. ``FakeTransport`` is the network.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from types import SimpleNamespace
from typing import Any

from mta.config.sections import Auth, Config, Limits, Relay, Section
from mta.directory.login import Login
from mta.directory.resolve import Resolver
from mta.model.address import Address
from mta.model.directory import AliasTarget, AuthFail, AuthOk, MailboxTarget
from mta.model.ids import UserId
from mta.model.message import Intake
from mta.model.verdict import Verdict
from mta.net.listener import ListenerSpec
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.pipeline.pipeline import Pipeline
from mta.pluginhost.offers import Offering
from mta.pluginhost.plan import Decision
from mta.pluginhost.specs import SPECS
from mta.smtpd.protocol import SmtpProtocol
from mta.smtpd.server import SmtpServer


class FakeClock:
    """Moves by ``advance`` and by ``sleep``, which does not wait."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self.time += seconds


class FakePlan:
    """A plan over one function, ``def`` or ``async def``, that takes the hook's arguments by name."""

    def __init__(self, function: Callable[..., Any], plugin: str = "fake") -> None:
        self._function, self._plugin = function, plugin
        self.calls: list[dict[str, Any]] = []

    async def _ask(self, arguments: dict[str, Any]) -> Any:
        self.calls.append(arguments)
        answer = self._function(**arguments)
        return await answer if isawaitable(answer) else answer

    async def verdict(self, **arguments: Any) -> Decision:
        verdict: Verdict | None = await self._ask(arguments)
        if verdict is None:
            return Decision(None, "", 0.0, ())
        steps = ({"hook": "fake", "plugin": self._plugin, "verdict": verdict.to_json()},)
        return Decision(verdict if verdict.final else None, self._plugin, verdict.score, steps)

    async def first(self, **arguments: Any) -> Any:
        return await self._ask(arguments)

    async def named(self, **arguments: Any) -> tuple[str, Any]:
        answer = await self._ask(arguments)
        return ("", None) if answer is None else (self._plugin, answer)

    async def notify(self, **arguments: Any) -> None:
        await self._ask(arguments)

    async def all(self, **arguments: Any) -> list[tuple[str, Any]]:
        answer = await self._ask(arguments)
        return [] if answer is None else [(self._plugin, answer)]

    async def pipeline(self, name: str, **arguments: Any) -> Any:
        answer = await self._ask(arguments)
        return arguments[name] if answer is None else answer

    prompt_verdict, prompt_notify, prompt_pipeline = verdict, notify, pipeline


class FakeSpool:
    """Remembers each intake; raises ``failures`` first, one for each call."""

    def __init__(self) -> None:
        self.accepted: list[Intake] = []
        self.failures: list[Exception] = []
        self.gate: Awaitable[Any] | None = None

    async def accept(self, intake: Intake) -> None:
        await asyncio.sleep(0)
        if self.gate is not None:
            await self.gate
        if self.failures:
            raise self.failures.pop(0)
        self.accepted.append(intake)


class FakeTransport(asyncio.Transport):
    """Keeps what was written; ``unread`` octets of it count as not read by the peer."""

    def __init__(self, peer: tuple[str, int] = ("192.0.2.1", 40000)) -> None:
        super().__init__({"peername": peer, "sockname": ("192.0.2.25", 25)})
        self.written = bytearray()
        self.writes = 0
        self.unread = 0
        self.closed = self.aborted = self.ended = self.paused = False

    def write(self, data: Any) -> None:
        self.written += data
        self.writes += 1

    def take(self) -> bytes:
        """What was written since the last call."""
        octets = bytes(self.written)
        self.written.clear()
        return octets

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered."""

    def get_write_buffer_size(self) -> int:
        return self.unread

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    @property
    def gone(self) -> bool:
        """The server hung up, or is about to."""
        return self.closed or self.aborted or self.ended


class SmtpSite:
    """``users``: address to password; ``aliases``: address to targets. Domain ``example.test`` is ours.

    ``hooks`` and ``database`` take the place of the fakes, and of ``users`` and ``aliases``. ``sections``: further ones of the config.
    """

    def __init__(
        self,
        *,
        users: Mapping[str, str] | None = None,
        aliases: Mapping[str, tuple[str, ...]] | None = None,
        relay: tuple[str, ...] = (),
        plaintext: bool = False,
        limits: Mapping[str, Any] | None = None,
        tls: ssl.SSLContext | None = None,
        data_dir: str = "/nonexistent",
        hooks: Any = None,
        database: Any = None,
        **sections: Section,
    ) -> None:
        self.users = dict(users or {"alice@example.test": "secret", "bob@example.test": "hidden"})
        self.aliases = dict(aliases or {})
        self.clock = FakeClock()
        self.log = Log()
        self.tasks = Tasks(self.log)
        self.spool = FakeSpool()
        self.hooks: Any = SimpleNamespace(
            **dict.fromkeys(SPECS), offering=Offering(), durable=frozenset(), deliver_wants=lambda _recipient: True
        )
        self.hooks.recipient_lookup = FakePlan(self._recipient)
        self.hooks.alias_expand = FakePlan(self._alias)
        self.hooks.auth_verify = FakePlan(self._verify)
        self.hooks = hooks or self.hooks
        self.config = Config(
            hostname="mx.example.test",
            domains=("example.test",),
            data_dir=data_dir,
            relay=Relay(networks=relay),
            auth=Auth(plaintext_without_tls=plaintext),
            limits=Limits(**(limits or {})),
            **sections,  # type: ignore[arg-type]
        )
        resolver = Resolver(self.hooks, frozenset(self.config.domains), self.log, self.config.hostname)
        shared: Any = {"config": self.config, "hooks": self.hooks, "resolver": resolver, "clock": self.clock, "log": self.log}
        where = database or SimpleNamespace(spool=self.spool)
        self.pipeline = Pipeline(**shared, database=where, hostname=self.config.hostname)
        login = Login(self.hooks, self.log)
        self.server = SmtpServer(**shared, login=login, pipeline=self.pipeline, tls=tls, tasks=self.tasks)

    def hook(self, name: str, function: Callable[..., Any]) -> FakePlan:
        """Let ``function`` implement a hook; the plan keeps the calls."""
        plan = FakePlan(function)
        setattr(self.hooks, name, plan)
        return plan

    def connect(
        self,
        protocol: Any = "smtp",
        *,
        tls: bool = False,
        local: bool = False,
        peer: tuple[str, int] = ("192.0.2.1", 40000),
        **spec: Any,
    ) -> tuple[SmtpProtocol, FakeTransport]:
        """A new connection, greeted unless a hook has to be asked first."""
        listener = ListenerSpec(protocol, tls, f"{protocol}://", path="/run/sock" if local else "", local=local, **spec)
        link, transport = self.server.factory(listener)(), FakeTransport(peer)
        link.connection_made(transport)
        return link, transport

    async def settle(self, link: SmtpProtocol) -> None:
        """Wait until the server waits for the peer."""
        for _ in range(10_000):
            if not link.working:
                return
            await asyncio.sleep(0)
        raise AssertionError("the session never came to rest")

    async def talk(self, link: SmtpProtocol, transport: FakeTransport, octets: bytes) -> bytes:
        """Send octets in one piece and return what the server says to them."""
        link.data_received(octets)
        await self.settle(link)
        return transport.take()

    def _recipient(self, address: Address) -> MailboxTarget | None:
        for number, text in enumerate(self.users, 1):
            if str(address).lower() == text:
                return MailboxTarget(UserId(number), Address.parse(text))
        return None

    def _alias(self, address: Address) -> AliasTarget | None:
        targets = self.aliases.get(str(address).lower())
        return AliasTarget(targets) if targets else None

    def _verify(self, service: str, username: str, credential: str, session: object) -> AuthOk | AuthFail:
        if self.users.get(username) == credential:
            return AuthOk(username, UserId(list(self.users).index(username) + 1))
        return AuthFail("wrong password")
