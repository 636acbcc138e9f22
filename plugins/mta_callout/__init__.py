"""Callout: is the recipient of a relay domain there? Its next hop is asked before we take the mail, so that nobody is sent a bounce.

Asked at RCPT, of clients that have not logged in; what was answered is remembered in the database. While the next hop says nothing the
client is told to come back (``unknown``). Senders of strangers can be asked for in the same way (``senders``), off by default: many
servers hold it against those who ask. Bounded: questions at a time, seconds, one question for an address however many wait for it.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections import Counter
from dataclasses import replace

from mta.model.network import is_private, parse_client
from mta_callout.config import CalloutConfig
from mta_callout.dialogue import Answer, NoAnswer, Place, ask
from mta_hooks import Address, Context, Session, TemporaryFailure, Transaction, Verdict, defer, hookimpl, reject
from mta_hooks.lookup import domain_keys, open_tables
from mta_hooks.metrics import Metric
from mta_hooks.services import DnsError, Registry

_MOST_HOSTS = 3
_HOOK_SECONDS = 75.0


class Callout:
    """The plugin. It holds the questions that are being asked."""

    roles = ("callout",)

    def __init__(self) -> None:
        self._asking: dict[str, asyncio.Future[Answer]] = {}
        self._counts: Counter[str] = Counter()

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.config(CalloutConfig)
        registry.metrics(self.numbers)

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        await open_tables(ctx, ("domains",))

    @hookimpl(after=("access", "dnsbl", "spf", "greylist"), timeout=_HOOK_SECONDS)
    async def smtp_rcpt(self, session: Session, recipient: Address, ctx: Context) -> Verdict | None:
        config: CalloutConfig = ctx.config
        if session.user or session.protocol == "local" or not recipient.is_ascii or not await _is_asked_for(recipient.domain, ctx):
            return None
        answer = await self._known("recipient", recipient, ctx)
        if answer.there:
            return None
        if answer.there is False:
            return reject(f"no such recipient at its server: {answer.text}", enhanced="5.1.1", reason="callout")
        if config.unknown == "accept":
            return None
        return defer(
            "the recipient's server does not say now whether it is there",
            code=450,
            enhanced="4.1.1",
            reason=f"callout: {answer.text}",
        )

    @hookimpl(after=("access", "dnsbl", "spf"), timeout=_HOOK_SECONDS)
    async def smtp_mail(self, session: Session, transaction: Transaction, sender: Address | None, ctx: Context) -> Verdict | None:
        client = parse_client(session.client_ip)
        if (
            not ctx.config.senders
            or sender is None
            or session.user
            or session.protocol != "smtp"
            or client is None
            or is_private(client)
        ):
            return None
        if not sender.is_ascii or await ctx.domain(sender.domain) is not None:
            return None
        answer = await self._known("sender", sender, ctx)
        if answer.there is False:
            return reject(f"the sender's server takes no mail for it: {answer.text}", enhanced="5.1.7", reason="callout")
        return None

    async def _known(self, kind: str, address: Address, ctx: Context) -> Answer:
        config: CalloutConfig = ctx.config
        key = f"{kind} {str(address).lower()}"
        kept = await ctx.kv.get(key)
        if kept is not None:
            self._counts["remembered"] += 1
            return Answer(kept[:1] == b"+", kept[1:].decode("ascii", "replace"))
        if (asking := self._asking.get(key)) is not None:
            return await asyncio.shield(asking)
        if len(self._asking) >= config.connections:
            self._counts["too_many"] += 1
            return Answer(None, "too many questions at a time")
        future = self._asking[key] = asyncio.get_running_loop().create_future()
        answer = Answer(None, "the question was broken off")
        try:
            answer = await _answer(kind, address, ctx)
        finally:
            del self._asking[key]
            future.set_result(answer)
        self._counts["unknown" if answer.there is None else "there" if answer.there else "not_there"] += 1
        if answer.there is not None:
            mark = "+" if answer.there else "-"
            await ctx.kv.set(key, f"{mark}{answer.text}".encode(), ttl=config.known_for if answer.there else config.unknown_for)
        ctx.log.info("callout.asked", kind=kind, address=str(address), there=answer.there, reply=answer.text)
        return answer

    def numbers(self, ctx: Context) -> list[Metric]:
        what = "Questions about addresses, by what came of them."
        return [
            Metric("questions_total", count, help=what, labels={"result": result}) for result, count in sorted(self._counts.items())
        ]


async def _is_asked_for(domain: str, ctx: Context) -> bool:
    config: CalloutConfig = ctx.config
    if config.domains is not None:
        return await ctx.table(config.domains).find(list(domain_keys(domain))) is not None
    found = await ctx.domain(domain)
    return found is not None and found.kind == "relay"


async def _answer(kind: str, address: Address, ctx: Context) -> Answer:
    config: CalloutConfig = ctx.config
    last = "no server"
    try:
        async with asyncio.timeout(config.timeout):
            for place in await (_places(address, ctx) if kind == "recipient" else _servers(address.domain, ctx)):
                try:
                    return await ask(place, ctx.hostname, config.sender if kind == "recipient" else "", address)
                except (NoAnswer, OSError) as exc:
                    last = f"{place.path or place.host}: {exc}"
    except TimeoutError:
        last = f"no answer within {config.timeout:g} seconds"
    except (DnsError, TemporaryFailure) as exc:
        last = str(exc)
    return Answer(None, "".join(c if " " <= c <= "~" else "?" for c in last)[:300])


async def _places(recipient: Address, ctx: Context) -> list[Place]:
    """Where the queue would deliver it. Raises TemporaryFailure, DnsError."""
    route = await ctx.next_hop(recipient)
    if route.transport not in ("smtp", "lmtp"):
        return []
    lmtp = route.transport == "lmtp"
    if route.path:
        return [Place(path=route.path, lmtp=lmtp)]
    if route.host is None:
        return await _servers(recipient.domain, ctx)
    implicit = route.tls == "implicit"
    if route.mx:
        return [replace(place, port=route.port or place.port, implicit=implicit) for place in await _servers(route.host, ctx)]
    return [Place(route.host.strip("[]"), route.port or (24 if lmtp else 465 if implicit else 25), lmtp=lmtp, implicit=implicit)]


async def _servers(domain: str, ctx: Context) -> list[Place]:
    """The mail servers of a domain, best first; not ourselves, nor those behind us. Raises DnsError."""
    places = []
    for _, host in sorted(await ctx.dns.mx(domain)) or [(0, domain)]:
        name = host.rstrip(".").lower()
        if not name or name == ctx.hostname:
            break
        places.append(Place(name))
    return places[:_MOST_HOSTS]
