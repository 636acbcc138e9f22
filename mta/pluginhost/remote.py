"""What a plugin in a process of its own sees: copies of what the server has, and services that ask the server (isolated.py)."""
# SPDX-License-Identifier: Apache-2.0

import base64
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from mta.model.address import Address
from mta.model.delivery import Route
from mta.model.directory import Domain
from mta.model.message import Recipient
from mta.model.tls import Tlsa
from mta.obs.log import Log
from mta.pluginhost.crossing import convert
from mta.pluginhost.jsonlines import LONGEST_LINE
from mta.pluginhost.specs import hints
from mta.wire.mime.charsets import decode
from mta.wire.mime.headers import headers
from mta_hooks.services import Validated


class RemoteMessage:
    """mta_hooks.views.Message, out of a line; its octets are read when somebody looks."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.id, self.origin, self.size = fields["id"], fields["origin"], fields["size"]
        self.sender = convert(fields["sender"], hints("deliver")["sender"])
        self.notes: dict[str, Any] = fields["notes"]
        self._encoded = fields.get("raw")
        self._file = open(fields["file"], "rb") if "file" in fields else None  # noqa: SIM115  # its name goes with the call
        self._raw: bytes | None = None
        self._headers: list[tuple[str, str]] | None = None

    @property
    def raw(self) -> bytes:
        if self._raw is None:
            if self._file is not None:
                self._file.seek(0)
                self._raw = self._file.read()
            else:
                self._raw = base64.b64decode(self._encoded or "")
        return self._raw

    def chunks(self, size: int = 65536) -> Iterator[bytes]:
        raw = self.raw
        for start in range(0, len(raw), size):
            yield raw[start : start + size]

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        if self._headers is None:
            self._headers = headers(self.raw)
        return self._headers

    def header(self, name: str) -> str | None:
        return next(iter(self.header_all(name)), None)

    def header_all(self, name: str) -> list[str]:
        lowered = name.lower()
        return [value for known, value in self.headers if known.lower() == lowered]


class RemotePart:
    """mta_hooks.views.Part, likewise."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.path, self.content_type, self.filename = fields["path"], fields["content_type"], fields["filename"]
        self.disposition, self.size = fields["disposition"], fields["size"]
        self._charset: str = fields["charset"]
        self._encoded = fields.get("body")
        self._file = open(fields["file"], "rb") if "file" in fields else None  # noqa: SIM115  # its name goes with the call

    @cached_property
    def octets(self) -> bytes:
        return self._file.read() if self._file is not None else base64.b64decode(self._encoded or "")

    @property
    def text(self) -> str:
        return decode(self.octets, self._charset)


def _record(kind: str, record: Any) -> Any:
    """One record of ``dns.validated`` as it was before it crossed."""
    if kind == "TLSA":
        return convert(record, Tlsa)
    if kind == "MX":
        return tuple(record)
    return base64.b64decode(record) if kind == "TXT" else record


def argument_in(name: str, value: Any, hint: Any) -> Any:
    if value is None:
        return None
    if name == "message":
        return RemoteMessage(value)
    if name == "part":
        return RemotePart(value)
    if name in ("session", "server"):
        return SimpleNamespace(**value)
    if name == "transaction":
        sender = convert(value["sender"], hints("deliver")["sender"])
        recipients = convert(value["recipients"], Sequence[Recipient])
        return SimpleNamespace(**{**value, "sender": sender, "recipients": recipients})
    return convert(value, hint)


