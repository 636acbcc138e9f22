"""Services that reach a hook as ``ctx``: everything a plugin needs from outside, so that it runs on fakes in tests."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mta_hooks.http import HttpRoute
from mta_hooks.lookup import Table, TableSource
from mta_hooks.metrics import Metric

if TYPE_CHECKING:
    import click
    from sqlalchemy import Executable, MetaData

    from mta.model.address import Address
    from mta.model.delivery import Route
    from mta.model.directory import Domain
    from mta_hooks.backends.tables import Migration

T = TypeVar("T")


class Clock(Protocol):
    def now(self) -> float:
        """Wall clock, seconds since 1970 UTC."""
        ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class Log(Protocol):
    """Structured log; the plugin's name is added. Values are redacted; never pass message content or credentials."""

    def debug(self, event: str, **fields: object) -> None: ...
    def info(self, event: str, **fields: object) -> None: ...
    def warning(self, event: str, **fields: object) -> None: ...
    def error(self, event: str, **fields: object) -> None: ...


class DnsError(Exception):
    """No answer: time-out, SERVFAIL, no server. A policy treats it as temporary, never as "does not exist"."""


@dataclass(frozen=True, slots=True)
class Validated:
    """One answer with what the resolver vouches for.

    records  as the methods of Dns give them; of "TLSA" ``mta.model.tls.Tlsa``
    secure   a validating resolver found it signed from the root (RFC 4035 §3.2.3), also when ``records`` is empty; False without
             config ``dns.validating``
    name     where CNAMEs led
    """

    records: tuple[Any, ...]
    secure: bool
    name: str


class Dns(Protocol):
    """Cached, asynchronous look-ups. An empty list: the name or the type does not exist. Raises DnsError otherwise."""

    @property
    def validating(self) -> bool:
        """Config ``dns.validating``: answers can be secure."""
        ...

    async def a(self, name: str) -> list[str]: ...
    async def aaaa(self, name: str) -> list[str]: ...
    async def mx(self, name: str) -> list[tuple[int, str]]:
        """(preference, host) pairs, unsorted; ``(0, "")`` alone is the null MX of RFC 7505."""
        ...

    async def txt(self, name: str) -> list[bytes]:
        """Each record's strings joined."""
        ...

    async def ptr(self, address: str) -> list[str]: ...

    async def validated(self, name: str, kind: str) -> Validated:
        """The same with its security; kind is "A", "AAAA", "MX", "TXT", "CNAME", "SRV" or "TLSA". Data that is bogus raises DnsError too."""
        ...


@dataclass(frozen=True, slots=True)
class HttpReply:
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    """At most 1 MiB."""


class Http(Protocol):
    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, data: bytes = b"", timeout: float = 10.0
    ) -> HttpReply:
        """Send one request, follow nothing. Raises OSError or TimeoutError."""
        ...


class KeyValue(Protocol):
    """State private to the plugin, shared by all workers, kept in the database."""

    async def get(self, key: str) -> bytes | None: ...
    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None: ...
    async def delete(self, key: str) -> None: ...


class PluginDatabase(Protocol):
    """The plugin's own tables (``registry.schema``), by statements of SQLAlchemy Core."""

    async def read(self, statement: "Executable") -> Sequence[Any]:
        """Rows of one SELECT. Ask for few: they are all in memory. Raises TemporaryFailure before the database is open."""
        ...

    async def write(self, *statements: "Executable") -> list[int]:
        """Run INSERT, UPDATE and DELETE in one transaction, all or none, durable on return; how many rows each one touched.

        Raises AlreadyExists when a row with such a key is there, ValueError for another constraint, TemporaryFailure. They
        share the transactions that accept mail: a statement that takes a second makes everybody wait for a second.
        """
        ...


class Threads(Protocol):
    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Run blocking or heavy work off the event loop, in a bounded pool."""
        ...


class Context(Protocol):
    """``ctx`` of one plugin. Made once; the same object in each call."""

    plugin: str
    config: Any
    """The plugin's section of the config, as its config class, or a plain mapping when it has none."""
    hostname: str
    log: Log
    clock: Clock
    dns: Dns
    http: Http
    kv: KeyValue
    db: PluginDatabase
    threads: Threads

    async def send(self, sender: str | None, recipients: Sequence[str], octets: bytes) -> str:
        """Submit a message of the plugin's own; durable on return. Returns its queue id."""
        ...

    def table(self, source: TableSource | None) -> Table:
        """The table that a source of the config names (mta_hooks.lookup); None: an empty one. Raises ConfigError when it names nothing."""
        ...

    async def domain(self, name: str) -> "Domain | None":
        """The domain when it is ours, local or relay; as RCPT sees it. Raises TemporaryFailure."""
        ...

    async def next_hop(self, recipient: "Address", sender: "Address | None" = None) -> "Route":
        """Where mail for this address goes next, as the queue sees it. Raises TemporaryFailure."""
        ...

    def metrics(self) -> Sequence[Metric]:
        """The numbers of all workers added up, at most a second or two old. Raises TemporaryFailure where no server runs."""
        ...


