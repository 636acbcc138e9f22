"""Config of the plugin.

plugins:
  spamassassin:
    address: 127.0.0.1:783                # or unix:/run/spamd.sock
    spam: quarantine
    on_error: continue
"""
# SPDX-License-Identifier: Apache-2.0

import re
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mta.model.message import Origin

Measure = Literal["score", "quarantine", "defer", "reject", "discard"]
Place = str | tuple[str, int]
"""Path of a Unix socket, or host and port."""

_ADDRESS = re.compile(r"(?:unix:(?P<path>/.+)|(?:\[(?P<literal>[0-9A-Fa-f:.]+)\]|(?P<host>[^\[\]:/@\s]+)):(?P<port>\d{1,5}))\Z")


class SpamassassinConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    address: Annotated[str, Field(description="host:port, [::1]:port, or unix:/path of spamd.")] = "127.0.0.1:783"
    user: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@-]*$", description="Whose preferences spamd uses; empty: its own.")] = ""
    deadline: Annotated[float, Field(gt=0, le=300, description="Seconds for one answer; see also timeout, 30 s.")] = 25.0
    max_size: Annotated[int, Field(ge=0, description="Larger messages, in octets, are not checked.")] = 512_000
    too_large: Annotated[
        Literal["accept", "quarantine", "reject"],
        Field(description="What becomes of a message that is larger, and so not checked."),
    ] = "accept"
    origins: Annotated[frozenset[Origin], Field(description="Doors whose mail is checked.")] = frozenset(
        {"smtp", "lmtp", "submission"}
    )
    spam: Annotated[Measure, Field(description="What becomes of a message that spamd calls spam; of others the score counts.")] = (
        "score"
    )
    headers: Annotated[bool, Field(description="Write X-Spam-Status and X-Spam-Flag.")] = True

    @field_validator("address")
    @classmethod
    def _a_place(cls, address: str) -> str:
        match = _ADDRESS.match(address)
        if match is None or not (match["path"] or 0 < int(match["port"]) < 65536):
            raise ValueError("must be host:port, [address]:port or unix:/path")
        return address

    @cached_property
    def place(self) -> Place:
        match = _ADDRESS.match(self.address)
        assert match is not None
        return match["path"] or (match["literal"] or match["host"], int(match["port"]))
