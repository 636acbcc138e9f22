"""The client's side of SCRAM (RFC 5802), for tests that log in."""
# SPDX-License-Identifier: Apache-2.0

import base64
import hashlib
import hmac
import secrets


class ScramClient:
    """``step`` takes each challenge, decoded (``None`` first), and returns the response.

    binding  ("tls-unique", data); None: "n", or "y" with ``pretends`` (it could bind, and was not offered to)
    verified  the server proved that it knows the account
    """

    def __init__(
        self,
        hash: str,
        username: str,
        password: str,
        *,
        binding: tuple[str, bytes] | None = None,
        pretends: bool = False,
        authzid: str = "",
    ) -> None:
        self._hash = hash
        self._password = password
        flag = f"p={binding[0]}" if binding is not None else "y" if pretends else "n"
        self._header = f"{flag},{'a=' + _escaped(authzid) if authzid else ''},".encode()
        self._data = binding[1] if binding is not None else b""
        self._bare = f"n={_escaped(username)},r={secrets.token_urlsafe(12)}".encode()
        self._signature = b""
        self.verified = False
        self.challenges: list[bytes] = []

    def step(self, challenge: bytes | None) -> bytes:
        if challenge is None or (not challenge and not self.challenges):
            return self._header + self._bare
        self.challenges.append(challenge)
        if len(self.challenges) > 1:
            self.verified = hmac.compare_digest(challenge, b"v=" + base64.b64encode(self._signature))
            return b""
        fields = dict(part.split(b"=", 1) for part in challenge.split(b","))
        salted = hashlib.pbkdf2_hmac(self._hash, self._password.encode(), base64.b64decode(fields[b"s"]), int(fields[b"i"]))
        key = hmac.digest(salted, b"Client Key", self._hash)
        final = b"c=%b,r=%b" % (base64.b64encode(self._header + self._data), fields[b"r"])
        message = b",".join((self._bare, challenge, final))
        signature = hmac.digest(hashlib.new(self._hash, key).digest(), message, self._hash)
        self._signature = hmac.digest(hmac.digest(salted, b"Server Key", self._hash), message, self._hash)
        return final + b",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True)))


def _escaped(name: str) -> str:
    return name.replace("=", "=3D").replace(",", "=2C")
