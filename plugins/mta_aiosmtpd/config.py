"""Config of the plugin.

plugins:
  aiosmtpd:
    handler: mypackage.mail:TicketHandler
    arguments: [/srv/tickets]
    domains: [tickets.example.test]
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator


class AiosmtpdConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    handler: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$",
            description="module:Class of the handler, importable by the server's Python.",
        ),
    ]
    arguments: Annotated[tuple[Any, ...], Field(description="Arguments that the class is made with.")] = ()
    options: Annotated[dict[str, Any], Field(description="The same, by name.")] = Field(default_factory=dict)
    domains: Annotated[
        frozenset[str],
        Field(description="Domains whose mail the handler receives. Empty: it is shown all mail, and may refuse it."),
    ] = frozenset()

    @field_validator("domains")
    @classmethod
    def _lower(cls, domains: frozenset[str]) -> frozenset[str]:
        return frozenset(name.lower().rstrip(".") for name in domains)
