"""Config of the plugin.

plugins:
  webhook:
    url: https://example.org/mail-events
    secret: file:/etc/mta/webhook.secret
    events: [delivered, bounced, MessageNew]
"""
# SPDX-License-Identifier: Apache-2.0

import re
from functools import cached_property
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from mta_webhook.signature import key_of

HOOKS = frozenset({"delivered", "deferred", "bounced", "mailbox_event"})
_EVENT = re.compile(r"[A-Z][A-Za-z]{2,40}\Z")

Secret = Annotated[SecretStr, Field(min_length=16)]


class WebhookConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, Field(pattern=r"^https?://[^@/\s]+(/\S*)?$", description="Where to POST.")]
    secret: Annotated[Secret, Field(description="Key of the signature: ${ENV} or file:/path; whsec_… is base64.")]
    old_secret: Annotated[Secret | None, Field(description="Signed with as well while receivers change to a new secret.")] = None
    events: Annotated[
        frozenset[str],
        Field(min_length=1, description="delivered, deferred, bounced, mailbox_event, or names of mailbox events: MessageNew."),
    ] = frozenset({"delivered", "deferred", "bounced"})
    deadline: Annotated[float, Field(gt=0, le=300, description="Seconds for one answer; see also timeout, 30 s.")] = 20.0

    @field_validator("events")
    @classmethod
    def _known(cls, events: frozenset[str]) -> frozenset[str]:
        for name in sorted(events - HOOKS):
            if not _EVENT.match(name):
                raise ValueError(f"{name} is neither one of {', '.join(sorted(HOOKS))} nor the name of a mailbox event")
        return events

    @field_validator("secret", "old_secret")
    @classmethod
    def _a_key(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            key_of(secret.get_secret_value())
        return secret

    @cached_property
    def keys(self) -> tuple[bytes, ...]:
        return tuple(key_of(s.get_secret_value()) for s in (self.secret, self.old_secret) if s is not None)
