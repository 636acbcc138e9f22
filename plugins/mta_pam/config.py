"""Config of the plugin.

plugins:
  pam:
    service: mta
    domains: [example.org]
"""
# SPDX-License-Identifier: Apache-2.0

import sys
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mta.model.domain import normalise


class PamConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    service: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="PAM service: the file in /etc/pam.d.")] = (
        "mta"
    )
    domains: Annotated[
        tuple[str, ...],
        Field(
            min_length=1, description="alice@ each of these is the machine's alice; the first is that of names without a domain."
        ),
    ]
    minimum_uid: Annotated[
        int, Field(ge=0, description="Accounts below are nobody here: root's password is no business of mail.")
    ] = 1000
    deadline: Annotated[float, Field(gt=0, le=300, description="Seconds for one answer; see also timeout, 10 s.")] = 9.0
    helpers: Annotated[int, Field(ge=1, le=32, description="Processes of each worker that ask PAM.")] = 2
    folder: Annotated[str | None, Field(pattern=r"^/", description="Folder of service files in place of PAM's own.")] = None
    command: Annotated[
        tuple[str, ...], Field(description="Put in front of the helper's command line: [sudo, -n] gives it the rights of root.")
    ] = ()

    @field_validator("domains")
    @classmethod
    def _one_spelling(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(normalise, domains))

    def helper_command(self) -> tuple[str, ...]:
        """The helper is started as a file: importing the package would load the whole contract into each."""
        helper = str(Path(__file__).with_name("helper.py"))
        folder = (self.folder,) if self.folder else ()
        return (*self.command, sys.executable, "-I", helper, self.service, str(self.minimum_uid), *folder)
