"""A worker with nothing behind it: the config's own plugins, directory, SMTP server and pipeline, run over a sealed database.

What a client would be told, what plugins say, who would get the message where, comes from the code that serves true clients; only
the edges are other ones (``sealed.py``): the spool keeps, the network is cut, the transport is memory. One ``Rehearsal`` may run many
tries; none sees what another wrote.
"""
# SPDX-License-Identifier: Apache-2.0

import base64
import contextlib
import secrets
import ssl
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from mta.app.backends import make_database, make_lookups, open_accounts
from mta.app.build import ServerInfo
from mta.app.sealed import Caught, Effect, SealedDatabase, SealedDirectory, SealedDns, SealedHttp, sealed_send
from mta.config.load import LoadedConfig
from mta.config.sections import Config
from mta.directory.builtin import DirectoryPlugin
from mta.directory.elsewhere import ElsewherePlugin
from mta.directory.login import Login
from mta.directory.passwords import Passwords
from mta.directory.resolve import Resolver
from mta.model.directory import AuthOk
from mta.model.ids import UserId
from mta.model.message import Intake
from mta.net.clock import SystemClock
from mta.net.dns import DnsResolver
from mta.net.listener import ListenerSpec
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.pipeline.pipeline import Pipeline
from mta.pipeline.refusals import Refusals
from mta.pluginhost.context import Services
from mta.pluginhost.dropin import DropIns
from mta.pluginhost.host import HookHost
from mta.pluginhost.launcher import Launcher
from mta.pluginhost.plugin import HostOptions
from mta.route.router import Router
from mta.smtpd.conversation import Caller, Conversation, Silent
from mta.smtpd.server import SmtpServer
from mta_hooks import hookimpl
from mta_hooks.backends.database import Database, DatabaseOptions, TraceRecord
from mta_hooks.services import Clock

