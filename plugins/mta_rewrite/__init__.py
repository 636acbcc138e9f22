"""Other forms of addresses: canonical(5), masquerading and generic(5) of Postfix, in envelope and header, by role.

Canonical and masquerade are done when mail arrives (``address_rewrite``), generic when it goes to another server (``delivery_modify``),
behind DKIM's signature: sign what generic makes, or leave the header to canonical. Each table is asked once, what it answers is not
asked again.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable, Callable

from mta.wire.mime.headers import fields, header_end
from mta.wire.mime.places import find_addresses, replaced, role_of
from mta_hooks import Address, Context, Envelope, Message, ReplaceHeader, ReplaceRecipient, SetSender, Transaction, hookimpl
from mta_hooks.edits import DeliveryEdit
from mta_hooks.lookup import Table, address_keys, detail_of, open_tables
from mta_hooks.services import Registry
from mta_rewrite.config import RewriteConfig

TABLES = ("sender_canonical", "recipient_canonical", "canonical", "generic")
_SUBMITTED = ("submission", "local", "http", "imap")
_MOST = 10_000
"""Addresses of a header that are looked at."""


class Rewrite:
    """The plugin."""

    roles = ("rewrite",)

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.config(RewriteConfig)

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        await open_tables(ctx, TABLES)

    @hookimpl
    async def address_rewrite(self, address: Address, role: str, transaction: Transaction, ctx: Context) -> Address | None:
        config: RewriteConfig = ctx.config
        if role.startswith("header") and (
            config.headers == "none" or (config.headers == "submitted" and transaction.origin not in _SUBMITTED)
        ):
            return None
        first = config.sender_canonical if role.endswith("sender") else config.recipient_canonical
        new = await mapped(ctx.table(first), address, ctx)
        if role in config.canonical_classes:
            new = await mapped(ctx.table(config.canonical), new, ctx)
        if role in config.masquerade_classes:
            new = masqueraded(new, config)
        return new

    @hookimpl
    async def delivery_modify(self, envelope: Envelope, message: Message, ctx: Context) -> list[DeliveryEdit] | None:
        table = ctx.table(ctx.config.generic)
        if table.empty:
            return None
        edits: list[DeliveryEdit] = []
        if envelope.sender is not None and (sender := await mapped(table, envelope.sender, ctx)) != envelope.sender:
            edits.append(SetSender(sender))
        recipients = [(one, await mapped(table, one, ctx)) for one in envelope.recipients]
        edits += [ReplaceRecipient(old, new) for old, new in recipients if new != old]
        return edits + await header_edits(message, lambda address: mapped(table, address, ctx))


async def mapped(table: Table, address: Address, ctx: Context) -> Address:
    """What the table has for it, else itself: ``user@domain``, ``user`` (of local domains), ``@domain``, with its detail kept."""
    if table.empty:
        return address
    config: RewriteConfig = ctx.config
    keys = address_keys(address)
    if address.domain in (config.local_domains or (ctx.hostname,)):
        keys[-1:-1] = [key.rpartition("@")[0] for key in keys[:-1]]
    found = await table.match(keys)
    if found is None:
        return address
    key, value = found
    return _result(value, address, detail_of(address, key if "@" in key else f"{key}@{address.domain}"), ctx)


def _result(value: str, address: Address, detail: str, ctx: Context) -> Address:
    """``@domain`` keeps the name; a value that is no address changes nothing."""
    text = value.strip()
    if text.startswith("@"):
        text = str(address).removesuffix(f"@{address.domain}") + text
    elif "@" not in text:
        text = f"{text}@{ctx.config.origin or ctx.hostname}"
    try:
        found = Address.parse(text)
    except ValueError as exc:
        ctx.log.error("rewrite.value_refused", address=str(address), value=value[:200], reason=str(exc))
        return address
    return Address(found.local + detail, found.domain) if detail and "+" not in found.local else found


def masqueraded(address: Address, config: RewriteConfig) -> Address:
    """The first domain of the list that it is below decides."""
    if not config.masquerade or address.local.lower() in {name.lower() for name in config.masquerade_exceptions}:
        return address
    for entry in config.masquerade:
        domain = entry.removeprefix("!")
        if address.domain == domain or address.domain.endswith(f".{domain}"):
            return address if entry.startswith("!") else Address(address.local, domain)
    return address


async def header_edits(message: Message, new: Callable[[Address], Awaitable[Address]]) -> list[DeliveryEdit]:
    """One edit for each field with an address that changes."""
    head = _head(message)
    seen: dict[bytes, int] = {}
    known: dict[bytes, bytes] = {}
    edits: list[DeliveryEdit] = []
    for field in fields(head):
        index = seen[field.name] = seen.get(field.name, -1) + 1
        if not role_of(field.name):
            continue
        value = head[field.value : field.end].rstrip(b"\r\n")
        found = list(find_addresses(value))[: _MOST - len(known)]
        for _, text in found:
            if text not in known:
                known[text] = await _asked(text, new)
        made = replaced(value, found, known.__getitem__)
        if made != value:
            name = head[field.start : field.value].partition(b":")[0].decode("ascii", "replace").rstrip()
            edits.append(ReplaceHeader(name, made.decode("utf-8", "surrogateescape").strip(), index))
    return edits


async def _asked(text: bytes, new: Callable[[Address], Awaitable[Address]]) -> bytes:
    try:
        address = Address.parse(text.decode("utf-8"))
    except ValueError:
        return text
    made = await new(address)
    return text if made == address or not str(made).isascii() else str(made).encode()


def _head(message: Message) -> bytes:
    octets = b""
    for chunk in message.chunks():
        octets += chunk
        if header_end(octets) < len(octets) or len(octets) > 2**20:
            break
    return octets[: header_end(octets)]
