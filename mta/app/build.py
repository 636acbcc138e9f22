"""Puts one worker together: database, plugins, login, resolver, pipeline, servers; and takes it apart in reverse."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mta.app.backends import make_database, make_lookups, open_accounts
from mta.app.bus import Bus
from mta.app.change import judge_change
from mta.app.dispatching import Dispatching
from mta.app.health import read_health
from mta.app.indexing import Indexer
from mta.app.live import Overview
from mta.app.places import Places
from mta.app.quota_warnings import QuotaWarnings
from mta.app.searching import open_search
from mta.app.shipping import Shipper
from mta.config.load import LoadedConfig
from mta.directory.builtin import DirectoryPlugin
from mta.directory.elsewhere import ElsewherePlugin
from mta.directory.login import Login
from mta.directory.passwords import Passwords
from mta.directory.resolve import Resolver
from mta.directory.throttle import Throttle
from mta.imapd.server import ImapServer
from mta.model.address import Address
from mta.model.errors import StorageDead
from mta.model.ids import MailboxId, UserId
from mta.net.clock import SystemClock
from mta.net.dns import DnsResolver
from mta.net.listener import ListenerSpec
from mta.net.sni import Chooser
from mta.net.tasks import Tasks
from mta.net.tls import Pair, ServerContext, context_with
from mta.obs.log import Log
from mta.pipeline.pipeline import Pipeline
from mta.pipeline.refusals import Refusals
from mta.pluginhost.context import Services
from mta.pluginhost.dropin import DropIns
from mta.pluginhost.host import HookHost
from mta.pluginhost.launcher import Launcher
from mta.pop3d.server import Pop3Server
from mta.route.router import Router
from mta.smtpd.server import SmtpServer
from mta_hooks.backends.database import DatabaseOptions
from mta_hooks.backends.queue import QueueFilter

if TYPE_CHECKING:
    from mta.httpd.server import HttpServer

_LAST_LINES = 2.0  # seconds that plugins have to hear the last lines of the log

Factory = Callable[[], asyncio.Protocol]


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Fulfils mta_hooks.services.Server."""

    hostname: str
    data_dir: str
    workers: int
    worker: int


