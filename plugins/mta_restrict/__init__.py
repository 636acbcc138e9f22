"""Restrictions that need no table: names that are none, domains that are not in DNS, clients that call themselves by our name.

Asked at RCPT, when everything is known that the log should tell. Who has logged in is asked about sender and recipient only, and private
networks about these too. What is found of client, HELO and sender is found once for each transaction. Left out: whether a sender of
ours exists (submission looks at that), DNS lists (plugin dnsbl).
"""
# SPDX-License-Identifier: Apache-2.0

from mta.model.network import is_private, parse_client
from mta_hooks import Address, Context, Session, Transaction, Verdict, hookimpl
from mta_hooks.services import Registry
from mta_restrict.config import RestrictConfig
from mta_restrict.rules import Case, judge

_KEPT = "restrict"


@hookimpl
def register(registry: Registry) -> None:
    registry.config(RestrictConfig)


@hookimpl(after="access", timeout=15.0)
async def smtp_rcpt(session: Session, transaction: Transaction, recipient: Address, ctx: Context) -> Verdict | None:
    config: RestrictConfig = ctx.config
    client = parse_client(session.client_ip)
    if session.protocol not in ("smtp", "submission") or (
        client is not None and any(client in network for network in config.exempt)
    ):
        return None
    known = bool(session.user) or client is None or is_private(client)
    sender = transaction.sender
    if sender is not None and sender.domain in config.exempt_senders:
        sender = None
    case = Case("" if known else session.client_ip, "" if known else session.helo, sender, recipient, known, session.local_ip)
    kept: dict[str, Verdict | None] = transaction.notes.setdefault(_KEPT, {})
    for name in config.reject:
        if "recipient" in name:
            verdict = await judge(name, case, ctx)
        else:
            if name not in kept:
                kept[name] = await judge(name, case, ctx)
            verdict = kept[name]
        if verdict is None:
            continue
        if name not in config.warn_only:
            return verdict
        ctx.log.info("restrict.warned", restriction=name, reply=str(verdict.reply()), client=session.client_ip, id=transaction.id)
    return None
