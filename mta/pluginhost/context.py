"""The services that reach a hook as ``ctx`` (mta_hooks.services.Context)."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mta.lookup.opened import Lookups
from mta.model.address import Address
from mta.model.delivery import Route
from mta.model.directory import Domain, User
from mta.model.errors import TemporaryFailure
from mta.model.ids import UserId
from mta.obs.log import Log
from mta.pluginhost.http import HttpClient
from mta.pluginhost.launcher import Launcher
from mta.pluginhost.tables import OwnTables
from mta.pluginhost.threads import Pool
from mta_hooks.backends.database import KeyValues, Outbox
from mta_hooks.backends.tables import Schema, Tables
from mta_hooks.lookup import Table, TableOptions, TableSource
from mta_hooks.metrics import Metric
from mta_hooks.services import Clock, Dns, Http, Validated

Send = Callable[[str, str | None, Sequence[str], bytes], Awaitable[str]]
"""(plugin, sender, recipients, octets) -> queue id; the app injects ``Pipeline.inject`` behind it."""


class NoDns:
    """Before the resolver is given, and in command-line programs that need none."""

    validating = False

    async def a(self, name: str) -> list[str]:
        raise TemporaryFailure("no DNS service here")

    async def mx(self, name: str) -> list[tuple[int, str]]:
        raise TemporaryFailure("no DNS service here")

    async def txt(self, name: str) -> list[bytes]:
        raise TemporaryFailure("no DNS service here")

    async def validated(self, name: str, kind: str) -> Validated:
        raise TemporaryFailure("no DNS service here")

    aaaa = ptr = a


@dataclass(slots=True)
class Services:
    """What all contexts share. ``kv``, ``tables``, ``outbox``, ``account``, ``lookups``, ``domain``, ``next_hop`` and ``send`` are set by the app when the database and the pipeline are there; ``launcher`` by the host.

    sealed    plugins are only tried: those in a process of their own get no network either
    terminal  descriptors of standard input, output and error, for the command of one in a process of its own; in programs of the command line
    """

    hostname: str
    clock: Clock
    log: Log
    dns: Dns = NoDns()
    http: Http = HttpClient()
    kv: KeyValues | None = None
    tables: Tables | None = None
    outbox: Outbox | None = None
    account: Callable[[UserId], Awaitable[User | None]] | None = None
    send: Send | None = None
    launcher: Launcher | None = None
    sealed: bool = False
    terminal: tuple[int, ...] = ()
    metrics: Callable[[], Sequence[Metric]] | None = None
    lookups: Lookups | None = None
    domain: Callable[[str], Awaitable[Domain | None]] | None = None
    next_hop: Callable[[Address | None, Address], Awaitable[Route]] | None = None


class PluginKeys:
    """``ctx.kv``: the plugin's own keys in the database's key-value table."""

    __slots__ = ("_plugin", "_services")

    def __init__(self, plugin: str, services: Services) -> None:
        self._plugin = plugin
        self._services = services

    def _table(self) -> KeyValues:
        if self._services.kv is None:
            raise TemporaryFailure("the database is not open yet")
        return self._services.kv

    async def get(self, key: str) -> bytes | None:
        return await self._table().get(self._plugin, key, now=self._services.clock.now())

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        expires = None if ttl is None else self._services.clock.now() + ttl
        await self._table().set(self._plugin, key, value, expires=expires)

    async def delete(self, key: str) -> None:
        await self._table().delete(self._plugin, key)


class PluginContext:
    """One plugin's ``ctx``; the same object in each call."""

    __slots__ = ("_services", "clock", "config", "db", "hostname", "kv", "log", "plugin", "threads")

    def __init__(self, plugin: str, config: Any, services: Services, pool: Pool, schema: Schema | None = None) -> None:
        self._services = services
        self.plugin = plugin
        self.config = config
        self.hostname = services.hostname
        self.clock = services.clock
        self.log = services.log.bind(plugin=plugin)
        self.kv = PluginKeys(plugin, services)
        self.db = OwnTables(plugin, schema, services)
        self.threads = pool

    @property
    def dns(self) -> Dns:
        return self._services.dns

    @property
    def http(self) -> Http:
        return self._services.http

    def table(self, source: TableSource | None) -> Table:
        services = self._services
        if services.lookups is None:  # a program of the command line, or a test: no names of the config
            services.lookups = Lookups(TableOptions("", "", self.threads, services.log))
        return services.lookups.table(source)

    async def domain(self, name: str) -> Domain | None:
        """Raises TemporaryFailure before the directory is there."""
        if self._services.domain is None:
            raise TemporaryFailure("the directory is not open yet")
        return await self._services.domain(name)

    async def next_hop(self, recipient: Address, sender: Address | None = None) -> Route:
        """Raises TemporaryFailure where nobody routes, and when a hook failed."""
        if self._services.next_hop is None:
            raise TemporaryFailure("nothing is routed here")
        return await self._services.next_hop(sender, recipient)

    async def send(self, sender: str | None, recipients: Sequence[str], octets: bytes) -> str:
        """Raises TemporaryFailure before the server accepts mail, and whatever the pipeline answers."""
        if self._services.send is None:
            raise TemporaryFailure("mail cannot be sent yet")
        return await self._services.send(self.plugin, sender, recipients, octets)

    def metrics(self) -> Sequence[Metric]:
        """Raises TemporaryFailure outside of a running server."""
        if self._services.metrics is None:
            raise TemporaryFailure("no server runs here")
        return self._services.metrics()
