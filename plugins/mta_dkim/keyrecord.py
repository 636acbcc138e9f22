"""Public keys from DNS (RFC 6376 §3.6.1, RFC 8463 §3), parsed once for each record seen."""
# SPDX-License-Identifier: Apache-2.0

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from dkim.util import InvalidTagValueList, parse_tag_value

from mta_dkim.signature import Signature

PublicKey = RSAPublicKey | Ed25519PublicKey

MIN_BITS = 1024
"""RFC 8301 §3.2: verifiers must not accept fewer."""
MAX_BITS = 8192
"""More cost a peer nothing and us time."""

_SPACE = re.compile(rb"\s+")


class NoKey(ValueError):
    """There is no key that could verify the signature: permerror. The text is for Authentication-Results."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    key: PublicKey
    strict: bool
    """t=s: the identity's domain must be d= itself."""


def key_name(signature: Signature) -> str:
    """The name in DNS, or "" when it is too long to be one."""
    name = f"{signature.selector}._domainkey.{signature.domain}"
    return name.lower() if len(name) <= 253 else ""


def choose_key(records: Sequence[bytes], signature: Signature) -> KeyRecord:
    """Return the key. Several records should not be (§3.6.2.2): the first that is a key counts. Raises NoKey."""
    candidates = [record for record in records if b"p=" in record]
    if not candidates:
        raise NoKey("no key for signature")
    record = read_record(candidates[0][:8192], "ed25519" if signature.algorithm.startswith("ed25519") else "rsa")
    if record.strict and signature.identity != signature.domain:
        raise NoKey("key does not allow this i=")
    return record


@lru_cache(maxsize=512)
def read_record(record: bytes, kind: str) -> KeyRecord:
    """``kind``: "rsa" or "ed25519". Raises NoKey."""
    try:
        tags = parse_tag_value(record)
    except InvalidTagValueList as exc:
        raise NoKey("malformed key record") from exc
    if tags.get(b"v", b"DKIM1") != b"DKIM1":
        raise NoKey("unknown key version")
    if tags.get(b"k", b"rsa").lower() != kind.encode("ascii"):
        raise NoKey("key is of another type")
    if b"h" in tags and b"sha256" not in [h.strip().lower() for h in tags[b"h"].split(b":")]:
        raise NoKey("key does not allow sha256")
    if not {b"*", b"email"} & {s.strip().lower() for s in tags.get(b"s", b"*").split(b":")}:
        raise NoKey("key is not for email")
    strict = b"s" in [flag.strip().lower() for flag in tags.get(b"t", b"").split(b":")]
    return KeyRecord(_read_key(_SPACE.sub(b"", tags.get(b"p", b"")), kind), strict)


def _read_key(encoded: bytes, kind: str) -> PublicKey:
    if not encoded:
        raise NoKey("key was revoked")
    try:
        octets = base64.b64decode(encoded, validate=True)
        key = Ed25519PublicKey.from_public_bytes(octets) if kind == "ed25519" else load_der_public_key(octets)
    except (binascii.Error, ValueError, UnsupportedAlgorithm) as exc:
        raise NoKey("malformed key") from exc
    if isinstance(key, Ed25519PublicKey):
        return key
    if not isinstance(key, RSAPublicKey):
        raise NoKey("key is of another type")
    if not MIN_BITS <= key.key_size <= MAX_BITS:
        raise NoKey("key has a size that is not accepted")
    return key
