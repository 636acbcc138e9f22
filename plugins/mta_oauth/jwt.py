"""Signed tokens (RFC 7515, RFC 7519) and the keys they are signed with (RFC 7517, RFC 7518, RFC 8037): read, never written.

As RFC 8725 asks: the algorithm must be one that the config names and that fits the key; ``none`` and shared secrets do not exist here.
Left out: encryption, nested tokens, ``crit``, certificates in headers.
"""
# SPDX-License-Identifier: Apache-2.0

import base64
import binascii
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

LONGEST = 12288
MOST_KEYS = 100
_HASHES: Mapping[str, type[hashes.HashAlgorithm]] = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
_CURVES: Mapping[str, tuple[type[ec.EllipticCurve], str, int]] = {
    "P-256": (ec.SECP256R1, "ES256", 32), "P-384": (ec.SECP384R1, "ES384", 48), "P-521": (ec.SECP521R1, "ES512", 66),
}  # fmt: skip
_EDWARDS: Mapping[str, Callable[[bytes], Any]] = {
    "Ed25519": ed25519.Ed25519PublicKey.from_public_bytes,
    "Ed448": ed448.Ed448PublicKey.from_public_bytes,
}
_TYPES = (None, "jwt", "at+jwt", "application/at+jwt")


class BadToken(Exception):
    """Why a token lets nobody in; for the log."""


class UnknownKey(BadToken):
    """Signed by a key that we do not have: the issuer may have a new one."""


@dataclass(frozen=True, slots=True)
class Key:
    """``algorithms`` that it may be used with; ``width``: octets of each half of an ECDSA signature."""

    id: str | None
    algorithms: frozenset[str]
    public: Any
    width: int = 0


@dataclass(frozen=True, slots=True)
class Token:
    """A token taken apart, not verified."""

    algorithm: str
    key_id: str | None
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


def read_keys(octets: bytes) -> list[Key]:
    """A JWK set; keys that are not for signatures of ours are passed over. Raises ValueError."""
    found = json.loads(octets)
    entries = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise ValueError("no JWK set")
    keys = []
    for entry in entries[:MOST_KEYS]:
        try:
            key = _read_key(entry)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        if key is not None:
            keys.append(key)
    return keys


def _read_key(entry: Mapping[str, Any]) -> Key | None:
    if entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ["verify"]):
        return None
    kind, id, alg = entry["kty"], entry.get("kid"), entry.get("alg")
    width = 0
    if kind == "RSA":
        public: Any = rsa.RSAPublicNumbers(_number(entry["e"]), _number(entry["n"])).public_key()
        if public.key_size < 2048:  # RFC 7518 §3.3
            return None
        fitting = {f"{family}{size}" for family in ("RS", "PS") for size in _HASHES}
    elif kind == "EC":
        curve, name, width = _CURVES[entry["crv"]]
        public = ec.EllipticCurvePublicNumbers(_number(entry["x"]), _number(entry["y"]), curve()).public_key()
        fitting = {name}
    elif kind == "OKP":
        public = _EDWARDS[entry["crv"]](decode(entry["x"]))
        fitting = {"EdDSA"}
    else:
        return None
    return Key(id, frozenset({alg} & fitting if alg else fitting), public, width)


def _number(text: str) -> int:
    return int.from_bytes(decode(text), "big")


def decode(text: str) -> bytes:
    """base64url without padding (RFC 7515 §2). Raises ValueError."""
    if "=" in text or "+" in text or "/" in text:
        raise ValueError("not base64url")
    try:
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("not base64url") from None


def read_token(text: str) -> Token:
    """Raises BadToken."""
    parts = text.split(".")
    if len(parts) != 3 or len(text) > LONGEST:
        raise BadToken("not a signed token")
    try:
        header, claims, signature = json.loads(decode(parts[0])), json.loads(decode(parts[1])), decode(parts[2])
    except (ValueError, RecursionError):
        raise BadToken("malformed token") from None
    if not isinstance(header, dict) or not isinstance(claims, dict) or "crit" in header:
        raise BadToken("malformed token")
    kind, key_id = header.get("typ"), header.get("kid")
    if (kind.lower() if isinstance(kind, str) else kind) not in _TYPES:
        raise BadToken("a token of another kind")
    return Token(
        str(header.get("alg")), key_id if isinstance(key_id, str) else None, claims, text.rpartition(".")[0].encode(), signature
    )


def verify(token: Token, keys: Sequence[Key], algorithms: Collection[str]) -> None:
    """Raises BadToken, UnknownKey."""
    if token.algorithm not in algorithms:
        raise BadToken(f"signed with {token.algorithm[:20]}, which is not believed")
    fitting = [k for k in keys if token.algorithm in k.algorithms and (token.key_id is None or k.id == token.key_id)]
    if not fitting:
        raise UnknownKey("signed with a key that the issuer does not publish")
    if not any(_is_signed(token, key) for key in fitting):
        raise BadToken("the signature is wrong")


def _is_signed(token: Token, key: Key) -> bool:
    name, signature = token.algorithm, token.signature
    try:
        if name == "EdDSA":
            key.public.verify(signature, token.signed)
            return True
        hash = _HASHES[name[2:]]()
        if name.startswith("ES"):
            if len(signature) != 2 * key.width:
                return False
            halves = (int.from_bytes(half, "big") for half in (signature[: key.width], signature[key.width :]))
            key.public.verify(encode_dss_signature(*halves), token.signed, ec.ECDSA(hash))
        elif name.startswith("PS"):
            key.public.verify(signature, token.signed, padding.PSS(padding.MGF1(hash), hash.digest_size), hash)
        else:
            key.public.verify(signature, token.signed, padding.PKCS1v15(), hash)
    except InvalidSignature:
        return False
    return True
