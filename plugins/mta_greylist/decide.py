"""Who is a stranger, and for how long: values and rules, without database and clock."""
# SPDX-License-Identifier: Apache-2.0

import re
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Literal

from mta.model.network import IPAddress
from mta_hooks import Address

Reason = Literal["new", "too early", "too late", "came back", "known"]

_LONGEST = 320


@dataclass(frozen=True, slots=True)
class Triplet:
    """``sender`` in the form that mailing lists and bounce tags leave alike: no detail, numbers as "#"; "" for the null sender."""

    client: str
    sender: str
    recipient: str

    def __str__(self) -> str:
        return f"{self.client} <{self.sender}> {self.recipient}"

    @classmethod
    def of(cls, network: str, sender: Address | None, recipient: Address) -> "Triplet":
        return cls(network, "" if sender is None else _alike(sender), str(recipient).lower()[:_LONGEST])


def _alike(sender: Address) -> str:
    local = sender.local.lower()
    if local.startswith("prvs=") and local.count("=") == 2:  # BATV: a tag that changes daily
        local = local.rpartition("=")[2]
    local = local.partition("+")[0] or local
    return f"{re.sub(r'[0-9]+', '#', local)}@{sender.domain}"[:_LONGEST]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a triplet: wall clock of its first and last time, and how often it was let in."""

    first: float
    last: float
    passes: int


@dataclass(frozen=True, slots=True)
class Decision:
    """``wait``: seconds to tell the client; 0.0 lets it in."""

    reason: Reason
    wait: float = 0.0


def decide(seen: Seen | None, now: float, *, delay: float, window: float) -> Decision:
    """A clock set back makes nobody wait longer than ``delay``."""
    if seen is None:
        return Decision("new", delay)
    if seen.passes:
        return Decision("known")
    age = now - seen.first
    if age < 0 or age > window:
        return Decision("too late", delay)
    if age < delay:
        return Decision("too early", max(delay - age, 1.0))
    return Decision("came back")


def network_of(client: IPAddress, ipv4: int, ipv6: int) -> str:
    return str(ip_network(f"{client}/{ipv4 if client.version == 4 else ipv6}", strict=False))


def candidates(client: IPAddress, sender: Address | None) -> list[str]:
    """Every entry of the list of the allowed that would speak for this client or sender."""
    shortest, longest = (8, 32) if client.version == 4 else (16, 128)
    found = [str(ip_network(f"{client}/{prefix}", strict=False)) for prefix in range(shortest, longest + 1)]
    return found if sender is None else [*found, str(sender).lower(), f"@{sender.domain}"]


def entry_of(text: str) -> str:
    """An entry as the operator writes it: network, address, ``user@domain``, ``@domain``. Raises ValueError."""
    text = text.strip().lower()
    if "@" in text:
        if text.startswith("@"):
            return f"@{Address.parse(f'x{text}').domain}"
        return str(Address.parse(text)).lower()
    network = ip_network(text, strict=False)
    if network.prefixlen < (8 if network.version == 4 else 16):
        raise ValueError(f"{network} is too large: at least /8, or /16 of IPv6")
    return str(network)
