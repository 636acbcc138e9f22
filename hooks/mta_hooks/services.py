"""Services that reach a hook as ``ctx``: everything a plugin needs from outside, so that it runs on fakes in tests."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

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


class Dns(Protocol):
    """Cached, asynchronous look-ups. An empty list: the name or the type does not exist. Raises DnsError otherwise."""

    async def a(self, name: str) -> list[str]: ...
    async def aaaa(self, name: str) -> list[str]: ...
    async def mx(self, name: str) -> list[tuple[int, str]]:
        """(preference, host) pairs, unsorted; ``(0, "")`` alone is the null MX of RFC 7505."""
        ...

    async def txt(self, name: str) -> list[bytes]:
        """Each record's strings joined."""
        ...

    async def ptr(self, address: str) -> list[str]: ...


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
    threads: Threads

    async def send(self, sender: str | None, recipients: Sequence[str], octets: bytes) -> str:
        """Submit a message of the plugin's own; durable on return. Returns its queue id."""
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


class Registry(Protocol):
    """What ``register`` offers itself to."""

    def config(self, model: type[Any]) -> None:
        """A pydantic model; ``ctx.config`` is then an instance of it, checked at load with file:line in errors."""
        ...

    def backend(self, kind: str, scheme: str, factory: BackendFactory) -> None:
        """Offer a backend. kind "database": ``factory(url, options) -> mta_hooks.backends.Database``."""
        ...

    def job(self, name: str, every: float, run: Job, *, single: bool = True) -> None:
        """Run ``run(ctx)`` every so many seconds; ``single``: on one worker only."""
        ...
