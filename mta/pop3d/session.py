"""What one connection is: who speaks, the open maildrop. Verbs work on this; octets go by ``out``."""
# SPDX-License-Identifier: Apache-2.0

import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from mta.directory.sasl import Door
from mta.pop3d.maildrop import Maildrop
from mta.wire.pop3 import Command, err
from mta.wire.pop3.reply import Code

if TYPE_CHECKING:
    from mta.pop3d.server import Pop3Server


class Refusal(Exception):
    """``-ERR``: a verb raises it; ``octets`` is the answer."""

    def __init__(self, text: str, code: Code = "") -> None:
        super().__init__(text)
        self.octets = err(text, code)


class Out(Protocol):
    """The way to the client; the connection is one."""

    def write(self, octets: bytes) -> None:
        """Queue octets for sending."""
        ...

    async def drain(self) -> None:
        """Wait until the client has taken most of what was written, and give other sessions their turn.

        Raises ConnectionResetError when the client is gone.
        """
        ...

    async def line(self) -> bytes:
        """The next line that the client sends, outside any command."""
        ...

    def upcoming(self) -> Iterator[Command]:
        """The commands that the client has sent already, behind the one at work."""
        ...

    async def start_tls(self) -> None: ...

    @property
    def listener_hides(self) -> frozenset[str]:
        """Capabilities that the listener does not show."""
        ...

    @property
    def secured(self) -> ssl.SSLObject | None:
        """The TLS session under way."""
        ...


class Session:
    """State of RFC 1939 §3: no ``maildrop``: AUTHORIZATION; with one: TRANSACTION. Fulfils mta_hooks.views.Session.

    username  what USER said, or ""
    octets    messages read early for the RETR commands that follow, by their index in the maildrop
    ending    nothing more is obeyed
    reason    why it ends, for ``smtp_disconnect``; "" when there is nothing better to say than closed or lost
    """

    __slots__ = (
        "client_ip", "client_port", "ending", "failures", "helo", "id", "local_ip", "local_port", "maildrop", "notes", "octets", "out",
        "protocol", "reason", "server", "tls", "user", "username",
    )  # fmt: skip

    def __init__(self, server: "Pop3Server", out: Out) -> None:
        self.server = server
        self.out = out
        self.id = ""
        self.protocol = "pop3"
        self.client_ip = self.local_ip = ""
        self.client_port = self.local_port = 0
        self.tls = False
        self.helo = ""
        self.user = ""
        self.notes: dict[str, Any] = {}
        self.username = ""
        self.maildrop: Maildrop | None = None
        self.octets: dict[int, bytes] = {}
        self.failures = 0
        self.ending = False
        self.reason = ""

    @property
    def secure(self) -> bool:
        """A password may be said: under TLS, or where the config allows it without."""
        return self.tls or self.server.config.auth.plaintext_without_tls

    @property
    def door(self) -> Door:
        """The connection as SASL sees it."""
        return Door(self, self.secure, self.out.secured)

    @property
    def open(self) -> Maildrop:
        assert self.maildrop is not None  # the verb table lets no one else in
        return self.maildrop

    def end(self, reason: str) -> None:
        """Nothing more is obeyed."""
        self.ending = True
        self.reason = self.reason or reason

    def number(self, argument: bytes) -> int:
        """Return the index of the message that a command names. Raises Refusal."""
        index = self.open.index(argument)
        if index < 0:
            raise Refusal("no such message")
        return index

    def leave(self) -> None:
        """The maildrop is free for others; nothing is removed."""
        if self.maildrop is not None:
            self.server.unlock(self.maildrop.mailbox)
            self.maildrop = None
        self.octets.clear()