Door = Literal["smtp", "submission", "lmtp", "local"]
_NOTIFIED = 10.0
_SPECS: dict[str, ListenerSpec] = {
    "smtp": ListenerSpec("smtp", False, "smtp://"),
    "lmtp": ListenerSpec("lmtp", False, "lmtp://"),
    "local": ListenerSpec.sendmail("/run/sendmail.sock"),
}


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a client says. ``sender`` "": the null sender; ``user``: logged in, without a password; ``uid``: of a local caller."""

    sender: str
    recipients: Sequence[str]
    client_ip: str = "127.0.0.1"
    helo: str = "client.invalid"
    user: str = ""
    door: Door = "smtp"
    tls: bool = False
    uid: int = 0


@dataclass(frozen=True, slots=True)
class Performance:
    """What came of one try.

    dialogue   (what the client said, what it was told)
    taken      what would be stored, or None
    refusals   what was not taken, with who said so
    steps      everything that plugins said, in order
    effects    what would have left the server
    cut        not "": the dialogue ended early, and why
    """

    dialogue: Sequence[tuple[str, str]]
    taken: Intake | None
    refusals: Sequence[TraceRecord]
    steps: Sequence[Any]
    effects: Sequence[Effect]
    cut: str = ""


class _Believer:
    """Lets the named account in with a password that only this run knows, so that ``--user`` takes the true road through AUTH."""

    def __init__(self) -> None:
        self.secret = secrets.token_hex(16)

    @hookimpl
    def auth_verify(self, username: str, credential: str) -> AuthOk | None:
        return AuthOk(username, None) if credential == self.secret else None


class Rehearsal:
    """See ``rehearse``. ``hooks``, ``config`` and ``database`` are those of this rehearsal."""

    def __init__(
        self, loaded: LoadedConfig, *, clock: Clock | None = None, dns: bool = False, timeout: float = 300.0, log: Log | None = None
    ) -> None:
        self.config: Config = loaded.config
        self.caught = Caught()
        self._loaded, self._log, self._timeout = loaded, log or Log(), timeout
        self.clock = clock or SystemClock()
        self._tasks = Tasks(self._log)
        self.services = Services(
            self.config.hostname,
            self.clock,
            self._log,
            dns=DnsResolver(self.config.dns, self._tasks) if dns else SealedDns(self.caught),
            http=SealedHttp(self.caught),
            launcher=Launcher(self._log, sealed=True),
            sealed=True,
        )
        options = replace(HostOptions.of(self.config.hooks), breaker_errors=0)  # each try is one of its own
        self.hooks = HookHost(self.services, options=options)
        self.caught.who = self.hooks.calling
        self._passwords = Passwords()
        self._believer = _Believer()

    def load(self) -> None:
        """Plugins and drop-in hooks. Raises ConfigError."""
        self.services.lookups = make_lookups(self._loaded, self.hooks)
        self.hooks.load(self.config.plugins, self._loaded.where, order=self.config.order)
        if self.config.hooks_dir:
            DropIns(self.hooks, self.config.hooks_dir).scan()

    async def open(self, real: Database) -> None:
        """Over this database, which stays its owner's."""
        hooks = self.hooks
        self._real = real
        believer = hooks.make("rehearsal", self._believer, "built-in", -1)
        believer.required = True
        hooks.change(add=[believer])
        self._directory = SealedDirectory(real.directory, self.caught)
        self._accounts = await open_accounts(self._loaded, hooks)
        if self._accounts:
            hooks.add_builtin("directories", ElsewherePlugin(self._directory, self._accounts))
        hooks.add_builtin("directory", DirectoryPlugin(real.directory, self._passwords))
        self.resolver = Resolver(hooks, frozenset(self.config.domains), self._log, self.config.hostname, self.config.postmaster)
        self.services.domain, self.services.next_hop = self.resolver.is_ours, Router(self.config, hooks).route
        self._seal()
        hooks.start(self._tasks, jobs=False)
        if (plan := hooks.startup) is not None:
            await plan.all(server=ServerInfo(self.config.hostname, self.config.data_dir, 1, 0))

    def _seal(self) -> SealedDatabase:
        """Nothing that an earlier try wrote is left."""
        sealed = SealedDatabase(self._real, self.caught, self._directory)
        self.services.kv, self.services.tables, self.services.send = sealed.kv, sealed.tables, sealed_send(self.caught)
        self.caught.effects = []
        return sealed

    async def run(self, envelope: Envelope, message: bytes) -> Performance:
        """One client, one message. Raises nothing that plugins raise."""
        sealed = self._seal()
        refusals = Refusals(None, self.clock, self._log)
        config = self.config
        if envelope.user:  # a mechanism that says a password must be there for the one we made
            config = config.model_copy(update={"auth": config.auth.model_copy(update={"mechanisms": ()})})
        database: Any = sealed
        pipeline = Pipeline(
            config=config,
            hooks=self.hooks,
            resolver=self.resolver,
            database=database,
            clock=self.clock,
            log=self._log,
            hostname=config.hostname,
            refusals=refusals,
        )
        tasks = Tasks(self._log)
        server = SmtpServer(
            config=config,
            hooks=self.hooks,
            login=Login(self.hooks, self._log, tasks),
            pipeline=pipeline,
            resolver=self.resolver,
            clock=self.clock,
            log=self._log,
            tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),  # so that STARTTLS is offered as it is; this client never asks for it
            tasks=tasks,
            refusals=refusals,
        )
        talk = converse(server, envelope, self._timeout)
        script = Script(talk, envelope, self._believer.secret)
        cut = ""
        try:
            await script.play(message)
        except Silent as exc:
            cut = f"no answer to {exc.command!r} within {self._timeout:g} s"
        finally:
            talk.end()
            await server.drain(0.0)
            await tasks.close(_NOTIFIED)  # hooks that are only told
        records = refusals.take()
        taken = sealed.spool.taken[-1] if sealed.spool.taken else None
        steps = list(taken.trace) if taken is not None else []
        for record in records:
            steps += [step for step in record.steps if step not in steps]
        return Performance(script.dialogue, taken, records, steps, list(self.caught.effects), cut)

    async def account(self, user: UserId) -> str:
        """The address of an account."""
        found = await self._real.directory.user_by_id(user)
        return str(found.address) if found is not None else f"account {user}"

    async def close(self) -> None:
        if (plan := self.hooks.shutdown) is not None:
            await plan.all(server=ServerInfo(self.config.hostname, self.config.data_dir, 1, 0))
        self.hooks.stop()
        self._passwords.close()
        for accounts in self._accounts:
            await accounts.close()
        await self._tasks.close()


