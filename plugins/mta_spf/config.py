"""Config of the plugin.

plugins:
  spf:
    reject_fail: true
    scores: {softfail: 1.5, permerror: 0.5}
    exempt: [198.51.100.0/24]
"""
# SPDX-License-Identifier: Apache-2.0

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mta.model.network import IPAddress, is_private
from mta_spf.record import Result


class SpfConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    reject_fail: Annotated[bool, Field(description="Refuse a fail at RCPT (550 5.7.23), with the domain's own explanation.")] = (
        False
    )
    scores: Annotated[
        dict[Result, float], Field(description="Added to the message's score; results not named here add nothing.")
    ] = {
        "fail": 3.0,
        "softfail": 1.0,
    }
    exempt: Annotated[
        tuple[IPv4Network | IPv6Network, ...],
        Field(description="Clients not checked: your own relays and forwarders. Private networks never are."),
    ] = ()

    def is_exempt(self, client: IPAddress) -> bool:
        return is_private(client) or any(client in network for network in self.exempt)
