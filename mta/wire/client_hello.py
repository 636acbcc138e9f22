"""The server's name in a TLS ClientHello (RFC 8446 §4.1.2, RFC 6066 §3), read before the handshake is anybody's.

Only looks: what is wrong with the octets is for the TLS library to find.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator

MAX_HELLO = 2**16

_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 22, 1, 0, 0


def server_name(octets: bytes) -> str | None:
    """The name that the client asks for, in lower case without a dot at its end; "" when there is none. None: more octets are needed."""
    hello, complete = _handshake(octets)
    if len(hello) < 4 or len(hello) < 4 + int.from_bytes(hello[1:4], "big"):
        return None if complete and (not hello or hello[0] == _CLIENT_HELLO) and len(octets) < MAX_HELLO else ""
    if hello[0] != _CLIENT_HELLO:
        return ""
    body = memoryview(hello)[4 : 4 + int.from_bytes(hello[1:4], "big")]
    at = 34  # version and random
    for width in (1, 2, 1):  # session id, cipher suites, compression methods
        at += width + int.from_bytes(body[at : at + width], "big")
    for kind, value in _fields(body[at + 2 : at + 2 + int.from_bytes(body[at : at + 2], "big")], 2):
        if kind == _SERVER_NAME:
            return next((_name(name) for of, name in _fields(value[2:], 1) if of == _HOST_NAME), "")
    return ""


def _handshake(octets: bytes) -> tuple[bytes, bool]:
    """The handshake octets of the records at the start; False when what follows is no such record."""
    out = b""
    at = 0
    while at < len(octets):
        if octets[at] != _HANDSHAKE:
            return out, False
        size = int.from_bytes(octets[at + 3 : at + 5], "big")
        out += octets[at + 5 : at + 5 + size]
        at += 5 + size
    return out, True


def _fields(octets: memoryview, width: int) -> Iterator[tuple[int, memoryview]]:
    """(type of ``width`` octets, value with a length of two) pairs."""
    at = 0
    while at + width + 2 <= len(octets):
        size = int.from_bytes(octets[at + width : at + width + 2], "big")
        yield int.from_bytes(octets[at : at + width], "big"), octets[at + width + 2 : at + width + 2 + size]
        at += width + 2 + size


def _name(octets: memoryview) -> str:
    name = bytes(octets).lower().rstrip(b".")
    return name.decode("ascii") if name.isascii() and len(name) < 256 and b"\0" not in name else ""
