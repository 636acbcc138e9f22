"""Hash formats of password files, by prefix. Every comparison takes constant time."""
# SPDX-License-Identifier: Apache-2.0

import base64
import ctypes
import hashlib
import hmac
from collections.abc import Callable
from functools import cache

from argon2.exceptions import Argon2Error, InvalidHashError
from argon2.low_level import Type, verify_secret

from mta_htpasswd.apr1 import apr1

Verifier = Callable[[str, bytes], bool]

_CRYPT_DATA = 131232
"""sizeof(struct crypt_data): 32768 in libxcrypt, this much in glibc before it."""


def verifier_of(stored: str) -> Verifier | None:
    """The function that verifies this hash; None for a password in clear and for what cannot be verified here."""
    for prefix, verifier in _VERIFIERS:
        if stored.startswith(prefix):
            return verifier if verifier is not _verify_crypt or _libcrypt() is not None else None
    return None


def _verify_crypt(stored: str, password: bytes) -> bool:
    """bcrypt, SHA-2 crypt, yescrypt: the setting is the front of the hash itself. ctypes lets other threads run meanwhile."""
    crypt_r = _libcrypt()
    assert crypt_r is not None
    expected = stored.encode("utf-8", "surrogateescape")
    found: bytes | None = crypt_r(password, expected, ctypes.create_string_buffer(_CRYPT_DATA))
    return found is not None and not found.startswith(b"*") and hmac.compare_digest(found, expected)


def _verify_apr1(stored: str, password: bytes) -> bool:
    salt = stored.split("$")[2].encode("utf-8", "surrogateescape")[:8]
    return hmac.compare_digest(apr1(password, salt).encode(), stored.encode("utf-8", "surrogateescape"))


def _verify_sha(stored: str, password: bytes) -> bool:
    digest = base64.b64encode(hashlib.sha1(password, usedforsecurity=False).digest())
    return hmac.compare_digest(digest, stored.removeprefix("{SHA}").encode("utf-8", "surrogateescape"))


def _verify_argon2(stored: str, password: bytes) -> bool:
    try:
        return verify_secret(stored.encode("utf-8", "surrogateescape"), password, Type.ID)
    except (Argon2Error, InvalidHashError):
        return False


@cache
def _libcrypt() -> Callable[[bytes, bytes, object], bytes | None] | None:
    """``crypt_r``; None where the C library has no bcrypt or is not there (musl knows neither yescrypt nor this name)."""
    try:
        crypt_r = ctypes.CDLL("libcrypt.so.1").crypt_r
    except (OSError, AttributeError):
        return None
    crypt_r.restype = ctypes.c_char_p
    crypt_r.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
    return crypt_r


_VERIFIERS: tuple[tuple[str, Verifier], ...] = (
    *((prefix, _verify_crypt) for prefix in ("$2y$", "$2b$", "$2a$", "$5$", "$6$", "$y$")),
    ("$argon2id$", _verify_argon2),
    ("$apr1$", _verify_apr1),
    ("{SHA}", _verify_sha),
)
