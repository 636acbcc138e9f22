"""What is asked and answered: identity, limits, outcome (RFC 7208 §2, §4.1, §4.3)."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from mta.model.address import Address
from mta.model.domain import normalise
from mta.model.network import IPAddress
from mta_spf.record import Result


@dataclass(frozen=True, slots=True)
class Limits:
    """For one check (RFC 7208 §4.6.4), and two beyond the RFC: all look-ups, and seconds."""

    terms: int = 10
    void: int = 2
    names: int = 10
    look_ups: int = 100
    seconds: float = 20.0


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Query:
    """Who asks to send for whom.

    client         an IPv4-mapped address as IPv4 (RFC 7208 §5)
    domain         of the identity, in A-labels; "" when it can have no policy (RFC 7208 §4.3)
    receiver, now  our name and the time in seconds since 1970, for explanations
    """

    client: IPAddress
    local: str
    domain: str
    helo: str
    identity: Literal["mailfrom", "helo"] = "mailfrom"
    receiver: str = "unknown"
    now: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """``reason`` says what is wrong, for errors; ``mechanism`` decided; ``explanation`` is the domain's own text for a fail."""

    result: Result
    reason: str = ""
    mechanism: str = ""
    explanation: str = ""
    look_ups: int = 0


def make_query(client: IPAddress, sender: Address | None, helo: str, receiver: str = "unknown", now: float = 0.0) -> Query:
    """The identity of the null sender is that of HELO (RFC 7208 §2.4)."""
    if sender is None:
        return Query(client, "postmaster", _policy_domain(helo), helo, "helo", receiver, now)
    return Query(client, sender.local or "postmaster", _policy_domain(sender.domain), helo, "mailfrom", receiver, now)


@lru_cache(maxsize=4096)
def _policy_domain(name: str) -> str:
    try:
        domain = normalise(name.removesuffix("."))
    except ValueError:
        return ""
    _, dot, top = domain.rpartition(".")
    return "" if not dot or top.isdigit() or domain.startswith("[") else domain
