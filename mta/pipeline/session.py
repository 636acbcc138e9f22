"""The session a message came through, as hooks see it (mta_hooks.views.Session)."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping
from typing import Any

from mta.model.ids import UserId


class MailSession:
    """One SMTP connection, or the place of one for messages that come without (``inject``).

    esmtp     greeted with EHLO
    cipher    of the TLS session, or ""
    user_id   the account's id when it has mailboxes here
    score     sum of what connection hooks added; counts for each message
    steps     trace steps of connection hooks, kept with each message
    """

    __slots__ = (
        "cipher",
        "client_ip",
        "client_port",
        "esmtp",
        "helo",
        "id",
        "local_ip",
        "local_port",
        "notes",
        "protocol",
        "score",
        "steps",
        "tls",
        "user",
        "user_id",
    )

    def __init__(self, id: str, protocol: str, *, tls: bool = False, user: str = "") -> None:
        self.id = id
        self.protocol = protocol
        self.client_ip = ""
        self.client_port = 0
        self.local_ip = ""
        self.local_port = 0
        self.tls = tls
        self.cipher = ""
        self.helo = ""
        self.esmtp = False
        self.user = user
        self.user_id: UserId | None = None
        self.notes: dict[str, Any] = {}
        self.score = 0.0
        self.steps: tuple[Mapping[str, Any], ...] = ()