class Server(Protocol):
    """What ``startup`` and ``shutdown`` are given."""

    hostname: str
    data_dir: str
    workers: int
    worker: int
    """Number of this worker, from 0."""


BackendFactory = Callable[..., Any]
Job = Callable[[Context], Awaitable[None]]
Routes = Sequence[HttpRoute] | Callable[[Any], Sequence[HttpRoute]]
Metrics = Callable[[Context], Sequence[Metric] | Awaitable[Sequence[Metric]]]
Service = Callable[[Context], Awaitable[None]]


class Registry(Protocol):
    """What ``register`` offers itself to."""

    def config(self, model: type[Any]) -> None:
        """A pydantic model; ``ctx.config`` is then an instance of it, checked at load with file:line in errors."""
        ...

    def backend(self, kind: str, scheme: str, factory: BackendFactory) -> None:
        """Offer a backend. Kind "database": ``factory(url, options) -> mta_hooks.backends.Database``; "store":
        ``-> SeparateStore``. All kinds: docs/plugin-authors/backends.md."""
        ...

    def job(self, name: str, every: float, run: Job, *, single: bool = True) -> None:
        """Run ``run(ctx)`` every so many seconds; ``single``: on one worker only."""
        ...

    def notifications(self, choose: Callable[[Any], Collection[str]]) -> None:
        """Be told of less: ``choose(config)``, asked once the config is read, says of which durable hooks the plugin wants to hear
        ("delivered", …), or of which mailbox events ("MessageNew", …). What nobody wants is not written."""
        ...

    def capability(
        self,
        protocol: str,
        keyword: str,
        *,
        params: str = "",
        commands: Mapping[str, Callable[..., Any]] | None = None,
        mail: Mapping[str, Callable[[str | None], str | None] | None] | None = None,
        rcpt: Mapping[str, Callable[[str | None], str | None] | None] | None = None,
        before_login: bool = False,
    ) -> None:
        """Advertise ``keyword`` over "imap", "smtp" (EHLO) or "pop3" (CAPA), and answer what goes with it; see mta_hooks.capabilities.

        params        behind the keyword, over smtp and pop3
        commands      handlers by verb in upper case, which name what they want of session, arguments and ctx
        mail, rcpt    over smtp: parameters of MAIL and RCPT; a check of the value, None takes any; hooks see them in ``params``
        before_login  over imap and pop3: before login too
        """
        ...

    def sasl(self, mechanism: type[Any]) -> None:
        """A class as ``mta_hooks.sasl.Mechanism`` describes: one more way to log in, over SMTP, IMAP and POP3."""
        ...

    def cli(self, command: "click.Command") -> None:
        """Offer ``mta <plugin's name> …``, a command or a group of commands, with ``Example:`` in each help text.

        ``@click.pass_obj`` gives the callback ``ctx``. An ``async def`` callback has ``ctx.kv`` and ``ctx.db``, with the server
        running or not; for a ``def`` the database is not opened. Not for a plugin named like a command of the server.
        """
        ...

    def schema(self, metadata: "MetaData", migrations: Sequence["Migration"] = ()) -> None:
        """Keep tables of the plugin's own, reached through ``ctx.db``; see mta_hooks.backends.Schema.

        Their names, and those of their indexes, begin with the plugin's name and "_". Made or migrated before ``startup``.
        """
        ...

    def service(self, name: str, run: Service, *, single: bool = False) -> None:
        """Run ``run(ctx)`` from ``startup`` to ``shutdown``, in each worker, or with ``single`` in one of them.

        When it raises it is started again, after a second at first, after a minute at last. When it returns it is done.
        """
        ...

    def received_header(self, write: Callable[..., str | None]) -> None:
        """Rewrite the Received field that the server is about to put on a message: ``write(session, transaction, field, ctx)``,
        of which it names what it wants, ``def`` or ``async def``.

        ``field`` is the value unfolded: "from … by … with … id …; date". Answer another, with the same date behind its last ";",
        or None. An error defers the mail: what must not be told is not told. Nothing else can change this field.
        """
        ...

    def routes(self, routes: Routes) -> None:
        """Offer routes over HTTP (mta_hooks.http): a list, or a function that makes one from the plugin's config.

        Refused at load: a path that another plugin or the server has. A server without an ``http`` listener serves none.
        """
        ...

    def metrics(self, metrics: Metrics) -> None:
        """Offer numbers of the plugin's own (mta_hooks.metrics): ``metrics(ctx)`` says them, once a second in each worker.

        Their names are put behind mta_NAME_. It has a second, and should need none: no look-ups, no waiting.
        """
        ...