class RemoteLog(Log):
    """``ctx.log``: lines for the server's log."""

    __slots__ = ("_write",)

    def __init__(self, write: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._write = write

    def _say(self, level: str, event: str, fields: dict[str, object]) -> None:
        if fields.pop("exc_info", None):
            traceback.print_exc()
        shown = {k: v if isinstance(v, str | int | float | bool) or v is None else str(v) for k, v in fields.items()}
        self._write({"log": level, "event": event, "fields": shown})

    def debug(self, event: str, **fields: object) -> None:
        self._say("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._say("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._say("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._say("error", event, fields)


class RemoteTable:
    """mta_hooks.lookup.Table: asked of the server, which has it for sources of the plugin's own config only."""

    def __init__(self, ask: Callable[..., Awaitable[Any]], source: Any) -> None:
        self._ask, self._source = ask, source
        self.empty = not source

    async def get(self, key: str) -> str | None:
        found = await self.match([key])
        return None if found is None else found[1]

    async def find(self, keys: Sequence[str], *, whole: bool = True) -> str | None:
        found = await self.match(keys, whole=whole)
        return None if found is None else found[1]

    async def match(self, keys: Sequence[str], *, whole: bool = True) -> tuple[str, str] | None:
        found = None if self.empty else await self._ask("table.match", self._source, list(keys), whole)
        return None if found is None else (found[0], found[1])

    async def open(self) -> None:
        if not self.empty:
            await self._ask("table.open", self._source)


class RemoteServices:
    """``ctx.kv``, ``ctx.dns`` and ``ctx.db``, and what ``ctx.send`` is: asked of the server."""

    validating = True  # not known here; an answer says whether it is secure

    def __init__(self, ask: Callable[..., Awaitable[Any]]) -> None:
        self._ask = ask

    async def get(self, key: str) -> bytes | None:
        value = await self._ask("kv.get", key)
        return None if value is None else base64.b64decode(value)

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        await self._ask("kv.set", key, base64.b64encode(value).decode("ascii"), ttl)

    async def delete(self, key: str) -> None:
        await self._ask("kv.delete", key)

    async def a(self, name: str) -> list[str]:
        found: list[str] = await self._ask("dns.a", name)
        return found

    async def aaaa(self, name: str) -> list[str]:
        found: list[str] = await self._ask("dns.aaaa", name)
        return found

    async def mx(self, name: str) -> list[tuple[int, str]]:
        return [(preference, host) for preference, host in await self._ask("dns.mx", name)]

    async def txt(self, name: str) -> list[bytes]:
        return [base64.b64decode(text) for text in await self._ask("dns.txt", name)]

    async def ptr(self, address: str) -> list[str]:
        found: list[str] = await self._ask("dns.ptr", address)
        return found

    async def validated(self, name: str, kind: str) -> Validated:
        records, secure, leads = await self._ask("dns.validated", name, kind)
        return Validated(tuple(_record(kind, record) for record in records), secure, leads)

    def table(self, source: Any) -> "RemoteTable":
        return RemoteTable(self._ask, source)

    async def read(self, statement: Any) -> Sequence[Any]:
        """``ctx.db``. Raises LookupError for what cannot cross, or is not the plugin's."""
        from mta.pluginhost.sqlout import statement_out  # SQLAlchemy is imported by plugins that have tables
        from mta.pluginhost.sqltree import rows_in

        return rows_in(await self._ask("db.read", statement_out(statement)))

    async def write(self, *statements: Any) -> list[int]:
        from mta.pluginhost.sqlout import statement_out

        touched: list[int] = await self._ask("db.write", *(statement_out(one) for one in statements))
        return touched

    async def domain(self, name: str) -> Domain | None:
        found: Domain | None = convert(await self._ask("domain", name), Domain | None)
        return found

    async def next_hop(self, recipient: Address, sender: Address | None = None) -> Route:
        route: Route = convert(await self._ask("next_hop", str(recipient), None if sender is None else str(sender)), Route)
        return route

    async def send(self, sender: str | None, recipients: Sequence[str], octets: bytes) -> str:
        if 4 * len(octets) // 3 > LONGEST_LINE - 2**18:
            raise ValueError("too large to be sent from a process of its own")
        sent: str = await self._ask("send", sender, list(recipients), base64.b64encode(octets).decode("ascii"))
        return sent
