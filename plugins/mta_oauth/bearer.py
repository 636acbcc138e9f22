"""OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's older form): a bearer token (RFC 6750) in one response; a failure is told as JSON first."""
# SPDX-License-Identifier: Apache-2.0

import json
import re
from typing import ClassVar

from mta_hooks import Context
from mta_hooks.sasl import Challenge, Identified, Outcome, Rejected, SaslError, SaslPeer
from mta_oauth.config import OauthConfig
from mta_oauth.jwt import BadToken
from mta_oauth.tokens import Tokens

_GS2 = re.compile(rb"[ny],(?:a=([^,\x00\x01]{1,1024}))?,\x01")
_PAIRS = re.compile(rb"(?:[A-Za-z]{1,32}=[^\x00\x01]*\x01)+\x01\Z")
_TOKEN = re.compile(rb"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)\Z")  # RFC 6750 §2.1


class Bearer:
    """What both have in common. ``tokens`` is the plugin's."""

    name: ClassVar[str]
    tokens: ClassVar[Tokens]
    needs_tls = True
    server_first = False

    def __init__(self, peer: SaslPeer, ctx: Context) -> None:
        self._ctx = ctx
        self._rejected: Rejected | None = None

    async def step(self, response: bytes | None) -> Outcome:
        if self._rejected is not None:
            return self._rejected  # whatever the client says to the failure: ^A, or nothing
        wanted, token = self.read(response or b"")
        try:
            address = str(await self.tokens.address_of(token, self._ctx))
        except BadToken as exc:
            return self._refuse(wanted, f"token: {exc}")
        if wanted not in ("", address):
            return self._refuse(wanted, "token: of another account")
        return Identified(address)

    def _refuse(self, wanted: str, reason: str) -> Challenge:
        self._rejected = Rejected(wanted, reason)
        return Challenge(json.dumps(self.failure(self._ctx.config), separators=(",", ":")).encode())

    def read(self, response: bytes) -> tuple[str, str]:
        """(the account that is meant, or "", in lower case; the token). Raises SaslError."""
        raise NotImplementedError

    def failure(self, config: OauthConfig) -> dict[str, str]:
        raise NotImplementedError


class OAuthBearer(Bearer):
    name = "OAUTHBEARER"

    def read(self, response: bytes) -> tuple[str, str]:
        header = _GS2.match(response)
        if header is None:
            raise SaslError("malformed OAUTHBEARER response")
        pairs = _pairs(response[header.end() :])
        name = (header[1] or b"").replace(b"=2C", b",").replace(b"=3D", b"=")
        return _name(name), _token(pairs.get(b"auth", b""))

    def failure(self, config: OauthConfig) -> dict[str, str]:
        """RFC 7628 §3.2.2."""
        said = {"status": "invalid_token", "openid-configuration": config.issuer.rstrip("/") + "/.well-known/openid-configuration"}
        return said | ({"scope": " ".join(config.scopes)} if config.scopes else {})


class XOAuth2(Bearer):
    name = "XOAUTH2"

    def read(self, response: bytes) -> tuple[str, str]:
        pairs = _pairs(response)
        return _name(pairs.get(b"user", b"")), _token(pairs.get(b"auth", b""))

    def failure(self, config: OauthConfig) -> dict[str, str]:
        return {"status": "401", "schemes": "bearer", "scope": " ".join(config.scopes)}


def _pairs(octets: bytes) -> dict[bytes, bytes]:
    if not _PAIRS.match(octets):
        raise SaslError("malformed OAuth response")
    return dict(pair.split(b"=", 1) for pair in octets[:-2].split(b"\x01"))


def _name(octets: bytes) -> str:
    try:
        return octets.decode("utf-8").lower()
    except UnicodeDecodeError:
        raise SaslError("not UTF-8") from None


def _token(octets: bytes) -> str:
    found = _TOKEN.match(octets)
    if found is None:
        raise SaslError("no bearer token")
    return found[1].decode("ascii")
