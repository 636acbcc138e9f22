"""Config of the plugin.

plugins:
  dkim:
    selector: s1                          # for domains that name none
    key: /etc/mta/dkim/s1.pem             # for domains that name none; rsa (2048 bits) or ed25519, PEM
    domains:
      example.org: {}
      example.net: {selector: n1, key: /etc/mta/dkim/n1.pem}
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mta.model.domain import normalise

Selector = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", max_length=63)]


class Signer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    selector: Annotated[Selector | None, Field(description="Name of the key in DNS: <selector>._domainkey.<domain>.")] = None
    key: Annotated[str | None, Field(description="PEM file of the private key.")] = None


class DkimConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    verify: Annotated[bool, Field(description="Check signatures of mail that comes in.")] = True
    selector: Annotated[Selector, Field(description="Selector of domains that name none.")] = "mta"
    key: Annotated[str | None, Field(description="PEM file of domains that name none; readable for the server's user.")] = None
    domains: Annotated[dict[str, Signer], Field(description="Author domains whose mail is signed.")] = {}

    @field_validator("domains")
    @classmethod
    def _one_spelling(cls, domains: dict[str, Signer]) -> dict[str, Signer]:
        return {normalise(domain): signer for domain, signer in domains.items()}

    @model_validator(mode="after")
    def _every_domain_has_a_key(self) -> Self:
        for domain, signer in self.domains.items():
            if not (signer.key or self.key):
                raise ValueError(f"no key for {domain}: give key, here or for the domain")
        return self

    def signer(self, domain: str) -> tuple[str, str]:
        """Selector and key file of a domain in ``domains``."""
        own = self.domains[domain]
        return own.selector or self.selector, own.key or self.key or ""
