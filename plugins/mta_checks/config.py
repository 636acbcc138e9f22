"""Config of the plugin.

plugins:
  checks:
    headers: regexp:/etc/postfix/header_checks
    body: pcre:/etc/postfix/body_checks
    recipient_bcc: {legal@example.org: archive@example.org}
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mta_hooks import Address
from mta_hooks.lookup import TableSource


class ChecksConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    headers: Annotated[
        TableSource | None, Field(description="Asked for each field of the message's header, as it stands: Name: value.")
    ] = None
    mime_headers: Annotated[
        TableSource | None, Field(description="For fields of MIME, of the message and of its parts. Absent: headers is asked.")
    ] = None
    nested_headers: Annotated[
        TableSource | None, Field(description="For fields of messages within the message. Absent: headers is asked.")
    ] = None
    body: Annotated[TableSource | None, Field(description="For each line of the body, as it is on the wire.")] = None
    body_size: Annotated[int, Field(ge=0, le=2**20, description="Octets of each part that body is asked about.")] = 51200
    body_total: Annotated[int, Field(ge=0, le=2**22, description="Octets of all parts together that body is asked about.")] = 2**20
    users: Annotated[bool, Field(description="Check mail of authenticated users and local programs too.")] = True
    always_bcc: Annotated[tuple[str, ...], Field(description="Addresses that get a copy of every message.")] = ()
    sender_bcc: Annotated[
        TableSource | None, Field(description="Who gets a copy of what a sender sends: user@domain, user@, @domain.")
    ] = None
    recipient_bcc: Annotated[TableSource | None, Field(description="Who gets a copy of what a recipient gets.")] = None

    @field_validator("always_bcc")
    @classmethod
    def _addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(Address.parse(text)) for text in addresses)
