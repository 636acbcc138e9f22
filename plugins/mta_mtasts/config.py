"""The plugin's section of the config."""
# SPDX-License-Identifier: Apache-2.0

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mta_mtasts.policy import MAX_AGE, Policy, read_policy


class OwnPolicy(BaseModel):
    """What we tell others of a domain of ours."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["enforce", "testing", "none"] = "testing"
    mx: tuple[str, ...] = ()
    max_age: int = Field(default=604_800, ge=0, le=MAX_AGE, description="Seconds that others keep it.")

    @model_validator(mode="after")
    def _is_a_policy(self) -> "OwnPolicy":
        read_policy("\n".join(self.policy.lines()).encode())
        return self

    @property
    def policy(self) -> Policy:
        return Policy(self.mode, self.max_age, tuple(mx.lower().rstrip(".") for mx in self.mx))


class MtaStsConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    policies: dict[str, OwnPolicy] = Field(
        default_factory=dict,
        description="Policies of our own domains, served to others at https://mta-sts.DOMAIN/.well-known/mta-sts.txt.",
    )

    @field_validator("policies")
    @classmethod
    def _lower(cls, value: dict[str, OwnPolicy]) -> dict[str, OwnPolicy]:
        return {domain.lower().rstrip("."): policy for domain, policy in value.items()}
