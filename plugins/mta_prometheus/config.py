"""Config of the plugin.

plugins:
  prometheus:
    access: public
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class PrometheusConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._~/-]+$", description="Where the numbers are.")] = "/metrics"
    access: Annotated[
        Literal["public", "user", "admin"],
        Field(description="Who may read them: admin (http.admin_token), user (any account), public (whoever reaches the port)."),
    ] = "admin"
