"""Config of the plugin.

plugins:
  restrict:
    reject: [invalid_helo, own_helo, non_fqdn_sender, unknown_sender_domain]
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mta.model.network import IPNetwork

Restriction = Literal[
    "unknown_reverse_client",
    "unknown_client",
    "invalid_helo",
    "non_fqdn_helo",
    "own_helo",
    "unknown_helo",
    "non_fqdn_sender",
    "unknown_sender_domain",
    "non_fqdn_recipient",
    "unknown_recipient_domain",
]


class RestrictConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    reject: Annotated[tuple[Restriction, ...], Field(description="What is refused, in the order to look.")] = (
        "invalid_helo", "own_helo", "non_fqdn_sender", "unknown_sender_domain", "non_fqdn_recipient", "unknown_recipient_domain",
    )  # fmt: skip
    warn_only: Annotated[tuple[Restriction, ...], Field(description="Of these the log tells, and the mail goes on.")] = ()
    exempt: Annotated[tuple[IPNetwork, ...], Field(description="Clients that are not looked at; private networks never are.")] = ()
    exempt_senders: Annotated[
        tuple[str, ...], Field(description="Domains whose senders are not looked at, for a time in which their DNS is broken.")
    ] = ()
