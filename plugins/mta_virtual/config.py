"""Config of the plugin.

plugins:
  virtual:
    domains: hash:/etc/postfix/virtual_domains
    aliases: [hash:/etc/postfix/virtual, "sql:SELECT target FROM aliases WHERE source = :key"]
    files: aliases:/etc/aliases
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mta.model.domain import normalise
from mta_hooks.lookup import TableSource


class VirtualConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    domains: Annotated[
        TableSource | None, Field(description="Domains of ours; any value will do. A domain that is a key of aliases is one too.")
    ] = None
    relay_domains: Annotated[
        TableSource | None,
        Field(description="Domains that we take mail for and pass on: example.org, .example.org for those below it."),
    ] = None
    aliases: Annotated[
        TableSource | None, Field(description="Addresses that stand for others: user@domain, user (of local_domains), @domain.")
    ] = None
    files: Annotated[
        TableSource | None, Field(description="Names of local_domains that stand for others: aliases:/etc/aliases.")
    ] = None
    local_domains: Annotated[
        tuple[str, ...], Field(description="Domains whose users stand in tables without a domain. Empty: the server's hostname.")
    ] = ()
    relay_recipients: Annotated[
        TableSource | None,
        Field(description="Who is there in relay_domains: user@domain or @domain; others are refused. Absent: everybody."),
    ] = None
    relocated: Annotated[TableSource | None, Field(description="Who has moved, and where to: a refusal that says so.")] = None
    relocated_code: Annotated[Literal[550, 551], Field(description="The reply's code for those; its enhanced code is 5.1.6.")] = 550

    @field_validator("local_domains")
    @classmethod
    def _one_spelling(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(normalise, domains))
