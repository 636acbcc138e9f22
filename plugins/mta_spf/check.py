"""check_host() (RFC 7208 §4 to §6) over a Dns: no clock, no session, no config. Never raises for what is published.

Limits (RFC 7208 §4.6.4): 10 terms that ask DNS, 2 of them in vain, 10 MX and 10 PTR names; beyond the RFC, 100 look-ups and 20 s in
total. A term asks in vain when the records that it names itself do not exist: not when an MX host lacks an address of the
client's family, nor when the client's network has no PTR, which the domain's owner can do nothing about.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from dataclasses import dataclass

from mta_hooks.services import Dns, DnsError
from mta_spf.lookups import LookUps, Stop
from mta_spf.macro import NAME_WANTED, MacroString, Malformed, parse_macros, query_name
from mta_spf.query import LIMITS, Limits, Outcome, Query
from mta_spf.record import MAX_TERM, Mechanism, Result, choose_policy, parse_record


async def check(dns: Dns, query: Query, *, explain: bool = False, limits: Limits = LIMITS) -> Outcome:
    """Evaluate. ``explain``: fetch the explanation of a fail, which takes one look-up more."""
    if not query.domain:
        return Outcome("none")
    evaluation = _Evaluation(dns, query, limits)
    deadline = asyncio.get_running_loop().time() + limits.seconds
    try:
        async with asyncio.timeout_at(deadline):
            answer = await evaluation.check_host(query.domain)
    except TimeoutError:
        return Outcome("temperror", "DNS took too long", look_ups=evaluation.look_ups)
    except Stop as stop:
        return Outcome(stop.result, stop.reason, look_ups=evaluation.look_ups)
    explanation = ""
    if explain and answer.result == "fail" and answer.explanation is not None:
        try:
            async with asyncio.timeout_at(deadline):
                explanation = await evaluation.explain(answer.explanation, answer.domain)
        except (TimeoutError, DnsError, Malformed, Stop):
            explanation = ""  # RFC 7208 §6.2: as if there were no exp=
    return Outcome(answer.result, "", answer.mechanism, explanation, evaluation.look_ups)


@dataclass(frozen=True, slots=True)
class _Answer:
    result: Result
    domain: str
    mechanism: str = ""
    explanation: MacroString | None = None


class _Evaluation:
    """One check. Methods raise Stop."""

    def __init__(self, dns: Dns, query: Query, limits: Limits) -> None:
        self._look_ups = LookUps(dns, query.client, limits)
        self._query, self._limits = query, limits
        self._values: dict[str, str] = {}

    @property
    def look_ups(self) -> int:
        return self._look_ups.count

    async def check_host(self, domain: str) -> _Answer:
        texts = await self._look_ups.ask(self._look_ups.dns.txt, domain)
        try:
            policy = choose_policy(texts)
            if policy is None:
                return _Answer("none", domain)
            record = parse_record(policy)
        except Malformed as exc:
            raise Stop("permerror", f"{domain}: {exc}") from None
        for mechanism in record.mechanisms:
            match mechanism.name:
                case "ip4" | "ip6":
                    matches = self._matches_network(mechanism)
                case "all":
                    matches = True
                case _:
                    matches = await self._matches(mechanism, domain)
            if matches:
                return _Answer(mechanism.result, domain, mechanism.text, record.explanation)
        if record.redirect is None:
            return _Answer("neutral", domain)  # RFC 7208 §4.7
        self._look_ups.count_term()
        return await self._check_other("redirect", record.redirect, domain)

    async def explain(self, spec: MacroString, domain: str) -> str:
        """Return the text that the domain gives for a fail (RFC 7208 §6.2), "" without. Raises DnsError, Malformed, Stop."""
        name = await self._expand(spec, domain)
        texts = await self._look_ups.dns.txt(name) if name else []
        if len(texts) != 1 or not texts[0].isascii() or len(texts[0]) > MAX_TERM:
            return ""
        text = parse_macros(texts[0].decode("ascii"))
        return text.expand(await self._values_for(text, domain))[:MAX_TERM]

    def _matches_network(self, mechanism: Mechanism) -> bool:
        if mechanism.name != f"ip{self._query.client.version}":
            return False
        return self._look_ups.is_client_in(mechanism.network, mechanism.prefix4, mechanism.prefix6)

    async def _matches(self, mechanism: Mechanism, domain: str) -> bool:
        """The mechanisms that ask DNS."""
        self._look_ups.count_term()
        if mechanism.name == "include":
            assert mechanism.target is not None
            return (await self._check_other("include", mechanism.target, domain)).result == "pass"
        name = domain if mechanism.target is None else await self._expand(mechanism.target, domain)
        if name is None:
            return False
        match mechanism.name:
            case "a":
                return await self._matches_a(mechanism, name)
            case "mx":
                return await self._matches_mx(mechanism, name)
            case "ptr":
                return await self._matches_ptr(name)
            case _:
                return await self._matches_exists(name)

    async def _matches_a(self, mechanism: Mechanism, name: str) -> bool:
        addresses = await self._look_ups.addresses(name)
        self._look_ups.count_void(addresses)
        return self._look_ups.is_client_among(addresses, mechanism.prefix4, mechanism.prefix6)

    async def _matches_mx(self, mechanism: Mechanism, name: str) -> bool:
        exchanges = await self._look_ups.ask(self._look_ups.dns.mx, name)
        self._look_ups.count_void(exchanges)
        if len(exchanges) > self._limits.names:
            raise Stop("permerror", f"{name} has more than {self._limits.names} MX")
        for _, exchange in sorted(exchanges):
            host = query_name(exchange)  # the null MX has none
            addresses = await self._look_ups.addresses(host) if host is not None else []
            if self._look_ups.is_client_among(addresses, mechanism.prefix4, mechanism.prefix6):
                return True
        return False

    async def _matches_ptr(self, name: str) -> bool:
        for candidate in await self._look_ups.client_names():
            if _is_within(candidate, name.lower()) and await self._look_ups.is_client_name(candidate):
                return True
        return False

    async def _matches_exists(self, name: str) -> bool:
        addresses = await self._look_ups.ask(self._look_ups.dns.a, name)  # RFC 7208 §5.7: A, for clients with IPv6 too
        self._look_ups.count_void(addresses)
        return bool(addresses)

    async def _check_other(self, term: str, target: MacroString, domain: str) -> _Answer:
        """Another domain's policy, which has to be there (RFC 7208 §5.2, §6.1). Loops end at the limit of terms."""
        other = await self._expand(target, domain)
        answer = await self.check_host(other) if other is not None and "." in other else None
        if answer is None or answer.result == "none":
            raise Stop("permerror", f"{domain}: {term} of a domain without SPF record: {ascii(other or '')[1:-1]}")
        return answer

    async def _expand(self, spec: MacroString, domain: str) -> str | None:
        """The name to ask for, or None when there can be no such name: nothing matches it."""
        return query_name(spec.expand(await self._values_for(spec, domain), NAME_WANTED))

    async def _values_for(self, spec: MacroString, domain: str) -> dict[str, str]:
        """Values of the macros (RFC 7208 §7.2); without macros, whatever there is."""
        values = self._values
        if spec.letters:
            values.update(d=domain)
            if "i" not in values:
                values.update(_fixed_values(self._query))
            if "p" in spec.letters:
                values.update(p=await self._client_name(domain))
        return values

    async def _client_name(self, domain: str) -> str:
        """The p macro: the domain itself, else a name below it, else any (RFC 7208 §7.3)."""
        domain = domain.lower()
        names = await self._look_ups.client_names()
        for name in sorted(names, key=lambda name: 0 if name == domain else 1 if _is_within(name, domain) else 2):
            if await self._look_ups.is_client_name(name):
                return name
        return "unknown"


def _is_within(name: str, domain: str) -> bool:
    return name == domain or name.endswith(f".{domain}")


def _fixed_values(query: Query) -> dict[str, str]:
    is_ip4 = query.client.version == 4
    return {
        "s": f"{query.local}@{query.domain}",
        "l": query.local,
        "o": query.domain,
        "i": str(query.client)
        if is_ip4
        else ".".join(f"{int(query.client):032X}"),  # RFC 7208 §7.3; upper case as in the official tests
        "v": "in-addr" if is_ip4 else "ip6",
        "h": query.helo,
        "c": str(query.client),
        "r": query.receiver,
        "t": str(int(query.now)),
    }