class Assembly:
    """Everything one worker has; see ``assemble``."""

    def __init__(
        self,
        loaded: LoadedConfig,
        places: Places,
        number: int,
        tls: ServerContext,
        tasks: Tasks,
        log: Log,
        old: LoadedConfig | None = None,
        overview: Overview | None = None,
        launcher: Launcher | None = None,
    ) -> None:
        """``old``: the config that is in force, when this worker is of a reload; ``overview``: all workers; ``launcher``: of who was root."""
        config = loaded.config
        self._loaded, self._old, self._log, self._tasks = loaded, old, log, tasks
        self.clock = SystemClock()
        self.info = ServerInfo(config.hostname, config.data_dir, int(config.workers), number)
        self._services = Services(config.hostname, self.clock, log, dns=DnsResolver(config.dns, tasks), launcher=launcher)
        if overview is not None:
            self._services.metrics = overview.metrics
        self.hooks = HookHost(self._services)
        self.passwords = Passwords()
        self.bus = Bus(places, self._mailboxes_elsewhere, self._topic, self._logins_elsewhere)
        self._throttle = Throttle(config.auth.throttle_exempt, self.bus.tell_logins) if config.auth.throttle else None
        self._places, self._tls, self._overview = places, tls, overview
        self.http: HttpServer | None = None
        self._quota_warnings: QuotaWarnings | None = None
        self._dispatching: Dispatching | None = None
        self._indexer: Indexer | None = None

    async def open(self, dead: Callable[[StorageDead], None]) -> None:
        """Raises ConfigError, TemporaryFailure, StorageDead: the worker cannot start."""
        config, hooks, log = self._loaded.config, self.hooks, self._log
        self._services.lookups = make_lookups(self._loaded, hooks)
        hooks.load(config.plugins, self._loaded.where, order=config.order)
        if config.hooks_dir:
            drop_ins = DropIns(hooks, config.hooks_dir)
            drop_ins.scan()
            self._tasks.spawn(drop_ins.run(), "drop-in-hooks")
        await self._open_storage(dead)
        await hooks.migrate(self._loaded.where)
        self._accounts = await open_accounts(self._loaded, hooks)
        if self._accounts:
            hooks.add_builtin("directories", ElsewherePlugin(self.database.directory, self._accounts))
        self._directory = DirectoryPlugin(self.database.directory, self.passwords, keep_keys=config.auth.scram_keys)
        hooks.add_builtin("directory", self._directory)
        if self._throttle is not None:
            hooks.add_builtin("throttle", self._throttle)
        login = Login(hooks, log, self._tasks)
        resolver = Resolver(hooks, frozenset(config.domains), log, config.hostname, config.postmaster)
        self._services.domain, self._services.next_hop = resolver.is_ours, Router(config, hooks).route
        self._refusals = Refusals(self.database.traces, self.clock, log)
        self._tasks.spawn(self._refusals.run(), "refusals")
        pipeline = Pipeline(
            config=config,
            hooks=hooks,
            resolver=resolver,
            database=self.database,
            clock=self.clock,
            log=log,
            hostname=config.hostname,
            refusals=self._refusals,
        )
        self._pipeline = pipeline
        self._services.send = self._send
        self._quota_warnings = QuotaWarnings(
            database=self.database, send=self._send, hostname=config.hostname, hooks=hooks, tasks=self._tasks, log=log
        )
        if self._overview is not None:
            self._services.metrics = self._overview.metrics
        self._tls.chooser = Chooser(hooks, self._tls, lambda *files: context_with(config.tls, Pair(*files)), log)
        self._serve(login, resolver, pipeline)
        for name in self.smtp.sasl.unknown():
            log.warning("auth.mechanism_unknown", mechanism=name, fix="correct auth.mechanisms, or list the plugin that brings it")
        self.bus.open()
        hooks.start(self._tasks)
        self._shipper = Shipper(hooks, log)
        self._shipper.attach()
        self._tasks.spawn(self._shipper.run(), "log-shipping")
        if self._old is not None and (plan := hooks.config_changed) is not None:
            await judge_change(plan, self._old.config, self._loaded)
        if (plan := hooks.startup) is not None:
            await plan.all(server=self.info)
        hooks.start_services(single=False)
        self._dispatch(resolver, pipeline, dead)

    async def _open_storage(self, dead: Callable[[StorageDead], None]) -> None:
        hooks, log = self.hooks, self._log
        self.database = make_database(self._loaded, hooks, self._options(dead))
        await self.database.open()
        self._search = await open_search(self._loaded, hooks, self.database, self._options(dead), log)
        if self._search is not None:
            self._indexer = Indexer(store=self.database.store, search=self._search, clock=self.clock, log=log)
        self._services.kv = self.database.kv
        self._services.outbox = self.database.outbox
        self._services.account = self.database.directory.user_by_id
        self._services.tables = getattr(self.database, "tables", None)

    def _dispatch(self, resolver: Resolver, pipeline: Pipeline, dead: Callable[[StorageDead], None]) -> None:
        self._dispatching = Dispatching(
            loaded=self._loaded,
            places=self._places,
            hooks=self.hooks,
            database=self.database,
            resolver=resolver,
            pipeline=pipeline,
            services=self._services,
            tasks=self._tasks,
            log=self._log,
            dead=dead,
        )
        self._dispatching.indexer = self._indexer
        self._dispatching.start()

    def _serve(self, login: Login, resolver: Resolver, pipeline: Pipeline) -> None:
        config, hooks, clock, log, tls, tasks = self._loaded.config, self.hooks, self.clock, self._log, self._tls, self._tasks
        store = self.database.store
        self.smtp = SmtpServer(
            config=config,
            hooks=hooks,
            login=login,
            pipeline=pipeline,
            resolver=resolver,
            clock=clock,
            log=log,
            tls=tls,
            tasks=tasks,
            refusals=self._refusals,
        )
        self.smtp.flush = self._flush
        self.imap = ImapServer(config=config, hooks=hooks, login=login, store=store, clock=clock, log=log, tls=tls, tasks=tasks)
        self.imap.search = self._search
        self.pop3 = Pop3Server(config=config, hooks=hooks, login=login, store=store, clock=clock, log=log, tls=tls, tasks=tasks)

        if any(entry.url.lower().startswith("http") for entry in config.listen):
            from mta.httpd.server import HttpServer

            self.http = HttpServer(config=config, hooks=hooks, login=login, readiness=self._readiness, clock=clock, log=log)

    def _readiness(self) -> tuple[bool, dict[str, Any]]:
        """Every worker serves, and no plugin says that it has failed."""
        problems = [] if self._overview is None else self._overview.problems()
        for name, health in read_health(self._places.health, self.clock.now()).items():
            if health["state"] == "failed":
                problems.append(f"plugin {name} has failed")
        return not problems, {"problems": problems}

    def _options(self, dead: Callable[[StorageDead], None]) -> DatabaseOptions:
        storage = self._loaded.config.storage
        return DatabaseOptions(
            data_dir=self._loaded.config.data_dir,
            changed=self._changed,
            queued=self._queued,
            durable_hooks=self.hooks.durable,
            mailbox_events=self.hooks.mailbox_events,
            undelete=storage.undelete_days * 86400.0,
            reserve=storage.reserve,
            noted=self._noted,
            dead=dead,
            trace_keep=self._loaded.config.trace.keep,
            refused_keep=self._loaded.config.trace.refused_keep,
            refused_most=self._loaded.config.trace.refused_most,
            quota_levels=tuple(sorted(self._loaded.config.quota.warn)),
            quota_reached=self._quota_reached,
        )

    def _quota_reached(self, user: UserId, level: int) -> None:
        if self._quota_warnings is not None:
            self._quota_warnings.reached(user, level)

    # ---- what the servers need

    def factory(self, spec: ListenerSpec) -> Factory:
        """Protocols for the connections of one listener."""
        if spec.protocol == "imap":
            return self.imap.factory(spec)
        if spec.protocol == "pop3":
            return self.pop3.factory(spec)
        if self.http is not None and spec.protocol == "http":
            return self.http.factory(spec)
        return self.smtp.factory(spec)

    def counts(self) -> tuple[int, int, int, int]:
        """Open connections: SMTP, IMAP, POP3, HTTP."""
        http = 0 if self.http is None else self.http.connections
        return self.smtp.connections, self.imap.connections, self.pop3.connections, http

    def connections(self) -> int:
        return sum(self.counts())

    @property
    def dispatching(self) -> bool:
        """True in the worker that holds the dispatch lock."""
        return self._dispatching is not None and self._dispatching.holds

    # ---- wake-ups: from our own commits, and from other processes

    def _changed(self, mailboxes: Sequence[MailboxId]) -> None:
        self._mailboxes_elsewhere(mailboxes)
        self.bus.tell_mailboxes(mailboxes)

    def _queued(self) -> None:
        if self._dispatching is None or not self._dispatching.wake_queue():
            self.bus.tell("queue")

    async def _flush(self, domain: str) -> int:
        """For ETRN. Hosts that are down are to be dialed again before the first row is due: it would be put off once more."""
        self._forgive()
        count = await self.database.queue.flush(QueueFilter(domain=domain), now=self.clock.now())
        self._forgive()
        return count

    def _forgive(self) -> None:
        if self.dispatching and self._dispatching is not None:
            self._dispatching.flush_queue()
        else:
            self.bus.tell("flush")

    def _noted(self) -> None:
        if self._dispatching is None or not self._dispatching.wake_outbox():
            self.bus.tell("outbox")

    def _mailboxes_elsewhere(self, mailboxes: Sequence[MailboxId]) -> None:
        self.imap.changed(mailboxes)
        if self._indexer is not None:
            self._indexer.wake()

    def _logins_elsewhere(self, line: str) -> None:
        if self._throttle is not None:
            self._throttle.hear(line, self.clock.monotonic())

    def _topic(self, topic: str) -> None:
        if topic == "directory":
            self._directory.forget()
        elif self._dispatching is not None:
            if topic == "queue":
                self._dispatching.wake_queue()
            elif topic == "flush":
                self._dispatching.flush_queue()
            elif topic == "outbox":
                self._dispatching.wake_outbox()

    async def _send(self, plugin: str, sender: str | None, recipients: Sequence[str], octets: bytes) -> str:
        """``ctx.send``. Raises ValueError for a malformed address, Refused, TemporaryFailure."""
        self._log.debug("plugin.send", plugin=plugin, recipients=len(recipients))
        return await self._pipeline.inject(
            origin="local",
            sender=Address.parse(sender) if sender else None,
            recipients=[Address.parse(text) for text in recipients],
            octets=octets,
        )

    async def close(self, grace: float) -> None:
        """Let busy sessions and deliveries finish for ``grace`` seconds; then nothing of this worker is left."""
        dispatching = self._dispatching
        assert dispatching is not None
        drains = [self.smtp.drain(grace), self.imap.drain(grace), self.pop3.drain(grace), dispatching.stop(grace)]
        drains += [self.http.drain(grace)] if self.http is not None else []
        for result in await asyncio.gather(*drains, return_exceptions=True):
            if isinstance(result, Exception):
                self._log.error("worker.drain_failed", problem=f"{type(result).__name__}: {result}")
        if (plan := self.hooks.shutdown) is not None:
            await plan.all(server=self.info)
        await self._shipper.detach(_LAST_LINES)
        self.hooks.stop()
        self.bus.close()
        self.passwords.close()
        await self._refusals.flush()
        if self._indexer is not None and self._search is not None:
            self._indexer.close()
            await self._search.close()
        for accounts in self._accounts:
            await accounts.close()
        await self.database.close()
