"""Config of the plugin.

plugins:
  rspamd:
    url: http://127.0.0.1:11333
    actions: {"add header": quarantine}
    on_error: continue
"""
# SPDX-License-Identifier: Apache-2.0

from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mta.model.message import Origin

Measure = Literal["score", "ignore", "quarantine", "defer", "reject", "discard"]

_MEASURES: dict[str, Measure] = {
    "soft reject": "defer",
    "reject": "reject",
    "discard": "discard",
    "quarantine": "quarantine",
}
"""The rest is scored: "greylist" too, for rspamd says so of every message above that threshold when its greylist module does not
run, each time the peer comes back; when it runs it says "soft reject"."""


class RspamdConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, Field(pattern=r"^https?://[^@/]+(/.*)?$", description="The normal worker.")] = "http://127.0.0.1:11333"
    deadline: Annotated[float, Field(gt=0, le=300, description="Seconds for one answer; see also timeout, 30 s.")] = 20.0
    max_size: Annotated[int, Field(ge=0, description="Larger messages, in octets, are not checked.")] = 20 * 2**20
    too_large: Annotated[
        Literal["accept", "quarantine", "reject"],
        Field(description="What becomes of a message that is larger, and so not checked."),
    ] = "accept"
    origins: Annotated[frozenset[Origin], Field(description="Doors whose mail is checked.")] = frozenset(
        {"smtp", "lmtp", "submission"}
    )
    actions: Annotated[
        dict[str, Measure], Field(description="What rspamd's actions mean; those not named keep their meaning.")
    ] = {}
    headers: Annotated[bool, Field(description="Write X-Spam-Status and X-Spam-Flag.")] = True

    @cached_property
    def measures(self) -> dict[str, Measure]:
        return {**_MEASURES, **self.actions}
