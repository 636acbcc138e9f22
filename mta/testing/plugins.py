"""Everything that a plugin sees, as fakes: services, session, transaction, message, and a strict host to call it through.

host = host_with(my_plugin, config={"url": "http://t"}, http=FakeHttp(201))
answer = asyncio.run(host.deliver.first(recipient=Address("a", "b"), sender=None, message=FakeMessage()))
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from mta.model.address import Address
from mta.model.message import OctetContent, Origin, Recipient
from mta.obs.log import Log
from mta.pluginhost.host import HookHost, HostOptions, Services
from mta.pluginhost.section import validate
from mta_hooks.services import HttpReply, Validated


class FakeClock:
    """Stands still until ``advance``, or until somebody sleeps, which takes no time."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._monotonic += seconds

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)


class RecordingLog(Log):
    """Keeps (level, event, fields); ``named(event)`` finds them."""

    __slots__ = ("lines",)

    def __init__(
        self, fields: Mapping[str, object] | None = None, lines: list[tuple[str, str, dict[str, object]]] | None = None
    ) -> None:
        super().__init__(fields)
        self.lines = [] if lines is None else lines

    def bind(self, **fields: object) -> "RecordingLog":
        return RecordingLog({**self._fields, **fields}, self.lines)

    def debug(self, event: str, **fields: object) -> None:
        self.lines.append(("debug", event, {**self._fields, **fields}))

    def info(self, event: str, **fields: object) -> None:
        self.lines.append(("info", event, {**self._fields, **fields}))

    def warning(self, event: str, **fields: object) -> None:
        self.lines.append(("warning", event, {**self._fields, **fields}))

    def error(self, event: str, **fields: object) -> None:
        self.lines.append(("error", event, {**self._fields, **fields}))

    def named(self, event: str) -> list[dict[str, object]]:
        return [fields for _, name, fields in self.lines if name == event]


class FakeDns:
    """``records`` maps (type, name) to a list, or to an exception to raise: ``{("txt", "example.org"): [b"v=spf1 -all"]}``."""

    validating = True

    def __init__(self, records: Mapping[tuple[str, str], Any] | None = None) -> None:
        self.records = dict(records or {})
        self.asked: list[tuple[str, str]] = []

    def _answer(self, kind: str, name: str) -> list[Any]:
        self.asked.append((kind, name))
        found = self.records.get((kind, name), [])
        if isinstance(found, BaseException):
            raise found
        return list(found)

    async def a(self, name: str) -> list[str]:
        return self._answer("a", name)

    async def aaaa(self, name: str) -> list[str]:
        return self._answer("aaaa", name)

    async def mx(self, name: str) -> list[tuple[int, str]]:
        return self._answer("mx", name)

    async def txt(self, name: str) -> list[bytes]:
        return self._answer("txt", name)

    async def ptr(self, address: str) -> list[str]:
        return self._answer("ptr", address)

    async def validated(self, name: str, kind: str) -> Validated:
        """``records`` has a Validated, or a plain list, which is not signed."""
        self.asked.append((kind.lower(), name))
        found = self.records.get((kind.lower(), name), [])
        if isinstance(found, BaseException):
            raise found
        return found if isinstance(found, Validated) else Validated(tuple(found), False, name)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    url: str
    headers: Mapping[str, str]
    data: bytes


class FakeHttp:
    """Answers with each of ``replies`` in turn, the last one for ever: a status, an HttpReply, or an exception to raise."""

    def __init__(self, *replies: int | HttpReply | BaseException) -> None:
        self._replies = list(replies) or [200]
        self.requests: list[HttpRequest] = []

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, data: bytes = b"", timeout: float = 10.0
    ) -> HttpReply:
        self.requests.append(HttpRequest(method, url, dict(headers or {}), data))
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        if isinstance(reply, BaseException):
            raise reply
        return HttpReply(reply, {}, b"") if isinstance(reply, int) else reply


