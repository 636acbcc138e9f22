"""The envelope read in one pass over unfolded lines is the one that the fields give."""
# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.wire.mime import fields, header_end, read_envelope, split_value, unfold

PIECES = [
    b"Subject", b"subject ", b"DATE\t", b"To", b"Cc", b"From", b"Message-ID", b"X-Other", b":", b": ", b"a", b"b@c", b",", b"\r\n", b"\n", b"\r",
    b" ", b"\t", b"\r\n ", b"\n\t", b"\r\r\n", b"\r\n\r\n", b"\n\n", b"\0", b"\x0b", b"\xff", b"=?utf-8?q?x?=",
]  # fmt: skip


def by_fields(octets: bytes, end: int) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for field in fields(octets, 0, end):
        found.setdefault(field.name, unfold(octets[field.value : field.end]))
    return found


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join))
def test_values_are_those_of_the_fields(octets: bytes) -> None:
    end = header_end(octets)
    found, expected = read_envelope(octets, 0, end), by_fields(octets, end)
    assert (found.date, found.subject, found.message_id) == tuple(map(expected.get, (b"date", b"subject", b"message-id")))
    assert found == read_envelope(octets)


@pytest.mark.parametrize("break_", [b"\r\n", b"\n"])
def test_folded_repeated_and_broken_fields(break_: bytes) -> None:
    lines = [
        b" Subject: begins with a blank",
        b"Subject : a",
        b"\tb",
        b" ",
        b" c ",
        b"subject: second",
        b"Date",
        b"To: a@b",
        b"TO:",
        b" c@d",
        b"Date: d",
        b"",
    ]
    found = read_envelope(break_.join(lines) + break_ + b"Date: body")
    assert found.subject == b"a\tb  c"
    assert found.date == b"d"
    assert [(each.mailbox, each.host) for each in found.to] == [(b"a", b"b"), (b"c", b"d")]
    assert found.sender is found.from_


def test_a_value_read_before_is_read_the_same_and_a_long_one_is_not_kept() -> None:
    value = b'text/plain; charset="us-ascii"'
    assert split_value(value) == split_value(value) == (b"text/plain", [(b"charset", b"us-ascii")])
    long = b"text/plain; name=" + b"x" * 1000
    assert split_value(long)[1] is not split_value(long)[1]
