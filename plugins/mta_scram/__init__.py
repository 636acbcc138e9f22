"""SCRAM-SHA-256 and SCRAM-SHA-1, with and without channel binding (RFC 5802, RFC 7677, RFC 5929, RFC 9266), for SMTP, IMAP and POP3.

The password never crosses the wire, and the server proves that it knows the account. The keys come from ``credentials_lookup``: the
built-in directory has them for every password set since it keeps them, and adds them when somebody logs in by PLAIN or LOGIN.
Left out: SHA-512 (no client speaks it alone), and changing passwords.
"""
# SPDX-License-Identifier: Apache-2.0

import hmac
import secrets
from typing import ClassVar

from mta.wire.sasl.scram import (
    ITERATIONS,
    SALT_SIZE,
    ClientFirst,
    ServerFirst,
    read_client_first,
    server_first,
    verify,
)
from mta_hooks import Context, hookimpl
from mta_hooks.sasl import Challenge, Identified, Outcome, Rejected, SaslError, SaslPeer, ScramKeys
from mta_hooks.services import Registry

_SALTS = "salts"


class Scram:
    """One exchange: two messages of the client, two of ours."""

    name: ClassVar[str]
    hash: ClassVar[str]
    needs_tls = True  # the password is safe without; what follows the login is not
    server_first = False
    channel_binding: ClassVar[bool] = False

    def __init__(self, peer: SaslPeer, ctx: Context) -> None:
        self._peer = peer
        self._ctx = ctx
        self._first: ClientFirst | None = None
        self._ours: ServerFirst
        self._keys: ScramKeys
        self._others: list[ScramKeys] = []
        self._known = False
        self._binding = b""

    async def step(self, response: bytes | None) -> Outcome:
        if self._first is not None:
            return self._finish(self._first, response or b"")
        first = read_client_first(response or b"")
        if first.flag == "y" and f"{self.name}-PLUS" in self._peer.mechanisms:  # RFC 5802 §6: somebody hid it from the client
            return Rejected(first.username, "channel binding was hidden from the client")
        if (first.flag == "p") is not self.channel_binding:
            raise SaslError("channel binding goes with the -PLUS mechanisms, and only with them")
        if first.flag == "p":
            binding = self._peer.channel_binding(first.binding)
            if binding is None:
                raise SaslError("this channel binding is not supported")
            self._binding = binding
        secret = await _secret(self._ctx)
        stored = await self._peer.keys(first.username)
        found = [keys for keys in stored.scram if keys.hash == self.hash] if stored is not None else []
        self._known = bool(found)
        self._keys = found[0] if found else _nobody(secret, self.hash, first.username)
        salted = (self._keys.salt, self._keys.iterations)
        self._others = [keys for keys in found[1:] if (keys.salt, keys.iterations) == salted]
        self._first = first
        self._ours = server_first(first, secrets.token_urlsafe(18).encode("ascii"), self._keys.salt, self._keys.iterations)
        return Challenge(self._ours.octets)

    def _finish(self, first: ClientFirst, response: bytes) -> Outcome:
        final = verify(first, self._ours, self._keys, response, self._binding)
        for keys in self._others:  # further passwords of the account
            final = final or verify(first, self._ours, keys, response, self._binding)
        if not self._known:
            return Rejected(first.username, "no such account, or no SCRAM keys")
        return Rejected(first.username) if final is None else Identified(first.username, first.authzid, final)


class ScramSha256(Scram):
    name = "SCRAM-SHA-256"
    hash = "sha256"


class ScramSha256Plus(ScramSha256):
    name = "SCRAM-SHA-256-PLUS"
    channel_binding = True


class ScramSha1(Scram):
    name = "SCRAM-SHA-1"
    hash = "sha1"


class ScramSha1Plus(ScramSha1):
    name = "SCRAM-SHA-1-PLUS"
    channel_binding = True


def _nobody(secret: bytes, hash: str, username: str) -> ScramKeys:
    """Keys that no password has, with a salt that is always the same for a name: an account that is not there looks like one."""
    salt = hmac.digest(secret, f"{hash} {username.lower()}".encode(), "sha256")[:SALT_SIZE]
    return ScramKeys(hash, salt, ITERATIONS, bytes(32 if hash == "sha256" else 20), b"")


async def _secret(ctx: Context) -> bytes:
    """The same for all workers and after a restart. Read each time, so that nobody sees which names need it."""
    if (secret := await ctx.kv.get(_SALTS)) is None:
        await ctx.kv.set(_SALTS, secrets.token_bytes(32))
        secret = await ctx.kv.get(_SALTS)
    return secret or b""


@hookimpl
def register(registry: Registry) -> None:
    for mechanism in (ScramSha256Plus, ScramSha1Plus, ScramSha256, ScramSha1):
        registry.sasl(mechanism)


@hookimpl
async def startup(ctx: Context) -> None:
    await _secret(ctx)
