"""Config of the plugin.

plugins:
  callout:
    domains: {partner.example: "yes"}       # absent: all relay domains
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mta_hooks.lookup import TableSource


class CalloutConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    domains: Annotated[
        TableSource | None,
        Field(
            description="Domains whose recipients are asked for at their next hop; .example.org: those below. Absent: all relay domains."
        ),
    ] = None
    unknown: Annotated[
        Literal["defer", "accept"],
        Field(description="What becomes of a recipient while its server does not say whether it is there."),
    ] = "defer"
    senders: Annotated[bool, Field(description="Ask the servers of strangers' senders too, whether those take bounces.")] = False
    sender: Annotated[str, Field(description="Sender of the question; empty: the null sender.")] = ""
    known_for: Annotated[float, Field(ge=60, description="Seconds for which it is remembered that somebody is there.")] = (
        7 * 86400.0
    )
    unknown_for: Annotated[float, Field(ge=60, description="Seconds for which it is remembered that nobody is.")] = 3 * 3600.0
    timeout: Annotated[float, Field(ge=1, le=60, description="Seconds for the whole question.")] = 15.0
    connections: Annotated[int, Field(ge=1, le=100, description="Questions at a time in each worker; beyond, nobody is asked.")] = 8
