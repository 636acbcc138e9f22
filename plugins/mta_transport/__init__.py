"""Where mail goes next, by recipient and by sender, from tables in the form of Postfix's transport(5).

Asked for each recipient in the queue, so a table that changes moves what waits. ``error:``, ``retry:`` and ``discard:`` answer at RCPT
already; what an alias led there is given up, put off or dropped later. A nexthop without brackets means the mail servers of that domain.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from dataclasses import replace

from mta_hooks import (
    Address,
    Attempt,
    Context,
    Envelope,
    Message,
    Route,
    TemporaryFailure,
    Verdict,
    defer,
    discard,
    hookimpl,
    reject,
)
from mta_hooks.lookup import address_keys, domain_keys, open_tables
from mta_hooks.services import Registry
from mta_transport.config import TransportConfig
from mta_transport.value import BadTransport, Hop, Refusal, read_relay, read_transport

TABLES = ("recipients", "senders", "sender_relays", "passwords")


class Transport:
    """The plugin."""

    roles = ("route",)

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.config(TransportConfig)

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        await open_tables(ctx, TABLES)

    @hookimpl
    async def route(self, sender: Address | None, recipient: Address, ctx: Context) -> Route | None:
        found = await _found(sender, recipient, ctx)
        if not isinstance(found, Hop):
            return None
        return await _with_password(found.route, found.name, sender, ctx)

    @hookimpl
    async def smtp_rcpt(self, recipient: Address, ctx: Context) -> Verdict | None:
        found = await _recipient(recipient, ctx)
        return _verdict(found) if isinstance(found, Refusal) else None

    @hookimpl
    async def queue_enqueue(self, message: Message, envelopes: Sequence[Envelope], ctx: Context) -> list[Envelope] | None:
        """Recipients that an alias led to ``discard:`` get nothing."""
        if ctx.table(ctx.config.recipients).empty:
            return None
        gone = {one for envelope in envelopes for one in envelope.recipients if await _is_discarded(one, ctx)}
        if not gone:
            return None
        ctx.log.info("transport.discarded", id=message.id, recipients=len(gone))
        left = (replace(e, recipients=tuple(one for one in e.recipients if one not in gone)) for e in envelopes)
        return [envelope for envelope in left if envelope.recipients]

    @hookimpl
    async def delivery_attempt(self, envelope: Envelope, attempt: Attempt, ctx: Context) -> Verdict | None:
        """An attempt is for one domain or host; ``error:`` for some of its addresses is said to those alone when they are alone in it."""
        found = [await _recipient(one, ctx) for one in envelope.recipients]
        first = found[0] if found else None
        if isinstance(first, Refusal) and first.kind != "discard" and all(one == first for one in found):
            return _verdict(first)
        return None


def _verdict(refusal: Refusal) -> Verdict:
    if refusal.kind == "error":
        return reject(refusal.text, code=550, enhanced=refusal.enhanced, reason="error: of a transport table")
    if refusal.kind == "retry":
        return defer(refusal.text, code=450, enhanced=refusal.enhanced, reason="retry: of a transport table")
    return discard(refusal.text or "discard: of a transport table")


async def _is_discarded(address: Address, ctx: Context) -> bool:
    found = await _recipient(address, ctx)
    return isinstance(found, Refusal) and found.kind == "discard"


async def _recipient(recipient: Address, ctx: Context) -> Hop | Refusal | None:
    table = ctx.table(ctx.config.recipients)
    if table.empty or not recipient.domain:
        return None
    found = await table.match([*address_keys(recipient)[:-1], *domain_keys(recipient.domain), "*"])
    return None if found is None else _read(*found, ctx)


def _read(key: str, value: str, ctx: Context) -> Hop | Refusal:
    """Raises TemporaryFailure: a table that cannot be read must not send mail another way."""
    try:
        return read_transport(value, ctx.config.names)
    except BadTransport as exc:
        ctx.log.error("transport.value_refused", key=key, value=value[:200], reason=str(exc))
        raise TemporaryFailure(f"transport table: {key}: {exc}") from None


async def _found(sender: Address | None, recipient: Address, ctx: Context) -> Hop | Refusal | None:
    config: TransportConfig = ctx.config
    found = await _recipient(recipient, ctx)
    if found is not None:
        return found
    keys = address_keys(sender)
    said = await ctx.table(config.senders).match(keys)
    if said is not None:
        return _read(*said, ctx)
    said = await ctx.table(config.sender_relays).match(keys)
    if said is None or said[1].strip().upper() == "DUNNO":
        return None
    try:
        return read_relay(said[1])
    except BadTransport as exc:
        ctx.log.error("transport.value_refused", key=said[0], value=said[1][:200], reason=str(exc))
        raise TemporaryFailure(f"sender_relays: {said[0]}: {exc}") from None


async def _with_password(route: Route, name: str, sender: Address | None, ctx: Context) -> Route:
    config: TransportConfig = ctx.config
    table = ctx.table(config.passwords)
    if table.empty or route.path or route.transport != "smtp" or not (name or route.host):
        return route
    value = await table.get(str(sender).lower()) if sender is not None else None
    for key in (name, name.partition("]")[0] + "]" if name.startswith("[") else name.partition(":")[0], route.host or ""):
        value = value if value is not None or not key else await table.get(key)
    if value is None:
        return route
    user, _, password = value.strip().partition(":")
    return replace(route, credentials=(user, password), tls=route.tls if route.tls == "implicit" else config.auth_tls)
