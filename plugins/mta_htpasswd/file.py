"""The file as read: names and hashes. Blocks on the disk and on hashing; runs in a thread."""
# SPDX-License-Identifier: Apache-2.0

import hmac
import os
import secrets
import stat
import time
from collections.abc import Iterable

from mta_htpasswd.hashes import verifier_of

MAX_SIZE = 16 * 2**20
"""Octets: about 200,000 accounts."""
FRESH = 300.0
"""Seconds that a success is remembered, as an HMAC under a key that never leaves this process."""

_Signature = tuple[int, int, int, int]


class UnsafeFile(ValueError):
    """Somebody else could have written it."""


class PasswordFile:
    """One version of the file. ``problems`` are (line, why) of entries that let nobody in."""

    def __init__(self, path: str, signature: _Signature, text: str) -> None:
        self._path = path
        self._signature = signature
        self._entries: dict[str, str] = {}
        self._key = secrets.token_bytes(32)
        self._known: dict[str, tuple[bytes, float]] = {}
        self.problems: list[tuple[int, str]] = []
        for number, line in enumerate(text.splitlines(), 1):
            self._add(number, line)
        self._decoy = next((stored for stored in self._entries.values() if verifier_of(stored)), "")

    def __len__(self) -> int:
        return len(self._entries)

    @classmethod
    def read(cls, path: str) -> "PasswordFile":
        """Raises OSError, UnsafeFile."""
        with open(path, "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnsafeFile("not a regular file")
            if status.st_mode & stat.S_IWOTH:
                raise UnsafeFile("the whole world can write it")
            if status.st_size > MAX_SIZE:
                raise UnsafeFile(f"larger than {MAX_SIZE} octets")
            octets = stream.read(MAX_SIZE + 1)
        return cls(path, _signature(status), octets.decode("utf-8", "surrogateescape"))

    def has_changed(self) -> bool:
        """Raises OSError when it is gone."""
        return _signature(os.stat(self._path)) != self._signature

    def find(self, names: Iterable[str]) -> str | None:
        """The hash of the first of these names that is there."""
        return next((self._entries[name] for name in names if name in self._entries), None)

    def verify(self, stored: str | None, octets: bytes) -> bool:
        """Is this the password? None is false, after the time that an account of this file takes."""
        verify = verifier_of(stored or self._decoy)
        if verify is None:
            return False
        if stored is None:
            verify(self._decoy, octets)
            return False
        digest = hmac.digest(self._key, octets, "sha256")
        known, until = self._known.get(stored, (b"", 0.0))
        if time.monotonic() < until and hmac.compare_digest(known, digest):
            return True
        right = verify(stored, octets)
        if right:
            self._known[stored] = digest, time.monotonic() + FRESH
        return right

    def _add(self, number: int, line: str) -> None:
        name, colon, rest = line.strip().partition(":")
        if not name or name.startswith("#"):
            return
        stored = rest.partition(":")[0]
        name = name.lower()
        if not colon:
            self.problems.append((number, "no colon"))
        elif name in self._entries:
            self.problems.append((number, "the name stands above already"))
        else:
            self._entries[name] = stored
            if verifier_of(stored) is None:
                self.problems.append((number, "a password in clear, or a hash that is not supported here"))


def _signature(status: os.stat_result) -> _Signature:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
