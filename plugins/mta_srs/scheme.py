"""The Sender Rewriting Scheme (M. S. Wong, 2003; as in libsrs2 and Mail::SRS): senders of forwarded mail in a domain of ours, and back.

    bob@example.org             ->  SRS0=HHHH=TT=example.org=bob@forward.example
    SRS0=…=bob@first.example    ->  SRS1=HHHH=first.example==…=bob@forward.example

HHHH is the beginning of an HMAC-SHA-1 in base64 over the lower-case rest, TT the day modulo 1024 in base32. Pure: no clock, no I/O. A sender
whose form would be longer than a local part may be (64 octets) is kept elsewhere under a token: ``SRSK=HHHH=token``.
"""
# SPDX-License-Identifier: Apache-2.0

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence

from mta_hooks import Address

DAY = 86400.0
LONGEST = 64
_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CYCLE = 1024
_ANY = re.compile(r"SRS[01K][=+-]", re.IGNORECASE)
_SRS0 = re.compile(r"SRS0[=+-]([^=]+)=([A-Z2-7]{2})=([^=]+)=(.+)\Z", re.IGNORECASE | re.DOTALL)
_SRS1 = re.compile(r"SRS1[=+-]([^=]+)=([^=]+)=([=+-].+)\Z", re.IGNORECASE | re.DOTALL)
_KEPT = re.compile(r"SRSK[=+-]([^=]+)=([A-Z2-7]{16})\Z", re.IGNORECASE)


class NotReversible(ValueError):
    """No address of this scheme, forged, or too old; says which."""


class TooLong(ValueError):
    """The form does not fit into a local part."""


def is_srs(local: str) -> bool:
    return _ANY.match(local) is not None


class Scheme:
    """One domain and its secrets: the first signs, all are believed."""

    def __init__(self, domain: str, secrets: Sequence[bytes], *, max_age: int = 21, length: int = 4, minimum: int = 4) -> None:
        self.domain = domain
        self._secrets = tuple(secrets)
        self._max_age, self._length, self._minimum = max_age, length, max(minimum, 4)

    def forward(self, sender: Address, now: float) -> Address:
        """Raises TooLong."""
        local, domain = sender.local, sender.domain
        if (match := _SRS1.match(local)) is not None:
            made = self._srs1(match[2], match[3])
        elif _SRS0.match(local) is not None:
            made = self._srs1(domain, local[4:])
        else:
            stamp = _stamp(now)
            made = f"SRS0={self._sign(stamp, domain, local)}={stamp}={domain}={local}"
        if len(made.encode("utf-8", "surrogatepass")) > LONGEST:
            raise TooLong(str(sender))
        return Address(made, self.domain)

    def _srs1(self, domain: str, rest: str) -> str:
        return f"SRS1={self._sign(domain, rest)}={domain}={rest}"

    def keep(self, sender: Address) -> tuple[str, Address]:
        """(token under which the sender has to be kept, the address that stands for it)."""
        digest = hmac.new(self._secrets[0], str(sender).encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
        token = base64.b32encode(digest)[:16].decode("ascii")
        return token, Address(f"SRSK={self._sign('kept', token)}={token}", self.domain)

    def token_of(self, local: str) -> str | None:
        """The token of an address that ``keep`` made; None for other addresses. Raises NotReversible."""
        match = _KEPT.match(local)
        if match is None:
            return None
        token = match[2].upper()
        self._check(match[1], "kept", token)
        return token

    def reverse(self, address: Address, now: float) -> Address:
        """The sender that the address stands for. Raises NotReversible."""
        if (match := _SRS0.match(address.local)) is not None:
            signature, stamp, domain, local = match.groups()
            self._check(signature, stamp, domain, local)
            if not _is_fresh(stamp, now, self._max_age):
                raise NotReversible("too old")
            return _address(local, domain)
        if (match := _SRS1.match(address.local)) is not None:
            signature, domain, rest = match.groups()
            self._check(signature, domain, rest)
            return _address(f"SRS0{rest}", domain)
        raise NotReversible("no SRS address")

    def _sign(self, *parts: str, secret: bytes | None = None, length: int | None = None) -> str:
        text = "".join(parts).lower().encode("utf-8", "surrogatepass")
        digest = hmac.new(self._secrets[0] if secret is None else secret, text, hashlib.sha1).digest()  # the scheme's own choice
        return base64.b64encode(digest).decode("ascii")[: length or self._length]

    def _check(self, signature: str, *parts: str) -> None:
        """Case does not count: mail servers on the way may have changed it."""
        given = signature.lower().encode("utf-8", "surrogatepass")
        if len(signature) >= self._minimum and any(
            hmac.compare_digest(self._sign(*parts, secret=secret, length=len(signature)).lower().encode(), given)
            for secret in self._secrets
        ):
            return
        raise NotReversible("the signature is not ours")


def _stamp(now: float) -> str:
    day = int(now // DAY) % _CYCLE
    return _BASE32[day >> 5] + _BASE32[day & 31]


def _is_fresh(stamp: str, now: float, days: int) -> bool:
    day = (_BASE32.index(stamp[0].upper()) << 5) | _BASE32.index(stamp[1].upper())
    return (int(now // DAY) - day) % _CYCLE <= days or (day - int(now // DAY)) % _CYCLE <= 1


def _address(local: str, domain: str) -> Address:
    made = Address(local, domain.lower())
    if not made.is_sound:
        raise NotReversible("stands for no address")
    return made