def converse(server: SmtpServer, envelope: Envelope, timeout: float = 300.0) -> Conversation:
    """A connection through the envelope's door."""
    secured = envelope.tls or bool(envelope.user and envelope.door != "local")
    spec = _SPECS.get(envelope.door) or ListenerSpec("submission", secured, "submission://")
    if secured and envelope.door in ("smtp", "lmtp"):
        spec = ListenerSpec(spec.protocol, True, spec.url)
    return Conversation(server, spec, Caller(envelope.client_ip, tls=secured, uid=envelope.uid), timeout=timeout)


class Script:
    """The client's part, as a careful one plays it: it goes on while that makes sense."""

    def __init__(self, talk: Conversation, envelope: Envelope, secret: str) -> None:
        self._talk, self._envelope, self._secret = talk, envelope, secret
        self.dialogue: list[tuple[str, str]] = []

    async def _say(self, line: str, shown: str = "") -> bool:
        """True: go on."""
        reply = await self._talk.say(line)
        self.dialogue.append((shown or line, reply))
        return reply[:1] in ("2", "3") and not self._talk.gone

    async def play(self, message: bytes) -> None:
        """Raises Silent."""
        talk = self._talk
        greeting = await talk.greeting()
        self.dialogue.append(("(connects)", greeting))
        ready = greeting.startswith("220") and not talk.gone and await self._begin(message) and await self._recipients()
        if ready and await self._say("DATA"):
            self.dialogue += [("(message)", reply) for reply in await talk.send(message)]
        if not talk.gone:
            await self._say("QUIT")

    async def _begin(self, message: bytes) -> bool:
        envelope = self._envelope
        verb = "LHLO" if envelope.door == "lmtp" else "EHLO"
        if not await self._say(f"{verb} {envelope.helo}"):
            return False
        if envelope.user and envelope.door != "local":
            initial = base64.b64encode(f"\0{envelope.user}\0{self._secret}".encode()).decode()
            if not await self._say(f"AUTH PLAIN {initial}", f"AUTH PLAIN ({envelope.user})"):
                return False
        addresses = (envelope.sender, *envelope.recipients)
        params = [f"SIZE={len(message)}"]
        if not message.isascii():
            params.append("BODY=8BITMIME")
        if not all(address.isascii() for address in addresses):
            params.append("SMTPUTF8")
        return await self._say(f"MAIL FROM:<{envelope.sender}> {' '.join(params)}")

    async def _recipients(self) -> bool:
        taken = False
        for recipient in self._envelope.recipients:
            if self._talk.gone:
                return False
            taken |= await self._say(f"RCPT TO:<{recipient}>")
        return taken and not self._talk.gone


@contextlib.asynccontextmanager
async def look_on(loaded: LoadedConfig, hooks: HookHost) -> AsyncIterator[Database]:
    """The config's database, opened without writing anything; before the first start an empty one that is thrown away."""
    config = loaded.config
    options = DatabaseOptions(data_dir=config.data_dir, durable_hooks=hooks.durable, reserve=0, read_only=True)
    database = make_database(loaded, hooks, options)
    with tempfile.TemporaryDirectory(prefix="mta-rehearsal-") as folder:
        try:
            await database.open()
        except FileNotFoundError:
            database = hooks.backend("database", "sqlite")("sqlite", DatabaseOptions(data_dir=folder, reserve=0))
            await database.open()
            hooks.services.tables = getattr(database, "tables", None)
            await hooks.migrate(loaded.where)
        try:
            yield database
        finally:
            await database.close()


@contextlib.asynccontextmanager
async def rehearse(loaded: LoadedConfig, **options: Any) -> AsyncIterator[Rehearsal]:
    """A rehearsal of this config over its own database, in a process that does nothing else: it gets no network any more. Raises ConfigError, TemporaryFailure."""
    rehearsal = Rehearsal(loaded, **options)
    if not options.get("dns"):
        rehearsal.caught.guard(loaded.config.database)
    rehearsal.load()
    async with look_on(loaded, rehearsal.hooks) as database:
        await rehearsal.open(database)
        try:
            yield rehearsal
        finally:
            await rehearsal.close()
