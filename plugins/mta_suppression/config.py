"""Config of the plugin.

plugins:
  suppression:
    after: 3
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class SuppressionConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    after: Annotated[int, Field(ge=1, le=100, description="Days with a hard bounce after which an address is left out.")] = 3
    within: Annotated[float, Field(ge=86400, description="Seconds in which these have to lie; then counting starts anew.")] = (
        60 * 86400.0
    )
    keep: Annotated[float, Field(ge=86400, description="Seconds for which an address that bounced is left out.")] = 180 * 86400.0
