"""How safe a connection to a next hop has to be, and what came of it (RFC 6698, RFC 7672, RFC 8461, RFC 8460)."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass
from typing import Literal

Level = Literal["none", "may", "require", "encrypt", "dane"]
Source = Literal["", "tlsa", "sts"]

_DIGEST = {1: 32, 2: 64}


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One TLSA record (RFC 6698 §2.1); matching 0: ``data`` is the certificate or key itself, 1: its SHA-256, 2: its SHA-512."""

    usage: int
    selector: int
    matching: int
    data: bytes

    @property
    def usable(self) -> bool:
        """RFC 7672 §3.1: usages 2 and 3 only; what nobody can evaluate counts as not there."""
        known = self.usage in (2, 3) and self.selector in (0, 1) and self.matching in (0, 1, 2)
        return known and len(self.data) == _DIGEST.get(self.matching, len(self.data) or 1)

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """An answer of ``tls_policy``: how safe the connection to one mail server of a domain must be.

    level    "none"; "may": TLS where it works, any certificate; "require": TLS, any certificate; "encrypt": TLS with a certificate
             of a trusted authority for the host's name; "dane": TLS with a certificate that ``tlsa`` speaks for
    tlsa     usable records, at least one, for "dane"
    name     what the server is asked for (SNI) and its certificate must name; "": the host's name
    names    further names that a certificate of "dane" with usage 2 may have (RFC 7672 §3.2.2)
    testing  a failure is reported, and mail goes all the same (RFC 8461 §5)
    problem  why this host cannot be used at all; "": it can
    failure  of the problem, as RFC 8460 §4.3 names it
    source   where the policy is from, for reports: "tlsa", "sts" (MTA-STS), "": no published policy
    policy   its lines, and mx its host patterns, for reports
    """

    level: Level = "may"
    tlsa: tuple[Tlsa, ...] = ()
    name: str = ""
    names: tuple[str, ...] = ()
    testing: bool = False
    problem: str = ""
    failure: str = ""
    source: Source = ""
    policy: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TlsResult:
    """What came of TLS with one mail server of a domain: one session, or one attempt.

    failure  "", or a result type of RFC 8460 §4.3: "starttls-not-supported", "certificate-expired", …; reason: in words
    address  of the server; local: ours, "" when there was no connection
    """

    domain: str
    mx: str
    address: str
    local: str
    policy: TlsPolicy
    failure: str = ""
    reason: str = ""
