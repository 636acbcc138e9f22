"""SCRAM-SHA-256, client side (RFC 5802, RFC 7677), for logging in at next hops. Left out: channel binding, extensions."""
# SPDX-License-Identifier: Apache-2.0

import base64
import binascii
import hashlib
import hmac
import re

from mta.wire.sasl.exchange import SaslError
from mta.wire.sasl.saslprep import saslprep

MAX_ITERATIONS = 1_000_000  # half a second; a hostile server names any number

_SERVER_FIRST = re.compile(rb"r=([\x21-\x2b\x2d-\x7e]{1,600}),s=([A-Za-z0-9+/=]{4,1000}),i=([0-9]{1,7})(?:,[A-Za-z]=[^,\x00]*)*\Z")


class ScramClient:
    """``first``, then ``proof`` for the first challenge, then ``verify`` for what the server says last."""

    def __init__(self, username: str, password: str, nonce: str) -> None:
        name = saslprep(username).replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={name},r={nonce}".encode()
        self._nonce = nonce.encode("ascii")
        self._password = saslprep(password).encode("utf-8")
        self._signature = b""

    @property
    def first(self) -> bytes:
        return b"n,," + self._bare

    def proof(self, challenge: bytes) -> bytes:
        """The answer to the challenge; takes a while. Raises SaslError for one that is none."""
        found = _SERVER_FIRST.match(challenge)
        if found is None or not found[1].startswith(self._nonce) or len(found[1]) <= len(self._nonce):
            raise SaslError("no SCRAM challenge for us")
        iterations = int(found[3])
        if not 1 <= iterations <= MAX_ITERATIONS:
            raise SaslError("a SCRAM challenge with too many iterations")
        try:
            salt = base64.b64decode(found[2], validate=True)
        except binascii.Error as exc:
            raise SaslError("no SCRAM challenge for us") from exc
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, iterations)
        key = hmac.digest(salted, b"Client Key", "sha256")
        final = b"c=biws,r=" + found[1]
        message = b",".join((self._bare, challenge, final))
        signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        self._signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        return final + b",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True)))

    def verify(self, final: bytes) -> bool:
        """Did the server prove that it knows the password's keys?"""
        return bool(self._signature) and hmac.compare_digest(final, b"v=" + base64.b64encode(self._signature))
