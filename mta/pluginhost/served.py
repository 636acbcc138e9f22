"""The services that a plugin in a process of its own asks of the server (remote.py asks): its ``ctx``, with octets in base64."""
# SPDX-License-Identifier: Apache-2.0

import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from mta.model.address import Address
from mta.pluginhost.crossing import plain
from mta_hooks.lookup import Table
from mta_hooks.services import Validated

Service = Callable[..., Awaitable[Any]]
"""``(ctx, *args)`` -> a value for JSON."""


async def _kv_get(ctx: Any, key: str) -> str | None:
    value = await ctx.kv.get(str(key))
    return None if value is None else base64.b64encode(value).decode("ascii")


async def _kv_set(ctx: Any, key: str, value: str, ttl: float | None) -> None:
    await ctx.kv.set(str(key), base64.b64decode(value), ttl=ttl)


async def _kv_delete(ctx: Any, key: str) -> None:
    await ctx.kv.delete(str(key))


async def _txt(ctx: Any, name: str) -> list[str]:
    return [base64.b64encode(text).decode("ascii") for text in await ctx.dns.txt(name)]


async def _validated(ctx: Any, name: str, kind: str) -> list[Any]:
    found: Validated = await ctx.dns.validated(name, kind)
    return [plain(found.records), found.secure, found.name]


async def _send(ctx: Any, sender: str | None, recipients: list[str], octets: str) -> str:
    sent: str = await ctx.send(sender, [str(r) for r in recipients], base64.b64decode(octets))
    return sent


def _holds(config: Any, source: Any) -> bool:
    """Is this a value somewhere in the config? A plugin that is not trusted reads no other files than its operator named."""
    if config == source:
        return True
    inner = config.values() if isinstance(config, Mapping) else config if isinstance(config, list | tuple) else ()
    return any(_holds(one, source) for one in inner)


def _table(ctx: Any, source: Any) -> Table:
    if not _holds(ctx.config, source):
        raise ValueError("a table that the plugin's config does not name")
    table: Table = ctx.table(source)
    return table


async def _table_match(ctx: Any, source: Any, keys: list[str], whole: bool) -> Any:
    return await _table(ctx, source).match([str(key) for key in keys], whole=whole is True)


async def _table_open(ctx: Any, source: Any) -> None:
    await _table(ctx, source).open()


async def _domain(ctx: Any, name: str) -> Any:
    return plain(await ctx.domain(str(name)))


async def _next_hop(ctx: Any, recipient: str, sender: str | None) -> Any:
    """Without the credentials: who delivers is the server."""
    route = await ctx.next_hop(Address.parse(recipient), None if sender is None else Address.parse(sender))
    return plain(replace(route, credentials=None, token_file=""))


async def _metrics(ctx: Any) -> Any:
    return plain(ctx.metrics())


SERVICES: Mapping[Any, Service] = {
    "kv.get": _kv_get,
    "kv.set": _kv_set,
    "kv.delete": _kv_delete,
    "dns.a": lambda ctx, name: ctx.dns.a(name),
    "dns.aaaa": lambda ctx, name: ctx.dns.aaaa(name),
    "dns.mx": lambda ctx, name: ctx.dns.mx(name),
    "dns.ptr": lambda ctx, name: ctx.dns.ptr(name),
    "dns.txt": _txt,
    "dns.validated": _validated,
    "table.match": _table_match,
    "table.open": _table_open,
    "domain": _domain,
    "next_hop": _next_hop,
    "send": _send,
    "metrics": _metrics,
}
