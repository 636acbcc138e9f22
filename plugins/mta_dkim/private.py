"""Private keys: read once, kept as key objects (reading a PEM takes some 30 ms), read again when the file changes."""
# SPDX-License-Identifier: Apache-2.0

import os
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

PrivateKey = RSAPrivateKey | Ed25519PrivateKey

MIN_BITS = 1024
"""RFC 8301 §3.2: signers use at least 1024, and should use 2048."""


def load_key(path: str) -> PrivateKey:
    """Raises OSError, and ValueError for what is no usable key. The text names no content of the file."""
    return _load(path, os.stat(path).st_mtime_ns)


@lru_cache(maxsize=1000)
def _load(path: str, _changed: int) -> PrivateKey:
    with open(path, "rb") as file:
        octets = file.read(65536)
    try:
        key = load_pem_private_key(octets, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("not a PEM private key, or it has a passphrase") from None
    if isinstance(key, RSAPrivateKey) and key.key_size >= MIN_BITS:
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise ValueError("the key must be RSA of at least 1024 bits, or Ed25519")
