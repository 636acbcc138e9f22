"""Usual address lists are read in one step, and as all others are."""
# SPDX-License-Identifier: Apache-2.0

from hypothesis import given, settings
from hypothesis import strategies as st

from mta.wire.mime.addresses import _read, addresses

PIECES = st.lists(
    st.sampled_from(
        [b"a", b"Bob", b'"Q. Name"', b'""', b'" sp "', b"<", b">", b"@", b"x.org", b".", b",", b" ", b"\t", b";", b":", b"(c)", b"\\", b"\xc3\xa9", b'"', b"<a@b.c>", b"d@e"]
    ),
    max_size=14,
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(PIECES)
def test_usual_entries_are_read_as_all_others(pieces: list[bytes]) -> None:
    value = b"".join(pieces)
    assert addresses(value) == _read(value)
