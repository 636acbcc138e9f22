"""Config of the plugin.

plugins:
  srs:
    domain: example.org
    secrets: [file:/etc/mta/srs.secret, file:/etc/mta/srs.secret.old]
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mta.model.domain import normalise


class SrsConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: Annotated[
        str | None, Field(description="Domain of the rewritten senders, one of ours. Absent: the server's hostname.")
    ] = None
    secrets: Annotated[
        tuple[Annotated[str, Field(min_length=8)], ...],
        Field(
            repr=False,
            description="The first signs, all are believed: ${ENV} or file:/path. Empty: one is made and kept; mta srs rotate.",
        ),
    ] = ()
    max_age: Annotated[int, Field(ge=1, le=500, description="Days for which a bounce is led back.")] = 21
    hash_length: Annotated[int, Field(ge=4, le=16, description="Characters of the signature in an address.")] = 6
    hash_minimum: Annotated[
        int, Field(ge=4, le=16, description="Characters that a signature must have at least to be believed.")
    ] = 6
    keep: Annotated[
        tuple[str, ...],
        Field(
            description="Domains whose senders are never rewritten, and next hops that get them as they are; .example.org: below."
        ),
    ] = ()
    null_sender_only: Annotated[bool, Field(description="Lead back bounces only, no mail that has a sender.")] = False

    @field_validator("domain")
    @classmethod
    def _one_spelling(cls, domain: str | None) -> str | None:
        return None if domain is None else normalise(domain)

    @field_validator("keep")
    @classmethod
    def _domains(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        return tuple("." * one.startswith(".") + normalise(one.removeprefix(".")) for one in domains)
