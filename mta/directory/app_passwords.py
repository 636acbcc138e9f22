"""Passwords that the server makes, one for each program of an account: twenty letters, ``abcd-efgh-ijkm-npqr-stuv``.

The first four are the tag by which one is found, so that a wrong password costs no more than before; the other sixteen have 73 bits.
Read in any case, with spaces or without the signs. For SCRAM, where the client is told one salt before anybody knows which password
it has, all of an account share their salts, and its own password takes them over when it changes.
"""
# SPDX-License-Identifier: Apache-2.0

import secrets
from collections.abc import Collection

from mta_hooks.backends.app_passwords import AppPassword

SERVICES = ("smtp", "imap", "pop3", "http", "sieve")
_LETTERS = "abcdefghijkmnpqrstuvwxyz"
"""Without l and o, which look like digits."""
_GROUP, _GROUPS = 4, 5
_KNOWN = frozenset(_LETTERS)


def make(taken: Collection[str]) -> str:
    """A new one, whose tag is not among ``taken``."""
    while True:
        groups = ["".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS)]
        if groups[0] not in taken:
            return "-".join(groups)


def tag_of(password: str) -> str:
    return password[:_GROUP]


def normalised(credential: str) -> str | None:
    """As ``make`` wrote it; None: it cannot be one."""
    if len(credential) > 3 * _GROUP * _GROUPS:
        return None
    text = credential.replace("-", "").replace(" ", "").lower()
    if len(text) != _GROUP * _GROUPS or not _KNOWN.issuperset(text):
        return None
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def serves(password: AppPassword, service: str) -> bool:
    return not password.services or service in password.services
