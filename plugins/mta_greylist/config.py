"""Config of the plugin.

plugins:
  greylist:
    delay: 300
    exempt: [198.51.100.0/24]
    exempt_recipients: [abuse@example.org]
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mta.model.network import IPAddress, IPNetwork
from mta_hooks import Address


class GreylistConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    delay: Annotated[float, Field(gt=0, le=86400, description="Seconds for which a stranger is told to come back.")] = 300.0
    window: Annotated[
        float, Field(ge=3600, description="Seconds in which it has to come back; later it is a stranger again. RFC 5321: days.")
    ] = 2 * 86400.0
    keep: Annotated[
        float, Field(ge=86400, description="Seconds for which those who came back are known after their last mail.")
    ] = 36 * 86400.0
    allow_after: Annotated[
        int,
        Field(ge=0, le=1000, description="Senders with which a network has come back, after which it need not any more; 0: never."),
    ] = 5
    ipv4_prefix: Annotated[int, Field(ge=8, le=32, description="Clients within such a network are one.")] = 24
    ipv6_prefix: Annotated[int, Field(ge=16, le=128, description="Likewise for IPv6.")] = 64
    trust_spf: Annotated[bool, Field(description="Let senders in for whom SPF passes (plugin spf, listed before this one).")] = True
    know_correspondents: Annotated[bool, Field(description="Let senders in whom an authenticated user has written to.")] = True
    exempt: Annotated[
        tuple[IPNetwork, ...], Field(description="Clients never asked to come back; private networks never are.")
    ] = ()
    exempt_recipients: Annotated[
        tuple[str, ...], Field(description="Addresses, or @domain, whose mail never waits; postmaster's never does.")
    ] = ()
    most_waiting: Annotated[
        int, Field(ge=10, le=100_000, description="Strangers of one network that are told apart; beyond, they are one.")
    ] = 500

    def is_exempt(self, client: IPAddress, recipient: Address) -> bool:
        if recipient.local.lower() == "postmaster" or any(client in network for network in self.exempt):
            return True
        return bool(self.exempt_recipients) and bool(
            {str(recipient).lower(), f"@{recipient.domain}"} & {entry.lower() for entry in self.exempt_recipients}
        )
