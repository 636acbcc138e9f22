"""What every SASL mechanism has in common (RFC 4422 §3): challenges out, responses in, a claim at the end.

A mechanism is a small class; one object is one run of it. ``step`` takes a response, already decoded from base64, and answers a
``Challenge``, or how the run ended: ``Credentials`` to be verified by others, ``Identified`` when the mechanism itself proved who
it is, ``Rejected`` when the proof is wrong. SaslError is for what is not the mechanism's form.
"""
# SPDX-License-Identifier: Apache-2.0

import base64
import binascii
from dataclasses import dataclass, field

MAX_RESPONSE = 12288  # octets of base64 in one response, RFC 4954 §4
MAX_FIELD = 1024  # octets of a name or password: more is no credential but work for the hash


class SaslError(ValueError):
    """The response is not what the mechanism says, or the client gave up ("*"): 501 5.5.2, BAD, -ERR. The text is safe to show."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send ``octets`` in base64 and read one line."""

    octets: bytes

    def encode(self) -> str:
        return base64.b64encode(self.octets).decode("ascii")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who wants to log in. ``authzid`` "" or the identity to act as."""

    username: str
    password: str = field(repr=False)
    authzid: str = ""


@dataclass(frozen=True, slots=True)
class Identified:
    """The mechanism knows who it is. ``final``: octets that go with success (RFC 4422 §3.6), sent as one more challenge."""

    username: str
    authzid: str = ""
    final: bytes = b""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The proof is wrong. ``username`` "" when it is not even known; ``reason`` for the log, never for the peer."""

    username: str
    reason: str = "wrong password"


Claim = Credentials | Identified | Rejected
Outcome = Challenge | Claim


def decode_base64(line: bytes) -> bytes:
    """Decode one response strictly (RFC 4648 §3.3). Raises SaslError, also for "*" (cancelled)."""
    if line == b"*":
        raise SaslError("authentication cancelled")
    if len(line) > MAX_RESPONSE:
        raise SaslError("response too long")
    try:
        return base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise SaslError("not base64") from None


def decode_initial(initial: str) -> bytes:
    """The initial response: "=" stands for an empty one (RFC 4954 §4)."""
    return b"" if initial == "=" else decode_base64(initial.encode("ascii", "replace"))


def text(octets: bytes) -> str:
    """A name or password: UTF-8 (RFC 4616 §2), bounded, without NUL. Raises SaslError."""
    if len(octets) > MAX_FIELD:
        raise SaslError("name or password too long")
    try:
        decoded = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SaslError("not UTF-8") from None
    if "\0" in decoded:
        raise SaslError("NUL in name or password")
    return decoded
