"""Signing (RFC 6376 §5): relaxed/relaxed, the whole body, fields oversigned; runs in a thread."""
# SPDX-License-Identifier: Apache-2.0

import base64
import hashlib
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from mta_dkim.canonical import BodyHash, RawField, canonical_header, canonical_signature, split_message
from mta_dkim.private import load_key
from mta_hooks import Message

OVERSIGNED = (
    b"From", b"Sender", b"Reply-To", b"To", b"Cc", b"Subject", b"Date", b"Message-ID", b"In-Reply-To", b"References",
    b"MIME-Version", b"Content-Type", b"Content-Transfer-Encoding",
)  # fmt: skip
"""Named once more than they are there, so that nobody can add one (RFC 6376 §8.15)."""
SIGNED = (b"List-Id", b"List-Help", b"List-Unsubscribe", b"List-Unsubscribe-Post", b"List-Post", b"Content-ID", b"Auto-Submitted")
"""Named as often as they are there: a list on the way may add its own."""
_LINE = 70


def sign(message: Message, domain: str, selector: str, key_path: str, now: float) -> str:
    """Return the value of a DKIM-Signature field, folded. Raises OSError and ValueError when the key cannot be used."""
    key = load_key(key_path)
    header, body = split_message(message.chunks())
    digest = BodyHash("relaxed")
    for piece in body:
        digest.feed(piece)
    names = _names(header)
    algorithm = "ed25519-sha256" if isinstance(key, Ed25519PrivateKey) else "rsa-sha256"
    value = (
        f"v=1; a={algorithm}; c=relaxed/relaxed; d={domain}; s={selector};\r\n\tt={int(now)};\r\n\t"
        f"h={_fold_names(names)};\r\n\tbh={base64.b64encode(digest.finish()).decode('ascii')};\r\n\tb="
    )
    signed = [name.lower() for name in names]
    data = canonical_header("relaxed", header, signed) + canonical_signature("relaxed", (b"DKIM-Signature", value.encode("ascii")))
    if isinstance(key, Ed25519PrivateKey):
        octets = key.sign(hashlib.sha256(data).digest())
    else:
        octets = key.sign(data, PKCS1v15(), SHA256())
    encoded = base64.b64encode(octets).decode("ascii")
    return value + "\r\n\t ".join(encoded[i : i + _LINE] for i in range(0, len(encoded), _LINE))


def _names(header: Sequence[RawField]) -> list[bytes]:
    """Names for h=: each oversigned field as often as it is there and once more, others as often as they are there."""
    there = [name.rstrip(b" \t").lower() for name, _ in header]
    out: list[bytes] = []
    for name in OVERSIGNED:
        out += [name] * (there.count(name.lower()) + 1)
    for name in SIGNED:
        out += [name] * there.count(name.lower())
    return out


def _fold_names(names: Sequence[bytes]) -> str:
    lines = [""]
    for name in names:
        word = name.decode("ascii") + ":"
        if len(lines[-1]) + len(word) > _LINE:
            lines.append("")
        lines[-1] += word
    return "\r\n\t ".join(lines).removesuffix(":")
