"""Dates of APPEND, INTERNALDATE and SEARCH."""
# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.imap.dates import encode_date, encode_date_time, read_date, read_date_time
from mta.wire.imap.scanner import Malformed, Scanner


@given(st.integers(-62_135_596_800 + 86400, 253_402_300_799 - 86400))
def test_date_time_round_trip(seconds: int) -> None:
    assert read_date_time(Scanner(b'"' + encode_date_time(seconds) + b'"')) == seconds


@given(st.integers(-719_162, 2_932_896))
def test_date_round_trip(day: int) -> None:
    assert read_date(Scanner(encode_date(day))) == day


def test_zone() -> None:
    assert read_date_time(Scanner(b'" 1-Jan-1970 02:30:00 +0230"')) == 0
    assert read_date_time(Scanner(b'"31-dec-1969 19:00:00 -0500"')) == 0
    assert read_date_time(Scanner(b'"17-Jul-1996 02:44:60 -0700"')) == 837596699


@pytest.mark.parametrize(
    "text",
    [b'"32-Jan-2020 00:00:00 +0000"', b'"01-Foo-2020 00:00:00 +0000"', b'"01-Jan-2020 24:00:00 +0000"', b'"01-Jan-2020 00:00:00 +9900"',
     b'"01-Jan-0000 00:00:00 +0000"', b"01-Jan-2020"],
)  # fmt: skip
def test_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        read_date_time(Scanner(text))


@pytest.mark.parametrize("text", [b"31-Feb-2020", b"1-Foo-2020", b'"1-Jan-2020', b"1-Jan-20"])
def test_malformed_date(text: bytes) -> None:
    with pytest.raises(Malformed):
        read_date(Scanner(text))


def test_absurd_stored_dates_are_clamped() -> None:
    assert encode_date_time(10**15).startswith(b"31-Dec-9999")
    assert encode_date_time(-(10**15)).startswith(b" 1-Jan-0001")
