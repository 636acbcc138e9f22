"""Names to ask for, and what answers mean (RFC 5782 §2.1, §2.3, §2.4)."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address

from mta_dnsbl.config import ListConfig

_ANSWERS = IPv4Network("127.0.0.0/8")
_REFUSALS = IPv4Network("127.255.255.0/24")
"""What big lists answer to resolvers they do not serve: not "listed", and a lot of mail would be lost by taking it so."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A client is on a list: ``answers`` are those that count."""

    zone: str
    score: float
    reject: bool
    answers: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.zone} ({' '.join(self.answers)})"


def query_name(address: IPv4Address | IPv6Address, zone: str) -> str:
    """Return the octets, or for IPv6 the nibbles, in reverse, below the zone."""
    address = getattr(address, "ipv4_mapped", None) or address
    reverse = address.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
    return f"{reverse}.{zone}"


def read_answer(entry: ListConfig, answers: Sequence[str]) -> tuple[Listing | None, str]:
    """Return the listing, if any, and the answer by which the list refuses to answer, or "".

    Answers outside 127.0.0.0/8 are those of a domain that was sold or a resolver that lies: no opinion.
    """
    scores: dict[str, float] = {}
    for text in answers:
        try:
            answer = IPv4Address(text)
        except AddressValueError:
            continue
        if answer in _REFUSALS:
            return None, text
        if answer in _ANSWERS and (not entry.codes or answer in entry.codes):
            scores[text] = entry.codes.get(answer, entry.score)
    if not scores:
        return None, ""
    total = sum(scores.values()) if entry.codes else entry.score
    return Listing(entry.zone, total, entry.reject, tuple(scores)), ""
