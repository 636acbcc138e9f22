"""ALPN (RFC 7301): a client that offers protocols, and not the listener's, gets no further than the handshake.

That is what keeps a browser from being sent here in another server's name (ALPACA). Mail clients offer nothing, which is fine.
OpenSSL as Python has it cannot refuse in the handshake, so that what such clients offer is chosen, too, and then hung up on:
before a single octet of theirs is read, or one of ours sent.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from typing import cast

_OURS = {
    "smtp": ("smtp", "esmtp"),
    "lmtp": ("lmtp",),
    "imap": ("imap",),
    "pop3": ("pop3",),
    "http": ("http/1.1", "http/1.0"),
}
OFFERED = [
    *(name for names in _OURS.values() for name in names),
    "h2", "h2c", "h3", "http/0.9", "managesieve", "ftp", "nntp", "irc", "xmpp-client", "xmpp-server", "sip/2", "mqtt", "dot", "acme-tls/1",
]  # fmt: skip
"""For ``SSLContext.set_alpn_protocols``: the server's order decides."""


def check_alpn(transport: asyncio.BaseTransport, protocol: str) -> None:
    """``protocol``: of the listener. Aborts and raises ConnectionAbortedError when the client came for another."""
    session = transport.get_extra_info("ssl_object")
    chosen = session.selected_alpn_protocol() if session is not None else None
    if chosen is not None and chosen not in _OURS.get(protocol, _OURS["smtp"]):
        cast(asyncio.Transport, transport).abort()
        raise ConnectionAbortedError(f"the client came for {chosen}, not for {protocol}")


class Gate(asyncio.Protocol):
    """Stands in front of a listener's protocol until the handshake is over. ``refused``: why the protocol hears nothing."""

    def __init__(self, inner: asyncio.BaseProtocol, protocol: str) -> None:
        self._inner, self._protocol = inner, protocol
        self.refused = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        try:
            check_alpn(transport, self._protocol)
        except ConnectionAbortedError as exc:
            self.refused = str(exc)
            return
        cast(asyncio.Transport, transport).set_protocol(self._inner)
        self._inner.connection_made(transport)
