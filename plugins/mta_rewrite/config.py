"""Config of the plugin.

plugins:
  rewrite:
    sender_canonical: hash:/etc/postfix/sender_canonical
    masquerade: ["!lab.example.org", example.org]
    generic: {root@mx.internal: postmaster@example.org}
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mta.model.domain import normalise
from mta_hooks.lookup import TableSource

Role = Literal["envelope_sender", "envelope_recipient", "header_sender", "header_recipient"]
_ALL: tuple[Role, ...] = ("envelope_sender", "envelope_recipient", "header_sender", "header_recipient")


class RewriteConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    sender_canonical: Annotated[
        TableSource | None, Field(description="Other forms of senders' addresses, in envelope and header.")
    ] = None
    recipient_canonical: Annotated[TableSource | None, Field(description="The same of recipients' addresses.")] = None
    canonical: Annotated[TableSource | None, Field(description="The same of both, after those.")] = None
    canonical_classes: Annotated[tuple[Role, ...], Field(description="Where canonical is asked.")] = _ALL
    masquerade: Annotated[
        tuple[str, ...],
        Field(
            description="Domains that stand for those below them: user@host.example.org becomes user@example.org. !domain: not this one."
        ),
    ] = ()
    masquerade_exceptions: Annotated[
        tuple[str, ...], Field(description="Users whose addresses are left as they are, such as root.")
    ] = ()
    masquerade_classes: Annotated[tuple[Role, ...], Field(description="Where masquerade is done.")] = (
        "envelope_sender", "header_sender", "header_recipient",
    )  # fmt: skip
    headers: Annotated[
        Literal["submitted", "all", "none"],
        Field(description="Whose header is rewritten: mail of users and local programs, all mail, none. The envelope always is."),
    ] = "submitted"
    generic: Annotated[
        TableSource | None,
        Field(description="Other forms of addresses in what goes to another server: in envelope and header."),
    ] = None
    local_domains: Annotated[
        tuple[str, ...], Field(description="Domains whose users stand in tables without a domain. Empty: the server's hostname.")
    ] = ()
    origin: Annotated[str | None, Field(description="Domain of values without one. Absent: the server's hostname.")] = None

    @field_validator("local_domains")
    @classmethod
    def _one_spelling(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(normalise, domains))

    @field_validator("masquerade")
    @classmethod
    def _domains(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        return tuple("!" * one.startswith("!") + normalise(one.removeprefix("!")) for one in domains)

    @field_validator("origin")
    @classmethod
    def _origin(cls, domain: str | None) -> str | None:
        return None if domain is None else normalise(domain)
