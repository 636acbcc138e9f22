"""PROXY headers on ports with implicit TLS: they come before the handshake, and so before there is a protocol object.

The header is read here to its last octet and none beyond, and given to the protocol when the handshake is done: it then
reads it as it does on the other ports, and believes it or not.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import socket
from ipaddress import ip_address
from typing import Any

from mta.net.listener import ListenerSpec
from mta.wire.proxy import MAX_V2, SIGNATURE, read_proxy

_WAIT = 10.0  # seconds: the balancer is next door and sends it with the connection


def from_balancer(spec: ListenerSpec, address: Any) -> bool:
    """Does this connection begin with a header that has to be read before TLS?"""
    if not (spec.tls and spec.proxy_protocol and isinstance(address, tuple)):
        return False
    client = ip_address(str(address[0]).partition("%")[0])
    mapped = getattr(client, "ipv4_mapped", None)
    return any((mapped or client) in network for network in spec.proxy_protocol)


async def read_header(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bytes:
    """Raises ValueError for what is no header, TimeoutError, EOFError, OSError."""
    octets = b""
    async with asyncio.timeout(_WAIT):
        while not octets or read_proxy(octets) is None:
            received = await loop.sock_recv(sock, _missing(octets))
            if not received:
                raise EOFError
            octets += received
    return octets


def _missing(octets: bytes) -> int:
    """How many octets the header has at least beyond these; no header is shorter than twelve."""
    if len(octets) < 12:
        return 12 - len(octets)
    if not octets.startswith(SIGNATURE):
        return 1
    if len(octets) < 16:
        return 16 - len(octets)
    return max(1, min(16 + int.from_bytes(octets[14:16], "big"), MAX_V2) - len(octets))
