"""DNS block lists (RFC 5782): what lists say of a client's address weighs in ``message_check``, or refuses at RCPT.

All lists are asked together as soon as a client begins its first message, so that the answers are there when they are needed;
once for each connection. No answer is no opinion. Not asked: for authenticated users, private and exempt networks, and doors
other than SMTP. Left out: lists of domains.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from ipaddress import ip_address
from typing import cast

from mta_dnsbl.config import DnsblConfig, ListConfig
from mta_dnsbl.listing import Listing, query_name, read_answer
from mta_hooks import Address, Context, Session, Verdict, add_score, hookimpl, reject
from mta_hooks.services import DnsError, Registry

roles = ("dnsbl",)
NOTE = "dnsbl"


@hookimpl
def register(registry: Registry) -> None:
    registry.config(DnsblConfig)


@hookimpl
def smtp_mail(session: Session, ctx: Context) -> None:
    """Begin to ask, and wait for nothing."""
    _begin(session, ctx)


@hookimpl
async def smtp_rcpt(session: Session, recipient: Address, ctx: Context) -> Verdict | None:
    """Refuse clients on a list with ``reject``; never mail to postmaster (RFC 5321 §4.5.1): that is where they complain."""
    config: DnsblConfig = ctx.config
    if not config.rejects or recipient.local.lower() == "postmaster":
        return None
    for listing in await _listings(session, ctx):
        if listing.reject:
            return reject(f"{session.client_ip} is listed by {listing.zone}", code=554, reason=str(listing))
    return None


@hookimpl
async def message_check(session: Session, ctx: Context) -> Verdict | None:
    found = await _listings(session, ctx)
    return add_score(sum(listing.score for listing in found), ", ".join(map(str, found))) if found else None


async def _listings(session: Session, ctx: Context) -> list[Listing]:
    asked = _begin(session, ctx)
    if asked is None:
        return []
    # Shielded: a hook that runs out of time takes the answers from nobody else.
    return [listing for listing in await asyncio.shield(asked) if listing is not None]


def _begin(session: Session, ctx: Context) -> "asyncio.Future[list[Listing | None]] | None":
    if session.user:
        return None
    if NOTE not in session.notes:
        session.notes[NOTE] = _ask_all(session, ctx)
    return cast("asyncio.Future[list[Listing | None]] | None", session.notes[NOTE])


def _ask_all(session: Session, ctx: Context) -> "asyncio.Future[list[Listing | None]] | None":
    config: DnsblConfig = ctx.config
    if session.protocol != "smtp" or not config.lists:
        return None
    try:
        address = ip_address(session.client_ip.partition("%")[0])
    except ValueError:
        return None  # a Unix socket
    if config.is_exempt(address):
        return None
    return asyncio.gather(*(_ask(ctx, entry, query_name(address, entry.zone)) for entry in config.lists))


async def _ask(ctx: Context, entry: ListConfig, name: str) -> Listing | None:
    """Never raises: one list that fails takes the answers of no other."""
    try:
        answers = await ctx.dns.a(name)
    except DnsError as exc:
        ctx.log.info("dnsbl.no_answer", zone=entry.zone, detail=str(exc))
        return None
    except Exception as exc:  # noqa: BLE001  # whatever the resolver does, it is no opinion
        ctx.log.warning("dnsbl.failed", zone=entry.zone, detail=repr(exc))
        return None
    listing, problem = read_answer(entry, answers)
    if problem:
        ctx.log.warning(
            "dnsbl.refused", zone=entry.zone, answer=problem, fix="the list refuses this resolver; see its documentation"
        )
    return listing
