"""What a notification says, as values."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass
from typing import Literal

from mta.model.address import Address

Action = Literal["failed", "delayed", "delivered", "relayed", "expanded"]


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """What became of one recipient (RFC 3464 §2.3).

    orcpt        ORCPT value verbatim ("rfc822;Bob+40x.org") or None
    status       enhanced status code (RFC 3463), or "": made from ``diagnostic``, else from the action
    diagnostic   what was said, one line: "550 5.1.1 no such user", or a text of ours
    remote       who said it: "mx.example.org[192.0.2.1]:25", or "" for us
    attempted    wall clock of the last attempt, or None
    retry_until  wall clock until which a delayed message is tried, or None
    """

    address: Address
    action: Action
    orcpt: str | None = None
    status: str = ""
    diagnostic: str = ""
    remote: str = ""
    attempted: float | None = None
    retry_until: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One notification to one sender about recipients of one message.

    id            queue id of the notification; its Message-ID and boundary are made from it
    sender        who is told; never the null sender: nothing is reported to that (RFC 3461 §6)
    hostname      of this server
    now           wall clock; ``received_at``: when the message came
    original      the message; its header section at least
    complete      ``original`` is the whole message
    ret           RET value of the message ("FULL", "HDRS") or None
    envid         ENVID value verbatim, or None
    queue_id      of the message, for the people who look into the log
    subject       instead of the usual one, or ""
    text          above the usual text, lines separated by LF, or ""
    """

    id: str
    sender: Address
    hostname: str
    now: float
    received_at: float
    recipients: tuple[RecipientReport, ...]
    original: bytes
    complete: bool = True
    ret: str | None = None
    envid: str | None = None
    queue_id: str = ""
    message_id: str = ""
    subject: str = ""
    text: str = ""
