"""One rule each: what is wrong with a client, its greeting, a sender, a recipient. DNS that does not answer is no answer: come back."""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from mta.model.network import parse_client
from mta_hooks import Address, Context, Verdict, defer, reject
from mta_hooks.services import DnsError
from mta_restrict.config import Restriction

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\Z")  # "_" is no letter of a host name, and stands in many
_LITERAL = re.compile(r"\[(IPv6:)?([0-9A-Fa-f:.]{2,45})\]\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Case:
    """``user``: the client has logged in, and is not asked who it is. ``client`` and ``helo`` are "" then."""

    client: str
    helo: str
    sender: Address | None
    recipient: Address
    user: bool
    local_ip: str


Rule = Callable[[Case, Context], Awaitable[Verdict | None]]


async def unknown_reverse_client(case: Case, ctx: Context) -> Verdict | None:
    if not case.client or await ctx.dns.ptr(case.client):
        return None
    return defer("the client's address has no name in DNS", code=450, enhanced="4.7.25")


async def unknown_client(case: Case, ctx: Context) -> Verdict | None:
    client = parse_client(case.client)
    if client is None:
        return None
    for name in (await ctx.dns.ptr(str(client)))[:3]:
        found = await (ctx.dns.a(name) if client.version == 4 else ctx.dns.aaaa(name))
        if any(parse_client(one) == client for one in found):
            return None
    return defer("the client's address and its name do not lead to each other in DNS", code=450, enhanced="4.7.25")


async def invalid_helo(case: Case, _ctx: Context) -> Verdict | None:
    if not case.helo or _is_literal(case.helo) or _is_name(case.helo):
        return None
    return reject("the name in HELO is no host name", code=501, enhanced="5.5.2")


async def non_fqdn_helo(case: Case, _ctx: Context) -> Verdict | None:
    if not case.helo or _is_literal(case.helo) or _is_full(case.helo):
        return None
    return reject("the name in HELO is not fully qualified", code=504, enhanced="5.5.2")


async def own_helo(case: Case, ctx: Context) -> Verdict | None:
    """Nobody else has our name, nor our address."""
    name = case.helo.lower().rstrip(".")
    ours = {ctx.hostname, f"[{case.local_ip}]", case.local_ip, f"[ipv6:{case.local_ip}]"}
    if not name or name not in ours - {"", "[]"}:
        return None
    return reject("the name in HELO is ours", enhanced="5.7.1")


async def unknown_helo(case: Case, ctx: Context) -> Verdict | None:
    if not case.helo or _is_literal(case.helo) or await _exists(case.helo, ctx):
        return None
    return defer("the name in HELO is not in DNS", code=450, enhanced="4.7.1")


async def non_fqdn_sender(case: Case, _ctx: Context) -> Verdict | None:
    if case.sender is None or _is_literal(case.sender.domain) or _is_full(case.sender.domain):
        return None
    return reject("the sender's domain is not fully qualified", code=504, enhanced="5.5.2")


async def unknown_sender_domain(case: Case, ctx: Context) -> Verdict | None:
    """RFC 7505 §4.2: a domain with a null MX sends no mail either."""
    sender = case.sender
    if sender is None or _is_literal(sender.domain) or await ctx.domain(sender.domain) is not None:
        return None
    records = await ctx.dns.mx(sender.domain)
    if any(not host for _, host in records):
        return reject("the sender's domain takes no mail, so it sends none (null MX)", enhanced="5.7.27")
    if records or await _exists(sender.domain, ctx):
        return None
    return reject("the sender's domain is not in DNS", enhanced="5.1.8")


async def non_fqdn_recipient(case: Case, ctx: Context) -> Verdict | None:
    domain = case.recipient.domain
    if not domain or _is_literal(domain) or _is_full(domain) or await ctx.domain(domain) is not None:
        return None
    return reject("the recipient's domain is not fully qualified", code=504, enhanced="5.5.2")


async def unknown_recipient_domain(case: Case, ctx: Context) -> Verdict | None:
    """Said at once to who sends, in place of a bounce later."""
    domain = case.recipient.domain
    if not domain or _is_literal(domain) or await ctx.domain(domain) is not None:
        return None
    records = await ctx.dns.mx(domain)
    if any(not host for _, host in records):
        return reject("the recipient's domain takes no mail (null MX)", code=556, enhanced="5.1.10")
    if records or await _exists(domain, ctx):
        return None
    return reject("the recipient's domain is not in DNS", enhanced="5.1.2")


RULES: Mapping[Restriction, Rule] = {
    "unknown_reverse_client": unknown_reverse_client,
    "unknown_client": unknown_client,
    "invalid_helo": invalid_helo,
    "non_fqdn_helo": non_fqdn_helo,
    "own_helo": own_helo,
    "unknown_helo": unknown_helo,
    "non_fqdn_sender": non_fqdn_sender,
    "unknown_sender_domain": unknown_sender_domain,
    "non_fqdn_recipient": non_fqdn_recipient,
    "unknown_recipient_domain": unknown_recipient_domain,
}


async def judge(name: Restriction, case: Case, ctx: Context) -> Verdict | None:
    try:
        return await RULES[name](case, ctx)
    except DnsError as exc:
        enhanced = "4.1.8" if "sender" in name else "4.1.2" if "recipient" in name else "4.7.1"
        return defer("DNS gives no answer now", code=450, enhanced=enhanced, reason=str(exc))


def _is_literal(text: str) -> bool:
    match = _LITERAL.match(text)
    return match is not None and parse_client(match[2]) is not None


def _is_name(text: str) -> bool:
    name = text.rstrip(".") if not text.endswith("..") else text
    return 0 < len(name) <= 253 and all(_LABEL.match(label) for label in name.split("."))


def _is_full(text: str) -> bool:
    """A name of two labels at least, the last of which is no number."""
    name = text.rstrip(".")
    return _is_name(text) and "." in name and not name.rpartition(".")[2].isdigit()


async def _exists(name: str, ctx: Context) -> bool:
    return bool(await ctx.dns.a(name)) or bool(await ctx.dns.aaaa(name)) or bool(await ctx.dns.mx(name))
