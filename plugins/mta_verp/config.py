"""Config of the plugin.

plugins:
  verp:
    senders: {news@example.org: "yes", "@lists.example.org": "yes"}
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mta_hooks.lookup import TableSource


class VerpConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    senders: Annotated[
        TableSource | None,
        Field(description="Senders that get a return path for each recipient: user@domain, @domain; any value but no."),
    ] = None
    delimiters: Annotated[
        str, Field(min_length=2, max_length=2, description="What stands before the recipient, and for its @.")
    ] = "+="
    locals: Annotated[bool, Field(description="Only for mail of users and local programs; else for mail from anywhere too.")] = True
