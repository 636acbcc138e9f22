"""Which hosts take mail for a destination, and in which order (RFC 5321 §5.1, RFC 7505).

MX hosts by preference, equal ones at random, each with its IPv6 and IPv4 addresses in turn; without MX the domain itself; a host
given by a route as it is. When we are in the list ourselves, only better hosts are asked: the mail would loop.
"""
# SPDX-License-Identifier: Apache-2.0

import errno
import ipaddress
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import NamedTuple

from mta.model.delivery import Route
from mta_hooks.services import Dns, DnsError

MAX_NAMES = 20  # MX hosts looked up for one attempt
MAX_ADDRESSES = 5  # connections tried for one attempt: enough for any sound domain, an end for a hostile one
Find = Callable[[str], Awaitable[Sequence[str] | None]]
"""The MX hosts of a domain from elsewhere than DNS, best first; None: as DNS says."""

_LOOPBACK = {"localhost": ("127.0.0.1", "::1")}


@dataclass(frozen=True, slots=True)
class Destination:
    """What connections are kept for, and concurrency counts by: a route, and the domain when its MX are meant, the recipient's or a route's.

    requiretls  for messages that go over verified TLS only (RFC 8689): they have connections of their own
    relaxed     for one whose sender says that it need not be ("TLS-Required: No")
    sources     our addresses to connect from, and no others; (): as the route and config ``outbound.source_addresses`` say
    """

    route: Route
    domain: str = ""
    requiretls: bool = False
    relaxed: bool = False
    sources: tuple[str, ...] = ()

    @classmethod
    def of(cls, route: Route, domain: str, *, requiretls: bool = False, sources: tuple[str, ...] = ()) -> "Destination":
        if route.host is not None:
            domain = route.host if route.mx else ""
        return cls(route, "" if route.path else domain, requiretls).leaving_from(sources)

    def leaving_from(self, sources: tuple[str, ...]) -> "Destination":
        """The same by connections from these addresses of ours, unless the route has one; a Unix socket has none."""
        if sources == self.sources or self.route.source or self.route.path:
            return self
        return replace(self, sources=sources)

    @property
    def uses_mx(self) -> bool:
        return bool(self.domain)

    def __str__(self) -> str:
        route = self.route
        if self.domain or route.transport == "local":
            return self.domain or "local"
        return f"{route.transport}:{route.path or f'{route.host}:{route.port}'}"


class Host(NamedTuple):
    """One place to connect to. ``name`` is what its certificate has to say; ``path``: a Unix socket instead of an address."""

    name: str
    address: str
    port: int
    path: str = ""

    @property
    def is_here(self) -> bool:
        return bool(self.path) or ipaddress.ip_address(self.address).is_loopback

    def is_of(self, domain: str) -> bool:
        """Whoever has a certificate for this name belongs to the domain; an MX record may be forged."""
        return self.name == domain or self.name.endswith(f".{domain}")

    def __str__(self) -> str:
        return self.path or f"{self.name}[{self.address}]:{self.port}"


class NoHost(Exception):
    """Nobody to connect to. The text is a reply with code; ``permanent``: it says so for good."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.permanent = text.startswith("5")


async def hosts(
    dns: Dns, destination: Destination, hostname: str, smtp_port: int, find: Find | None = None
) -> AsyncIterator[list[Host]]:
    """Yield the addresses of each host in order, looked up when its turn comes. Raises NoHost when there is none at all."""
    route = destination.route
    if route.path:
        yield [Host("localhost", "", 0, route.path)]
        return
    names: Sequence[str]
    if route.host is not None and not destination.uses_mx:
        names, port, where = [route.host], route.port or _default_port(route), route.host
    else:
        names, port, where = await _exchangers(dns, destination.domain, hostname, find), route.port or smtp_port, destination.domain
    problem, count = "", 0
    for name in names:
        try:
            addresses = await _addresses(dns, name)
        except DnsError as exc:
            problem = str(exc)
            continue
        if found := [Host(name, address, port) for address in addresses[: MAX_ADDRESSES - count]]:
            count += len(found)  # before the list is another's
            yield found
        if count == MAX_ADDRESSES:
            return
    if count == 0 and problem:
        raise NoHost(f"451 4.4.3 DNS does not answer: {problem}")
    if count == 0:
        raise NoHost(f"550 5.1.2 {where} has no mail server: no {'MX or ' if destination.uses_mx else ''}address record")


def source_for(host: Host, destination: Destination, pool: Sequence[str]) -> str:
    """Our address to connect from, of the host's family: the route's, else one at random of the destination's, else of the pool;
    "": as the system chooses.

    Raises OSError when route or destination name only addresses of the other family.
    """
    given = (destination.route.source,) if destination.route.source else destination.sources
    if host.path or not (given or pool):
        return ""
    sixth = ":" in host.address
    fitting = [address for address in given or pool if (":" in address) is sixth]
    if given and not fitting:
        raise OSError(errno.EADDRNOTAVAIL, "no source address of this family")
    return random.choice(fitting) if fitting else ""  # noqa: S311


def _default_port(route: Route) -> int:
    return 24 if route.transport == "lmtp" else 465 if route.tls == "implicit" else 25


async def _exchangers(dns: Dns, domain: str, hostname: str, find: Find | None) -> Sequence[str]:
    if domain.startswith("["):
        return [domain]
    if find is not None and (given := await find(domain)) is not None:
        return [name.lower().removesuffix(".") for name in given[:MAX_NAMES]]
    try:
        found = await dns.mx(domain)
    except DnsError as exc:
        raise NoHost(f"451 4.4.3 DNS does not answer: {exc}") from exc
    if not found:
        return [domain]  # the implicit MX
    if all(name == "" for _, name in found):
        raise NoHost(f"556 5.1.10 {domain} takes no mail (null MX)")  # RFC 7505 §4.2
    ranked = sorted((preference, random.random(), name) for preference, name in found if name)  # noqa: S311
    ours = min((preference for preference, _, name in ranked if name == hostname), default=None)
    if ours is not None:
        ranked = [entry for entry in ranked if entry[0] < ours]
        if not ranked:
            raise NoHost(f"554 5.4.6 mail for {domain} loops: its best MX is this server")
    return [name for _, _, name in ranked[:MAX_NAMES]]


async def _addresses(dns: Dns, name: str) -> list[str]:
    """IPv6 and IPv4 in turn. Raises DnsError when nothing is known because DNS did not answer."""
    literal = name.removeprefix("[").removesuffix("]").removeprefix("ipv6:").removeprefix("IPv6:")
    try:
        return [str(ipaddress.ip_address(literal))]
    except ValueError:
        pass
    if name in _LOOPBACK:
        return list(_LOOPBACK[name])
    if name.startswith("["):
        return []
    failure, families = None, []
    for look_up in (dns.aaaa, dns.a):
        try:
            found = await look_up(name)
        except DnsError as exc:
            failure = exc
            continue
        random.shuffle(found)
        families.append(found)
    addresses = [address for address in chain.from_iterable(zip_longest(*families)) if address is not None]
    if not addresses and failure is not None:
        raise failure
    return addresses
