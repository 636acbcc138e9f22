"""The plugin's section of the config."""
# SPDX-License-Identifier: Apache-2.0

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mta_hooks import Address


class TlsRptConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    organization: str = Field(default="", max_length=200, description="Who reports; absent: the server's hostname.")
    contact: str = Field(default="", description="Address that a domain's owner may write to; absent: postmaster at the hostname.")
    sender: str = Field(
        default="", description="Envelope sender of reports; absent: the null sender, so that no bounces come back."
    )

    @field_validator("contact", "sender")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if value:
            Address.parse(value)
        return value
