"""Records (RFC 7208 §4.5, §4.6, §5, §6, §12): which TXT record is the policy, and its grammar.

All of a record is checked before any of it is used (RFC 7208 §4.6). Records and terms far beyond what anybody publishes are errors,
so that no record costs more than a few milliseconds.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Literal

from mta_spf.macro import MacroString, Malformed, parse_domain, parse_macros

Result = Literal["none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"]

MAX_RECORD = 8192
"""Octets. The largest policies seen are below 3000."""
MAX_TERM = 1024
"""Octets. A domain has 253."""
_CACHED_RECORD = 1024
"""Octets. Bounds the cache to some 10 MiB, whatever records strangers publish."""

_QUALIFIERS: dict[str, Result] = {"": "pass", "+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_TERM = re.compile(r"([+?~-]?)([A-Za-z][A-Za-z0-9_.-]*)(?:([:/=])(.*))?\Z", re.DOTALL)
_LENGTH = r"(0|[1-9][0-9]{0,2})"
_DUAL_LENGTH = re.compile(rf"(?:/{_LENGTH})?(?://{_LENGTH})?\Z")
_SINGLE_LENGTH = re.compile(rf"{_LENGTH}\Z")

_DOMAIN_OPTIONAL = frozenset({"a", "mx", "ptr"})
_DOMAIN_REQUIRED = frozenset({"include", "exists"})


@dataclass(frozen=True, slots=True)
class Mechanism:
    """``result`` is what a match means; ``target`` None is the current domain; ``network`` is of ip4 and ip6."""

    result: Result
    name: str
    text: str
    target: MacroString | None = None
    network: int = 0
    prefix4: int = 32
    prefix6: int = 128


@dataclass(frozen=True, slots=True)
class Record:
    mechanisms: tuple[Mechanism, ...]
    redirect: MacroString | None
    explanation: MacroString | None


def is_policy(record: bytes) -> bool:
    """True for "v=spf1" in whatever case, followed by a space or nothing (RFC 7208 §4.5)."""
    return record[:6].lower() == b"v=spf1" and record[6:7] in (b"", b" ")


def choose_policy(records: Iterable[bytes]) -> bytes | None:
    """Return the one policy among TXT records, None without any. Raises Malformed for several (RFC 7208 §4.5)."""
    found = [record for record in records if is_policy(record)]
    if len(found) > 1:
        raise Malformed("several SPF records")
    return found[0] if found else None


def parse_record(record: bytes) -> Record:
    """Read a policy. Raises Malformed."""
    if len(record) <= _CACHED_RECORD:
        return _parse_cached(record)
    if len(record) > MAX_RECORD:
        raise Malformed("record is too long")
    return _parse(record)


def _parse(record: bytes) -> Record:
    if not record.isascii():
        raise Malformed("record is not ASCII")
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, MacroString] = {}
    for term in record[6:].decode("ascii").split(" "):  # RFC 7208 §4.6.1: spaces, not any white space
        if not term:
            continue
        match = _TERM.match(term) if len(term) <= MAX_TERM else None
        if match is None:
            raise Malformed(f"malformed term {_shown(term)}")
        qualifier, name, separator, value = match.groups("")
        name = name.lower()
        try:
            if separator != "=":
                mechanisms.append(_parse_mechanism(_QUALIFIERS[qualifier], name, separator, value, term))
            elif qualifier:
                raise Malformed("a modifier has no qualifier")
            elif name not in ("redirect", "exp"):
                parse_macros(value)
            elif name in modifiers:
                raise Malformed("may stand only once")
            else:
                modifiers[name] = parse_domain(value)
        except Malformed as exc:
            raise Malformed(f"{exc}: {_shown(term)}") from None
    return Record(tuple(mechanisms), modifiers.get("redirect"), modifiers.get("exp"))


_parse_cached = lru_cache(maxsize=512)(_parse)


def _parse_mechanism(result: Result, name: str, separator: str, value: str, text: str) -> Mechanism:
    if name in _DOMAIN_OPTIONAL:
        return _parse_with_domain(result, name, separator, value, text)
    if name in _DOMAIN_REQUIRED:
        if separator != ":":
            raise Malformed("domain is missing")
        return Mechanism(result, name, text, parse_domain(value))
    if name == "all":
        if separator:
            raise Malformed("all takes no value")
        return Mechanism(result, name, text)
    if name in ("ip4", "ip6"):
        if separator != ":":
            raise Malformed("network is missing")
        return _parse_network(result, name, value, text)
    raise Malformed("unknown mechanism")


def _parse_with_domain(result: Result, name: str, separator: str, value: str, text: str) -> Mechanism:
    rest = value if separator == ":" else separator + value
    prefix4, prefix6 = 32, 128
    if name != "ptr":
        match = _DUAL_LENGTH.search(rest)
        assert match is not None  # nothing, at the end, is a match too
        rest, prefix4, prefix6 = rest[: match.start()], _length(match[1], 32), _length(match[2], 128)
    if separator == ":":
        return Mechanism(result, name, text, parse_domain(rest), 0, prefix4, prefix6)
    if rest:
        raise Malformed("malformed prefix length")
    return Mechanism(result, name, text, None, 0, prefix4, prefix6)


def _parse_network(result: Result, name: str, value: str, text: str) -> Mechanism:
    address, slash, length = value.partition("/")
    if slash and not _SINGLE_LENGTH.match(length):
        raise Malformed("malformed prefix length")
    try:
        if name == "ip4":
            return Mechanism(result, name, text, None, int(IPv4Address(address)), prefix4=_length(length, 32))
        if "%" in address:
            raise Malformed("malformed network")
        return Mechanism(result, name, text, None, int(IPv6Address(address)), prefix6=_length(length, 128))
    except AddressValueError:
        raise Malformed("malformed network") from None


def _length(digits: str | None, bits: int) -> int:
    length = int(digits) if digits else bits
    if length > bits:
        raise Malformed("malformed prefix length")
    return length


def _shown(term: str) -> str:
    return ascii(term[:60])[1:-1]
