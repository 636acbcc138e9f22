"""Apache's MD5 crypt: a thousand rounds over password, salt and what was before. Old, weak, and what htpasswd still makes unasked."""
# SPDX-License-Identifier: Apache-2.0

from hashlib import md5

MAGIC = b"$apr1$"
_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ORDER = ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5))


def apr1(password: bytes, salt: bytes) -> str:
    """Return ``$apr1$salt$hash``; ``salt`` has up to 8 octets."""
    outer = md5(password + MAGIC + salt, usedforsecurity=False)
    inner = md5(password + salt + password, usedforsecurity=False).digest()
    outer.update((inner * (len(password) // 16 + 1))[: len(password)])
    length = len(password)
    while length:
        outer.update(b"\0" if length & 1 else password[:1])
        length >>= 1
    digest = outer.digest()
    for turn in range(1000):
        octets = password if turn & 1 else digest
        if turn % 3:
            octets += salt
        if turn % 7:
            octets += password
        digest = md5(octets + (digest if turn & 1 else password), usedforsecurity=False).digest()
    groups = [_base64(digest[a] << 16 | digest[b] << 8 | digest[c], 4) for a, b, c in _ORDER]
    return f"{MAGIC.decode()}{salt.decode('utf-8', 'surrogateescape')}${''.join(groups)}{_base64(digest[11], 2)}"


def _base64(value: int, digits: int) -> str:
    return "".join(_ALPHABET[value >> 6 * place & 63] for place in range(digits))
