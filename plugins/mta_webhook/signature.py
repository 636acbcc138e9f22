"""Signatures of Standard Webhooks 1.0: ``v1,`` and the base64 of HMAC-SHA256 over ``id.timestamp.body``."""
# SPDX-License-Identifier: Apache-2.0

import base64
import binascii
import hmac

PREFIX = "whsec_"


def key_of(secret: str) -> bytes:
    """The key behind a secret: base64 after ``whsec_``, else the text itself. Raises ValueError."""
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as exc:
        raise ValueError("what follows whsec_ is no base64") from exc
    if len(key) < 16:
        raise ValueError("a key must have at least 16 octets")
    return key


def sign(keys: tuple[bytes, ...], id: str, at: int, body: bytes) -> dict[str, str]:
    """The three header fields. The time is that of this attempt, so that a receiver can refuse what is replayed to it later."""
    signed = f"{id}.{at}.".encode() + body
    signatures = (f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}" for key in keys)
    return {"webhook-id": id, "webhook-timestamp": str(at), "webhook-signature": " ".join(signatures)}
