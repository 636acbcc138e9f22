"""Passwords as argon2id hashes (RFC 9106), verified off the event loop.

One verification costs about 30 ms and 19 MiB on purpose; so they run in a small pool, equal questions asked at once share one
answer, and a success is remembered for a while: keyed by the stored hash (which is different for each account and changes with
the password), as an HMAC under a key that never leaves this process, never the password. Left out: other hash formats.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from mta.model.errors import TemporaryFailure
from mta.wire.sasl.scram import HASHES, SALT_SIZE, derive_keys, format_keys, parse_keys

MAX_PASSWORD = 1024  # characters; no one types more, and the hash reads them all
MAX_WAITING = 2000  # about 30 s of work for two threads: later ones are told to come back
CACHE_SIZE = 10_000
CACHE_SECONDS = 300.0

_THREADS = 2  # 19 MiB each; argon2 releases the GIL
_hasher = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)  # OWASP's second choice for argon2id
_dummy = _hasher.hash(secrets.token_hex(16))  # same parameters, so an unknown account costs the same


def hash_password(password: str) -> str:
    """Return the PHC string of a new password. Blocks for about 30 ms. Raises ValueError above ``MAX_PASSWORD``."""
    if not 0 < len(password) <= MAX_PASSWORD:
        raise ValueError(f"password must have 1 to {MAX_PASSWORD} characters")
    return _hasher.hash(password.encode("utf-8", "surrogatepass"))


def scram_keys_of(password: str, like: str = "") -> str:
    """Keys of SCRAM with fresh salts, a line for each hash; "" for a password that SASLprep forbids. Blocks for about 15 ms.

    like  other keys of the account whose salts are taken: it may log in with either password
    """
    salts = {keys.hash: keys.salt for keys in map(parse_keys, like.split("\n"))} if like else {}
    try:
        made = (derive_keys(password, hash, salts.get(hash) or secrets.token_bytes(SALT_SIZE)) for hash in HASHES)
        return "\n".join(map(format_keys, made))
    except ValueError:
        return ""


class Passwords:
    """Hashes and verifies. One for each process; ``close`` ends its threads."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._key = secrets.token_bytes(32)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="password")
        self._known: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._running: dict[tuple[str, bytes], asyncio.Future[bool]] = {}

    def hash(self, password: str) -> str:
        """For the command line; see ``hash_password``."""
        return hash_password(password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Is this the password behind ``stored``? ``None`` (no such account) takes as long and is False.

        Raises TemporaryFailure when too many verifications wait.
        """
        octets = password[: MAX_PASSWORD + 1].encode("utf-8", "surrogatepass")
        phc = stored or _dummy
        digest = hmac.digest(self._key, phc.encode() + b"\0" + octets, hashlib.sha256)
        if (known := self._known.get(phc)) is not None and self._monotonic() < known[1] and hmac.compare_digest(known[0], digest):
            self._known.move_to_end(phc)
            return True
        right = await self._ask_pool(phc, digest, octets)
        if not right or stored is None or len(password) > MAX_PASSWORD:
            return False
        self._known[phc] = (digest, self._monotonic() + CACHE_SECONDS)
        self._known.move_to_end(phc)
        if len(self._known) > CACHE_SIZE:
            self._known.popitem(last=False)
        return True

    async def _ask_pool(self, phc: str, digest: bytes, octets: bytes) -> bool:
        question = (phc, digest)
        if (running := self._running.get(question)) is None:
            if len(self._running) >= MAX_WAITING:
                raise TemporaryFailure("too many passwords to verify")
            running = asyncio.wrap_future(self._pool.submit(_verify, phc, octets))
            self._running[question] = running
            running.add_done_callback(lambda _: self._running.pop(question, None))
        return await asyncio.shield(running)  # a client that goes away must not take the answer from the others

    async def scram_keys(self, password: str, like: str = "") -> str:
        """``scram_keys_of``, off the event loop."""
        return await asyncio.wrap_future(self._pool.submit(scram_keys_of, password, like))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _verify(phc: str, octets: bytes) -> bool:
    try:
        return _hasher.verify(phc, octets)
    except (Argon2Error, InvalidHashError):
        return False
