"""Access tables: who may connect, greet, send and receive, by tables with the actions of Postfix's access(5).

All are asked at RCPT, when everything is known that the log should tell: client, its name, HELO, sender, recipient, in the order of the
config. OK ends the questions of its own table only, and lets nobody relay. What is decided for client, HELO and sender is decided once for
each transaction. Left out: FILTER, and names of Postfix's restrictions as actions (logged; the client is told 451).
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Any

from mta.model.network import parse_client
from mta_access.actions import BadAction, Step, read_action
from mta_access.config import AccessConfig, List
from mta_hooks import Address, Context, Edit, Message, Session, Transaction, Verdict, defer, hookimpl
from mta_hooks.lookup import address_keys, client_keys, domain_keys, open_tables
from mta_hooks.services import DnsError, Registry

WHAT = {
    "client": "Client host rejected",
    "client_name": "Client host rejected",
    "helo": "Helo command rejected",
    "sender": "Sender address rejected",
    "recipient": "Recipient address rejected",
}
_KEPT = "access"


class Access:
    """The plugin."""

    roles = ("access",)

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.config(AccessConfig)

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        await open_tables(ctx, WHAT)

    @hookimpl
    async def smtp_rcpt(self, session: Session, transaction: Transaction, recipient: Address, ctx: Context) -> Verdict | None:
        config: AccessConfig = ctx.config
        if (session.user and not config.users) or session.protocol == "local":
            return None
        kept: dict[str, Any] = transaction.notes.setdefault(_KEPT, {"steps": {}, "edits": []})
        for name in config.order:
            if ctx.table(getattr(config, name)).empty:
                continue
            if name == "recipient" or name not in kept["steps"]:
                step = await self._ask(name, session, transaction, recipient, ctx)
                kept["steps"][name] = step
                if step is not None and step.edit is not None and step.edit not in kept["edits"]:
                    kept["edits"].append(step.edit)
            step = kept["steps"][name]
            if step is not None and step.verdict is not None:
                verdict: Verdict = step.verdict
                return verdict
        return None

    async def _ask(self, name: List, session: Session, transaction: Transaction, recipient: Address, ctx: Context) -> Step | None:
        keys = await _keys(name, session, transaction, recipient, ctx)
        table = ctx.table(getattr(ctx.config, name))
        value = await table.find(keys) if keys else None
        if value is None:
            return None
        what = f"<{keys[0]}>: {WHAT[name]}"
        try:
            step = read_action(value, what)
        except BadAction as exc:
            ctx.log.error("access.action_unknown", table=name, key=keys[0], value=value[:200], reason=str(exc))
            return Step("verdict", defer("server configuration error", enhanced="4.3.5", reason=f"{what}: {exc}"))
        if step.kind == "warn":
            ctx.log.warning("access.warn", table=name, key=keys[0], text=step.text, client=session.client_ip, id=transaction.id)
        return step

    @hookimpl
    def message_modify(self, message: Message) -> list[Edit] | None:
        return (message.notes.get(_KEPT) or {}).get("edits") or None


async def _keys(name: List, session: Session, transaction: Transaction, recipient: Address, ctx: Context) -> list[str]:
    config: AccessConfig = ctx.config
    match name:
        case "client":
            client = parse_client(session.client_ip)
            return client_keys(str(client)) if client is not None else []
        case "client_name":
            host = await _verified_name(session, ctx)
            return list(domain_keys(host)) if host else []
        case "helo":
            return list(domain_keys(session.helo.lower())) if session.helo else []
        case "sender":
            return address_keys(transaction.sender, delimiter=config.delimiter, access=True)
        case "recipient":
            return address_keys(recipient, delimiter=config.delimiter, access=True)


async def _verified_name(session: Session, ctx: Context) -> str:
    """The name that the client's address has, and that has this address; "" when DNS knows none. No answer counts as none."""
    client = parse_client(session.client_ip)
    if client is None:
        return ""
    try:
        for name in (await ctx.dns.ptr(str(client)))[:3]:
            name = name.rstrip(".").lower()
            found = await (ctx.dns.a(name) if client.version == 4 else ctx.dns.aaaa(name))
            if any(parse_client(one) == client for one in found):
                return name
    except DnsError:
        return ""
    return ""
