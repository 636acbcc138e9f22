"""Config of the plugin.

plugins:
  access:
    client: [cidr:/etc/mta/clients.cidr, {198.51.100: REJECT go away}]
    sender: hash:/etc/postfix/sender_access
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mta_hooks.lookup import TableSource

List = Literal["client", "client_name", "helo", "sender", "recipient"]


class AccessConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    client: Annotated[
        TableSource | None, Field(description="By the client's address: 192.0.2.1, 192.0.2, 192.0, 192; cidr: too.")
    ] = None
    client_name: Annotated[
        TableSource | None,
        Field(
            description="By the client's name, when it and its address lead to each other in DNS: mail.example.org, .example.org, .org."
        ),
    ] = None
    helo: Annotated[TableSource | None, Field(description="By the name in HELO or EHLO, and its parents.")] = None
    sender: Annotated[
        TableSource | None,
        Field(description="By the envelope sender: user@domain, domain, .parent, user@; the null sender is <>."),
    ] = None
    recipient: Annotated[TableSource | None, Field(description="By the recipient, likewise.")] = None
    order: Annotated[tuple[List, ...], Field(description="Which tables are asked, in this order.")] = (
        "client", "client_name", "helo", "sender", "recipient",
    )  # fmt: skip
    users: Annotated[bool, Field(description="Ask for authenticated users too.")] = False
    delimiter: Annotated[
        str, Field(max_length=1, description="What a detail begins with: bob+x@ is looked up as bob@ too. Empty: nothing.")
    ] = "+"
