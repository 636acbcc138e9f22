"""Header and body checks and blind copies, by tables of patterns (header_checks(5) of Postfix).

Each field of the header, each field of MIME parts and of messages within, and each line of the first octets of each part is asked for in a
table; what it says is done: refuse, hold, discard, redirect, warn, change. Copies: of everything, by sender, by recipient. Lines are
those on the wire: what is encoded (base64) is not decoded; for contents there is the hook ``mime_part``. Left out: FILTER, DELAY.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence

from mta.model.message import Recipient
from mta_checks.config import ChecksConfig
from mta_checks.inspect import Found, Inspection
from mta_hooks import AddRecipient, Address, Context, Edit, Message, Session, Verdict, hookimpl
from mta_hooks.lookup import Table, address_keys, open_tables
from mta_hooks.services import Registry

TABLES = ("headers", "mime_headers", "nested_headers", "body", "sender_bcc", "recipient_bcc")
_SUBMITTED = ("submission", "local", "http", "imap")
_KEPT = "checks"


class Checks:
    """The plugin."""

    roles = ("content",)

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.config(ChecksConfig)

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        await open_tables(ctx, TABLES)

    @hookimpl
    async def message_check(self, session: Session, message: Message, ctx: Context) -> Verdict | None:
        return (await self._inspected(message, ctx)).verdict

    @hookimpl
    async def message_modify(self, message: Message, recipients: Sequence[Recipient], ctx: Context) -> list[Edit] | None:
        """Edits are made from the message as it came: an earlier plugin that let it in unseen changes nothing of that."""
        edits = list((await self._inspected(message, ctx)).edits)
        if message.origin != "dsn":
            known = {recipient.address for recipient in recipients}
            edits += [AddRecipient(one) for one in await _copies(message, recipients, ctx) if one not in known]
        return edits or None

    async def _inspected(self, message: Message, ctx: Context) -> Found:
        found = message.notes.get(_KEPT)
        if not isinstance(found, Found):
            config: ChecksConfig = ctx.config
            looked = config.users or message.origin not in _SUBMITTED
            found = message.notes[_KEPT] = await Inspection(message, ctx).run() if looked else Found()
        return found


async def _copies(message: Message, recipients: Sequence[Recipient], ctx: Context) -> list[Address]:
    config: ChecksConfig = ctx.config
    found = dict.fromkeys(Address.parse(text) for text in config.always_bcc)
    if message.sender is not None:
        found |= dict.fromkeys(await _asked(ctx.table(config.sender_bcc), message.sender, ctx))
    for recipient in recipients:
        found |= dict.fromkeys(await _asked(ctx.table(config.recipient_bcc), recipient.address, ctx))
    return list(found)


async def _asked(table: Table, address: Address, ctx: Context) -> list[Address]:
    if table.empty:
        return []
    keys = address_keys(address)
    keys[-1:-1] = [f"{key.rpartition('@')[0]}@" for key in keys[:-1]]
    value = await table.find(keys)
    out = []
    for text in (value or "").split(","):
        if not text.strip():
            continue
        try:
            out.append(Address.parse(text.strip()))
        except ValueError as exc:
            ctx.log.error("checks.bcc_refused", address=str(address), value=text[:200], reason=str(exc))
    return out
