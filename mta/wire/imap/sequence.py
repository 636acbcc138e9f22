"""Sets of message numbers (RFC 9051 §9 sequence-set; "$": RFC 5182 §2.1)."""
# SPDX-License-Identifier: Apache-2.0

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mta.wire.imap.scanner import Malformed, Scanner

STAR = 0
"""Stands for "*", the greatest number in use; no real number is 0."""

_SET = re.compile(rb"[0-9*:,]+|\$")
_RANGE = re.compile(rb"([1-9][0-9]{0,9}|\*)(?::([1-9][0-9]{0,9}|\*))?\Z")
_PARTIAL = re.compile(rb"(-?[1-9][0-9]{0,9}):(-?[1-9][0-9]{0,9})")
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """Ranges as written, both ends included, either may be STAR. ``saved``: the "$" of SEARCHRES, without ranges."""

    ranges: tuple[tuple[int, int], ...] = ()
    saved: bool = False

    def bounded(self, last: int) -> list[tuple[int, int]]:
        """Ascending ranges without overlap, "*" replaced by ``last``; empty when ``last`` is 0 and only "*" was asked."""
        pairs = []
        for a, b in self.ranges:
            low, high = a or last, b or last
            if low > high:
                low, high = high, low
            if high:
                pairs.append((max(low, 1), high))
        if len(pairs) < 2:
            return pairs
        pairs.sort()
        merged = [pairs[0]]
        for low, high in pairs[1:]:
            if low <= merged[-1][1] + 1:
                if high > merged[-1][1]:
                    merged[-1] = (merged[-1][0], high)
            else:
                merged.append((low, high))
        return merged

    def members(self) -> "Members":
        """For asking about single uids; "*" is the greatest possible one."""
        return Members(self.bounded(0xFFFFFFFF))

    def encode(self) -> bytes:
        if self.saved:
            return b"$"
        return b",".join(
            (b"%d" % a if a else b"*") + (b"" if a == b else b":" + (b"%d" % b if b else b"*")) for a, b in self.ranges
        )


class Members:
    """Answers membership in ascending ranges without overlap."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._starts = [low for low, _ in ranges]
        self._ends = [high for _, high in ranges]

    def holds(self, number: int) -> bool:
        at = bisect_right(self._starts, number)
        return at > 0 and number <= self._ends[at - 1]


SAVED = SequenceSet(saved=True)


def read_set(scan: Scanner) -> SequenceSet:
    text = scan.match(_SET, "a set of numbers")[0]
    if text == b"$":
        return SAVED
    return SequenceSet(tuple(_read_ranges(text)))


def _read_ranges(text: bytes) -> Iterable[tuple[int, int]]:
    parts = text.split(b",")
    if len(parts) > _MOST:
        raise Malformed("too many ranges")
    for part in parts:
        found = _RANGE.match(part)
        if found is None:
            raise Malformed("malformed set of numbers")
        low = _value(found[1])
        yield low, low if found[2] is None else _value(found[2])


def _value(text: bytes) -> int:
    if text == b"*":
        return STAR
    value = int(text)
    if value > 0xFFFFFFFF:
        raise Malformed("number too large")
    return value


def read_partial(scan: Scanner) -> tuple[int, int]:
    """The range of results ``1:100``, or ``-1:-100`` from the end; ``100:1`` is the same (RFC 9394 §3.1)."""
    found = scan.match(_PARTIAL, "a range")
    first, last = int(found[1]), int(found[2])
    if (first < 0) is not (last < 0):
        raise Malformed("both ends of a range count from the same side")
    return (first, last) if abs(first) <= abs(last) else (last, first)


def partial_of(numbers: Sequence[int], partial: tuple[int, int]) -> Sequence[int]:
    """Those in the range (RFC 9394 §3.1)."""
    low, high = sorted(map(abs, partial))
    if partial[0] > 0:
        return numbers[low - 1 : high]
    return numbers[max(0, len(numbers) - high) : max(0, len(numbers) - low + 1)]


def encode_numbers(numbers: Sequence[int]) -> bytes:
    """Ranges in the order given: consecutive runs become ``a:b`` (COPYUID keeps pairs together: RFC 4315 §3)."""
    out: list[bytes] = []
    start = last = -1
    for n in numbers:
        if n == last + 1:
            last = n
            continue
        if start >= 0:
            out.append(b"%d" % start if start == last else b"%d:%d" % (start, last))
        start = last = n
    if start >= 0:
        out.append(b"%d" % start if start == last else b"%d:%d" % (start, last))
    return b",".join(out)
