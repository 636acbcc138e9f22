"""Sets of message numbers."""
# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.imap.scanner import Malformed, Scanner
from mta.wire.imap.sequence import SAVED, STAR, SequenceSet, encode_numbers, read_set

NUMBER = st.one_of(st.just(STAR), st.integers(1, 2**32 - 1))


def read(text: bytes) -> SequenceSet:
    return read_set(Scanner(text))


@given(st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=10))
def test_round_trip(ranges: list[tuple[int, int]]) -> None:
    sequence = SequenceSet(tuple(ranges))
    assert read(sequence.encode()) == sequence


@pytest.mark.parametrize("text", [b"0", b"1:0", b"01", b"1,,2", b"1:", b":1", b"*:*:*", b"4294967296", b"1,", b"**", b"x"])
def test_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        read(text)


def test_dollar_is_the_saved_result() -> None:
    assert read(b"$") is SAVED


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=8), st.integers(0, 50))
def test_bounded_ranges_are_the_members(ranges: list[tuple[int, int]], last: int) -> None:
    expected = set()
    for a, b in ranges:
        low, high = sorted((a or last, b or last))
        expected |= set(range(max(low, 1), high + 1))
    found = SequenceSet(tuple(ranges)).bounded(last)
    assert [n for low, high in found for n in range(low, high + 1)] == sorted(expected)


def test_star_below_the_start_is_the_last_message() -> None:
    """RFC 9051 §9 seq-range: 5000:* with 100 messages is 100:5000."""
    assert SequenceSet(((5000, STAR),)).bounded(100) == [(100, 5000)]


@given(st.sets(st.integers(1, 300)), st.integers(1, 300))
def test_members(numbers: set[int], probe: int) -> None:
    sequence = SequenceSet(tuple((n, n) for n in numbers))
    assert sequence.members().holds(probe) is (probe in numbers)


@given(st.lists(st.integers(1, 50), min_size=1))
def test_numbers_in_the_order_given(numbers: list[int]) -> None:
    out: list[int] = []
    for part in encode_numbers(numbers).split(b","):
        low, _, high = part.partition(b":")
        out += range(int(low), int(high or low) + 1)
    assert out == numbers


def test_too_many_ranges() -> None:
    with pytest.raises(Malformed):
        read(b",".join([b"1"] * 10_001))
