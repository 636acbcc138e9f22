"""Flags on the wire."""
# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.message import Flags
from mta.wire.imap.flags import FlagList, encode_flags, read_flags
from mta.wire.imap.scanner import Malformed, Scanner

KEYWORD = st.text("abcXYZ$_.-0123", min_size=1, max_size=20)
FLAG_LIST = st.builds(FlagList, st.integers(0, 31), st.frozensets(KEYWORD, max_size=8))


@given(FLAG_LIST)
def test_round_trip(flags: FlagList) -> None:
    assert read_flags(Scanner(b"(" + flags.encode() + b")")) == flags


def test_bare_flags_and_any_case() -> None:
    assert read_flags(Scanner(b"\\seen \\DELETED $x")) == FlagList(int(Flags.SEEN | Flags.DELETED), frozenset({"$x"}))
    assert read_flags(Scanner(b"()")) == FlagList()


@pytest.mark.parametrize("text", [b"(\\Recent)", b"\\Foo", b"(a", b"(a  b)", b'("a")', b"(" + b"k" * 101 + b")"])
def test_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        read_flags(Scanner(text))


def test_too_many_keywords() -> None:
    with pytest.raises(Malformed):
        read_flags(Scanner(b"(" + b" ".join(b"k%d" % n for n in range(65)) + b")"))


def test_order_is_the_same_always() -> None:
    assert encode_flags(31, "a b") == b"\\Answered \\Flagged \\Deleted \\Seen \\Draft a b"
