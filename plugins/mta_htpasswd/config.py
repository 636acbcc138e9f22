"""Config of the plugin.

plugins:
  htpasswd:
    file: /etc/mta/htpasswd
    domain: example.org
    sole: [example.org]
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mta.model.address import Address
from mta.model.domain import normalise


class HtpasswdConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Annotated[str, Field(pattern=r"^/", description="The password file; read again when it changes.")]
    domain: Annotated[str | None, Field(description="Domain of names without one, in the file and at login.")] = None
    sole: Annotated[
        tuple[str, ...], Field(description="Domains whose accounts are all in the file: nobody else is asked for them.")
    ] = ()

    @field_validator("domain")
    @classmethod
    def _one_spelling(cls, domain: str | None) -> str | None:
        return None if domain is None else normalise(domain)

    @field_validator("sole")
    @classmethod
    def _one_spelling_each(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(normalise, domains))

    def address_of(self, username: str) -> Address | None:
        """The account's canonical address: lower case, as the directory has it. None: a name that cannot be ours."""
        text = username.lower()
        if "@" not in text and self.domain is not None:
            text = f"{text}@{self.domain}"
        try:
            return Address.parse(text)
        except ValueError:
            return None

    def names_of(self, address: Address) -> tuple[str, ...]:
        """Names under which the file may have it; the one with its domain counts first."""
        return (str(address), address.local) if address.domain == self.domain else (str(address),)
