"""Config of the plugin.

plugins:
  dnsbl:
    lists:
      - {zone: zen.example.org, score: 4, codes: {127.0.0.2: 6, 127.0.0.10: 1.5}}
      - {zone: drop.example.org, reject: true}
    exempt: [198.51.100.0/24]
"""
# SPDX-License-Identifier: Apache-2.0

from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mta.model.domain import normalise


class ListConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    zone: Annotated[str, Field(description="The list: a domain below which reversed addresses stand.")]
    score: Annotated[
        float, Field(description="Added for a client on the list, whatever the answer says; negative: a list of the good.")
    ] = 3.0
    codes: Annotated[
        dict[IPv4Address, float], Field(description="Scores by answer; an answer that is not here counts nothing. Empty: score.")
    ] = {}
    reject: Annotated[bool, Field(description="Refuse at RCPT (554 5.7.1).")] = False

    @field_validator("zone")
    @classmethod
    def _a_domain(cls, zone: str) -> str:
        return normalise(zone.rstrip("."))


class DnsblConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    lists: Annotated[tuple[ListConfig, ...], Field(max_length=50, description="Lists to ask, all together.")] = ()
    exempt: Annotated[
        tuple[IPv4Network | IPv6Network, ...], Field(description="Clients not asked for; private networks never are.")
    ] = ()

    @cached_property
    def rejects(self) -> bool:
        return any(entry.reject for entry in self.lists)

    def is_exempt(self, address: IPv4Address | IPv6Address) -> bool:
        """Private, loopback and link-local addresses are on no public list, and nobody's business outside."""
        address = getattr(address, "ipv4_mapped", None) or address
        if address.is_loopback or address.is_link_local or any(address in network for network in _PRIVATE):
            return True
        return any(address in network for network in self.exempt)


_PRIVATE: tuple[IPv4Network | IPv6Network, ...] = (  # not is_private: that takes documentation networks too
    IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16"), IPv4Network("100.64.0.0/10"),
    IPv4Network("0.0.0.0/8"), IPv6Network("fc00::/7"), IPv6Network("::/128"),
)  # fmt: skip
