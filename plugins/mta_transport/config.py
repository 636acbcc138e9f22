"""Config of the plugin.

plugins:
  transport:
    recipients: hash:/etc/postfix/transport
    sender_relays: {"@news.example.org": "[mail.news.example]:587"}
    passwords: hash:/etc/postfix/sasl_passwd
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mta_hooks.lookup import TableSource


class TransportConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    recipients: Annotated[
        TableSource | None, Field(description="Where mail for an address or domain goes: user@domain, domain, .parent, *.")
    ] = None
    senders: Annotated[
        TableSource | None,
        Field(description="The same by sender, where recipients has nothing: user@domain, @domain; <> is the null sender."),
    ] = None
    sender_relays: Annotated[
        TableSource | None, Field(description="The host that mail of a sender goes through: [host]:port. Asked after both.")
    ] = None
    passwords: Annotated[
        TableSource | None,
        Field(description="name:password for AUTH there, by sender, then by next hop: user@domain, [host]:port, host."),
    ] = None
    auth_tls: Annotated[
        Literal["encrypt", "may"],
        Field(description="TLS where a password is sent: encrypt insists and verifies, may is opportunistic."),
    ] = "encrypt"
    names: Annotated[
        dict[str, str],
        Field(description="Other transports by the name that tables have for them: dovecot: lmtp:unix:/run/dovecot/lmtp."),
    ] = {}
