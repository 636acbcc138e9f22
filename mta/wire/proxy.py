"""The header that a balancer puts before a connection (haproxy's proxy-protocol.txt, versions 1 and 2), from octets.

It names the client; whoever reads it must know that the peer is a balancer. UDP, Unix sockets and TLVs are passed over.
"""
# SPDX-License-Identifier: Apache-2.0

import ipaddress
import struct
from dataclasses import dataclass

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
MAX_V1 = 107
MAX_V2 = 16 + 2048


@dataclass(frozen=True, slots=True)
class Proxied:
    """``size`` octets were the header. ``client_ip`` "": the balancer speaks for itself (LOCAL, UNKNOWN)."""

    size: int
    client_ip: str = ""
    client_port: int = 0
    local_ip: str = ""
    local_port: int = 0


def read_proxy(octets: bytes) -> Proxied | None:
    """None: more octets are needed. Raises ValueError for what is no header."""
    if octets.startswith(SIGNATURE):
        return _read_v2(octets)
    if SIGNATURE.startswith(octets[:12]) or b"PROXY ".startswith(octets[:6]):
        end = octets.find(b"\r\n", 0, MAX_V1)
        if octets.startswith(b"PROXY ") and end >= 0:
            return _read_v1(octets[:end])
        if len(octets) < MAX_V1:
            return None
    raise ValueError("no PROXY header")


def _read_v1(line: bytes) -> Proxied:
    words = line.decode("ascii").split(" ")
    size = len(line) + 2
    if words[1] == "UNKNOWN":
        return Proxied(size)
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise ValueError("malformed PROXY header")
    client, local = ipaddress.ip_address(words[2]), ipaddress.ip_address(words[3])
    ports = [int(word) if word.isdigit() else -1 for word in words[4:]]
    if not client.version == local.version == int(words[1][3]) or not all(0 <= port <= 65535 for port in ports):
        raise ValueError("malformed PROXY header")
    return Proxied(size, str(client), ports[0], str(local), ports[1])


def _read_v2(octets: bytes) -> Proxied | None:
    if len(octets) < 16:
        return None
    command, family, length = octets[12], octets[13], int.from_bytes(octets[14:16], "big")
    size = 16 + length
    if command not in (0x20, 0x21) or size > MAX_V2:
        raise ValueError("malformed PROXY header")
    if len(octets) < size:
        return None
    width = {0x11: 4, 0x21: 16}.get(family)  # TCP over IPv4, over IPv6
    if command == 0x20 or width is None:
        return Proxied(size)
    if length < 2 * width + 4:
        raise ValueError("malformed PROXY header")
    client, local = ipaddress.ip_address(octets[16 : 16 + width]), ipaddress.ip_address(octets[16 + width : 16 + 2 * width])
    ports = struct.unpack_from(">HH", octets, 16 + 2 * width)
    return Proxied(size, str(client), ports[0], str(local), ports[1])
