"""Config of the plugin.

plugins:
  ratelimit:
    client: {connections: 60/1m, messages: 200/1h, recipients: 1000/1h, errors: 3/1h}
    user: {messages: 200/1h, recipients: 500/1d}
    users: {newsletter@example.org: {recipients: 50000/1d}}
    exempt: [198.51.100.0/24]
"""
# SPDX-License-Identifier: Apache-2.0

import re
from typing import Annotated, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mta.model.network import IPNetwork

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_RATE = re.compile(r"([0-9]{1,9}) */ *([0-9]{0,6})([smhd])\Z")


class Rate(NamedTuple):
    """At most ``most`` within any ``seconds``."""

    most: int
    seconds: int


def _rate(value: object) -> object:
    if value is None or isinstance(value, Rate):
        return value
    if not isinstance(value, str) or (match := _RATE.match(value.strip())) is None:
        raise ValueError("a rate is a number for a time, such as 100/1h or 5/10s")
    seconds = int(match[2] or "1") * _UNITS[match[3]]
    if not 1 <= seconds <= 31 * 86400:
        raise ValueError("the time of a rate is 1 second to 31 days")
    return Rate(int(match[1]), seconds)


OneRate = Annotated[Rate | None, BeforeValidator(_rate)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ClientRates(_Section):
    connections: Annotated[OneRate, Field(description="Connections from one network.")] = Rate(120, 60)
    messages: Annotated[OneRate, Field(description="Messages from one network.")] = None
    recipients: Annotated[OneRate, Field(description="Recipients from one network.")] = None
    errors: Annotated[OneRate, Field(description="Connections that ended for too many errors; then no more for the time.")] = Rate(
        5, 3600
    )


class UserRates(_Section):
    messages: Annotated[OneRate, Field(description="Messages of one user.")] = Rate(500, 3600)
    recipients: Annotated[OneRate, Field(description="Recipients of one user.")] = Rate(2000, 86400)


class RatelimitConfig(_Section):
    client: Annotated[ClientRates, Field(description="Of strangers, by network; absent: unlimited.")] = ClientRates()
    user: Annotated[UserRates, Field(description="Of users who logged in, wherever they are.")] = UserRates()
    local: Annotated[UserRates, Field(description="Of one account of the system, by its uid, over the sendmail command.")] = (
        UserRates(messages=None, recipients=None)
    )
    users: Annotated[dict[str, UserRates], Field(description="Other rates for single accounts.")] = {}
    exempt: Annotated[tuple[IPNetwork, ...], Field(description="Clients without limits; private networks have none either.")] = ()
    ipv4_prefix: Annotated[int, Field(ge=8, le=32, description="Clients within such a network are one.")] = 32
    ipv6_prefix: Annotated[int, Field(ge=16, le=128, description="Likewise for IPv6.")] = 64
    limit_private: Annotated[bool, Field(description="Private and loopback addresses are limited too.")] = False
    most: Annotated[
        int, Field(ge=100, le=1_000_000, description="Clients and users known at once in a worker; 200 octets each.")
    ] = 50_000