class FakeKeys:
    """The key-value table of the database, in memory; obeys ``expires``."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], tuple[bytes, float | None]] = {}

    async def get(self, plugin: str, key: str, *, now: float) -> bytes | None:
        value, expires = self.rows.get((plugin, key), (None, None))
        return value if expires is None or expires > now else None

    async def set(self, plugin: str, key: str, value: bytes, *, expires: float | None) -> None:
        self.rows[plugin, key] = value, expires

    async def delete(self, plugin: str, key: str) -> None:
        self.rows.pop((plugin, key), None)


@dataclass(slots=True)
class Sent:
    """What plugins sent with ``ctx.send``: (plugin, sender, recipients, octets)."""

    messages: list[tuple[str, str | None, tuple[str, ...], bytes]] = field(default_factory=list)

    async def __call__(self, plugin: str, sender: str | None, recipients: Sequence[str], octets: bytes) -> str:
        self.messages.append((plugin, sender, tuple(recipients), octets))
        return f"sent-{len(self.messages)}"


def services_with(**given: Any) -> Services:
    """Services out of fakes; any of ``clock log dns http kv send hostname`` may be given."""
    fakes: dict[str, Any] = {
        "hostname": "mx.example.test",
        "clock": FakeClock(),
        "log": RecordingLog(),
        "dns": FakeDns(),
        "http": FakeHttp(),
        "kv": FakeKeys(),
        "send": Sent(),
    }
    return Services(**{**fakes, **given})


def host_with(
    *plugins: Any, config: Mapping[str, Any] | None = None, options: HostOptions | None = None, strict: bool = True, **given: Any
) -> HookHost:
    """A host with these plugins in this order; ``config`` is everyone's section. Strict: an answer that a hook may not give raises.

    A plugin is a module, an instance, or a plain function marked with ``hookimpl``.
    """
    host = HookHost(services_with(**given), options=options, strict=strict)
    for place, object in enumerate(plugins):
        found = plugin_of(object) if callable(object) and not isinstance(object, type) else object
        name = getattr(found, "name", "") or getattr(found, "__name__", "") or f"plugin{place}"
        plugin = host.make(str(name), found, "package", place)
        plugin.context.config = validate(plugin.offers.model, config or {}, "config", str)
        host.change(add=[plugin])
    return host


def plugin_of(*functions: Callable[..., Any], name: str = "", **attributes: Any) -> ModuleType:
    """A plugin module out of functions marked with ``hookimpl``; ``attributes`` such as ``roles`` and ``api``."""
    module = ModuleType(name or (functions[0].__name__ if functions else "plugin"))
    for function in functions:
        setattr(module, function.__name__, function)
    for key, value in attributes.items():
        setattr(module, key, value)
    return module


@dataclass(slots=True)
class FakeSession:
    id: str = "s1"
    protocol: str = "smtp"
    client_ip: str = "192.0.2.1"
    client_port: int = 40000
    local_ip: str = "192.0.2.25"
    local_port: int = 25
    tls: bool = False
    helo: str = "client.example.org"
    user: str = ""
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class FakeTransaction:
    id: str = "q1"
    origin: Origin = "smtp"
    sender: Address | None = None
    recipients: Sequence[Recipient] = ()
    params: Mapping[str, str | None] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


class FakeMessage:
    """A message out of octets; header fields are parsed plainly."""

    def __init__(
        self,
        octets: bytes = b"From: a@example.org\r\nSubject: hello\r\n\r\nbody\r\n",
        *,
        id: str = "q1",
        origin: Origin = "smtp",
        sender: Address | None = None,
    ) -> None:
        self._content = OctetContent(octets)
        self.id, self.origin, self.sender = id, origin, sender
        self.size = len(octets)
        self.notes: dict[str, Any] = {}

    @property
    def raw(self) -> bytes:
        return self._content.octets

    def chunks(self, size: int = 65536) -> Iterator[bytes]:
        return self._content.chunks(size)

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        head = self.raw.partition(b"\r\n\r\n")[0].decode("utf-8", "surrogateescape")
        lines = head.replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n")
        return [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]

    def header(self, name: str) -> str | None:
        return next(iter(self.header_all(name)), None)

    def header_all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]
