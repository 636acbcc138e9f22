"""SCRAM, server side (RFC 5802; SHA-256: RFC 7677): the keys kept for a password, the messages, the proof.

The server never sees the password and keeps nothing that logs in: StoredKey verifies a proof, ServerKey proves that we know the
account. Channel binding names: RFC 5929 (tls-unique, tls-server-end-point), RFC 9266 (tls-exporter). Left out: extensions ("m=").
"""
# SPDX-License-Identifier: Apache-2.0

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import NamedTuple

from mta.model.directory import ScramKeys
from mta.wire.sasl.exchange import SaslError, text
from mta.wire.sasl.saslprep import saslprep

ITERATIONS = 15_000
"""RFC 7677 §4 says at least 4096; this costs a phone 20 ms, and whoever steals the keys three times as much for each guess."""
SALT_SIZE = 16
HASHES = ("sha256", "sha1")

_FIRST = re.compile(
    rb"(?:(p)=([A-Za-z0-9.-]{1,64})|([ny])),(?:a=([^,\x00]{1,1024}))?,(n=([^,\x00]{1,1024}),r=([\x21-\x2b\x2d-\x7e]{8,256})((?:,[A-Za-z]=[^,\x00]*)*))\Z"
)
_FINAL = re.compile(
    rb"(c=([A-Za-z0-9+/=]{4,2048}),r=([\x21-\x2b\x2d-\x7e]{1,600})(?:,[A-Za-z]=[^,\x00]*)*),p=([A-Za-z0-9+/=]{4,200})\Z"
)
_NAME = re.compile(r"=(?!2C|3D)")


class ClientFirst(NamedTuple):
    """``flag`` "n", "y" or "p"; ``binding`` the name behind "p"; ``header`` the octets that "c=" repeats; ``bare`` what is proved."""

    flag: str
    binding: str
    authzid: str
    username: str
    nonce: bytes
    header: bytes
    bare: bytes


@dataclass(frozen=True, slots=True)
class ServerFirst:
    """What the proof is over so far: both first messages."""

    octets: bytes
    nonce: bytes


def derive_keys(password: str, hash: str, salt: bytes, iterations: int = ITERATIONS) -> ScramKeys:
    """The keys to keep for a password (RFC 5802 §3). ``hash``: "sha256" or "sha1". Blocks some milliseconds.

    Raises ValueError for a password that SASLprep forbids.
    """
    salted = hashlib.pbkdf2_hmac(hash, saslprep(password).encode("utf-8", "surrogatepass"), salt, iterations)
    client = hmac.digest(salted, b"Client Key", hash)
    return ScramKeys(hash, salt, iterations, hashlib.new(hash, client).digest(), hmac.digest(salted, b"Server Key", hash))


def read_client_first(octets: bytes) -> ClientFirst:
    """Raises SaslError."""
    found = _FIRST.match(octets)
    if found is None:
        raise SaslError("malformed SCRAM message")
    if found[8].startswith(b",m="):
        raise SaslError("SCRAM extensions are not known here")
    flag = "p" if found[1] else found[3].decode("ascii")
    header = octets[: found.start(5)]
    return ClientFirst(flag, (found[2] or b"").decode("ascii"), _name(found[4] or b""), _name(found[6]), found[7], header, found[5])


def _name(octets: bytes) -> str:
    """A saslname (RFC 5802 §5.1)."""
    name = text(octets)
    if _NAME.search(name):
        raise SaslError("malformed SCRAM name")
    try:
        return saslprep(name.replace("=2C", ",").replace("=3D", "="))
    except ValueError as exc:
        raise SaslError(str(exc)) from None


def server_first(first: ClientFirst, nonce: bytes, salt: bytes, iterations: int) -> ServerFirst:
    """Our half. ``nonce``: fresh printable octets without a comma."""
    both = first.nonce + nonce
    return ServerFirst(b"r=%b,s=%b,i=%d" % (both, base64.b64encode(salt), iterations), both)


def verify(first: ClientFirst, ours: ServerFirst, keys: ScramKeys, octets: bytes, binding: bytes) -> bytes | None:
    """Check the client's final message. Returns our final message, None when the proof is wrong.

    binding  channel binding data, b"" when the client binds to none
    Raises   SaslError: malformed, or of another exchange or TLS channel
    """
    found = _FINAL.match(octets)
    if found is None:
        raise SaslError("malformed SCRAM message")
    if not hmac.compare_digest(_decoded(found[2]), first.header + binding):
        raise SaslError("channel bindings do not match")
    if not hmac.compare_digest(found[3], ours.nonce):
        raise SaslError("nonce does not match")
    message = b",".join((first.bare, ours.octets, found[1]))
    proof = _decoded(found[4])
    signature = hmac.digest(keys.stored_key, message, keys.hash)
    if len(proof) != len(signature):
        raise SaslError("malformed SCRAM proof")
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    if not hmac.compare_digest(hashlib.new(keys.hash, client_key).digest(), keys.stored_key):
        return None
    return b"v=" + base64.b64encode(hmac.digest(keys.server_key, message, keys.hash))


def _decoded(octets: bytes) -> bytes:
    try:
        return base64.b64decode(octets, validate=True)
    except (binascii.Error, ValueError):
        raise SaslError("not base64") from None


# ---- as text, for the database: SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, as PostgreSQL and RFC 5803 write it

_WRITTEN = re.compile(r"SCRAM-SHA-(1|256)\$([0-9]{1,9}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)\Z")
_NAMES = {"sha1": "1", "sha256": "256"}


def format_keys(keys: ScramKeys) -> str:
    salt, stored, server = (base64.b64encode(octets).decode("ascii") for octets in (keys.salt, keys.stored_key, keys.server_key))
    return f"SCRAM-SHA-{_NAMES[keys.hash]}${keys.iterations}:{salt}${stored}:{server}"


def parse_keys(text: str) -> ScramKeys:
    """Raises ValueError."""
    found = _WRITTEN.match(text)
    if found is None:
        raise ValueError("no SCRAM keys")
    salt, stored, server = (base64.b64decode(found[n], validate=True) for n in (3, 4, 5))
    return ScramKeys("sha1" if found[1] == "1" else "sha256", salt, int(found[2]), stored, server)
