"""SASL mechanisms that a plugin brings with ``registry.sasl``: for SMTP, IMAP and POP3 alike (RFC 4422).

    class Knock:
        name = "X-KNOCK"
        needs_tls = True
        server_first = False

        def __init__(self, peer, ctx):
            self.peer = peer

        async def step(self, response):
            if response == b"knock":
                return Identified("porter@example.org")
            return Rejected("")

The engine does the rest: base64, initial responses, "*", bounds, ``auth_policy``, the account, ``session_login``, the pause after a
failure, ``auth_result``, log lines. An exception is a temporary failure; a raised SaslError says that the client's form is wrong.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable, Sequence
from typing import Protocol

from mta.model.directory import ScramKeys, StoredKeys
from mta.wire.sasl import Challenge, Claim, Credentials, Identified, Outcome, Rejected, SaslError
from mta_hooks.services import Context
from mta_hooks.views import Session

__all__ = [
    "Challenge", "Claim", "Credentials", "Identified", "Mechanism", "Outcome", "Rejected", "SaslError", "SaslPeer", "ScramKeys",
    "StoredKeys",
]  # fmt: skip


class SaslPeer(Protocol):
    """The client and its connection, as one run of a mechanism sees them."""

    service: str
    """"smtp", "imap" or "pop3"."""
    session: Session

    @property
    def mechanisms(self) -> Sequence[str]:
        """What this client was offered: a mechanism with "-PLUS" among them can be told from a downgrade."""
        ...

    @property
    def certificate(self) -> bytes | None:
        """The client's own, in DER, verified against ``tls.client_ca``; None when it sent none."""
        ...

    def channel_binding(self, kind: str) -> bytes | None:
        """Data of "tls-exporter", "tls-server-end-point" or "tls-unique"; None when this connection has none of that kind."""
        ...

    async def keys(self, username: str) -> StoredKeys | None:
        """What ``credentials_lookup`` knows, after ``auth_policy`` agreed. None: nobody, or nobody who may log in: go on as if
        there were one, so that a client cannot tell. Raises what ends the run; let it pass."""
        ...


class Mechanism(Protocol):
    """A class; each object is one run. ``step`` may be ``def`` or ``async def``.

    name             upper case, at most 20 of A-Z, 0-9, "-", "_"
    needs_tls        it says a password, or a token, or nothing protects what follows: offered under TLS only, where the config
                     does not allow otherwise
    server_first     the first challenge is ours: ``step(None)`` makes it
    channel_binding  offered only where there is channel binding data; may be left out
    """

    name: str
    needs_tls: bool
    server_first: bool

    def __init__(self, peer: SaslPeer, ctx: Context) -> None: ...

    def step(self, response: bytes | None) -> Outcome | Awaitable[Outcome]:
        """The next response of the client, decoded; ``None`` before the first of a server-first mechanism."""
        ...
