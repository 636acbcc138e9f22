"""SEARCH commands."""
# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.imap.scanner import Malformed, Scanner
from mta.wire.imap.search import Search, UnknownCharset, read_search
from mta.wire.imap.search_keys import (
    All,
    And,
    HasFlag,
    HasKeyword,
    Header,
    InSet,
    Internal,
    Key,
    ModSeq,
    Not,
    Or,
    Recent,
    Sent,
    Size,
    Text,
    Within,
)
from mta.wire.imap.sequence import SAVED, SequenceSet


def read(text: bytes, literals: tuple[bytes, ...] = ()) -> Search:
    scan = Scanner(text, literals)
    found = read_search(scan, False)
    scan.end()
    return found


LEAVES: list[tuple[bytes, Key]] = [
    (b"ALL", All()),
    (b"seen", HasFlag(1, wanted=True)),
    (b"UNANSWERED", HasFlag(2, wanted=False)),
    (b"KEYWORD $x", HasKeyword("$x", wanted=True)),
    (b"UNKEYWORD $x", HasKeyword("$x", wanted=False)),
    (b"NEW", Recent(wanted=True, unseen=True)),
    (b"OLD", Recent(wanted=False)),
    (b"2:4,*", InSet(SequenceSet(((2, 4), (0, 0))), uid=False)),
    (b"$", InSet(SAVED, uid=False)),
    (b"UID 7:*", InSet(SequenceSet(((7, 0),)), uid=True)),
    (b"SINCE 2-Jan-1970", Internal("since", 1)),
    (b'BEFORE "1-Jan-1970"', Internal("before", 0)),
    (b"SENTON 3-Jan-1970", Sent("on", 2)),
    (b"OLDER 60", Within(60, younger=False)),
    (b"LARGER 5", Size(5, larger=True)),
    (b"SMALLER 5", Size(5, larger=False)),
    (b"MODSEQ 5", ModSeq(5)),
    (b'MODSEQ "/flags/\\\\Seen" all 5', ModSeq(5)),
    (b'FROM "a b"', Header("from", "a b")),
    (b"HEADER X-Spam \"\"", Header("x-spam", "")),
    (b"BODY foo", Text("foo", header=False)),
    (b"TEXT foo", Text("foo", header=True)),
]  # fmt: skip
LEAF = st.sampled_from(LEAVES)
TREE = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        inner.map(lambda k: (b"NOT " + k[0], Not(k[1]))),
        st.tuples(inner, inner).map(lambda p: (b"OR " + p[0][0] + b" " + p[1][0], Or(p[0][1], p[1][1]))),
        st.lists(inner, min_size=2, max_size=3).map(
            lambda ks: (b"(" + b" ".join(k[0] for k in ks) + b")", And(tuple(k[1] for k in ks)))
        ),
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(("text", "key"), LEAVES)
def test_leaves(text: bytes, key: Key) -> None:
    assert read(text) == Search(key)


@given(TREE)
def test_trees(tree: tuple[bytes, Key]) -> None:
    assert read(tree[0]).key == tree[1]


def test_several_keys_are_all_wanted() -> None:
    assert read(b"SEEN 1").key == And((HasFlag(1, wanted=True), InSet(SequenceSet(((1, 1),)), uid=False)))


def test_return_options() -> None:
    assert read(b"RETURN (MIN count) ALL").options == {"MIN", "COUNT"}
    assert read(b"RETURN () ALL").options == {"ALL"}
    assert read(b"ALL").options is None


def test_charsets() -> None:
    assert read(b"CHARSET ISO-8859-1 SUBJECT {1+}\r\n", (b"\xe9",)).key == Header("subject", "é")
    assert read(b"charset utf-8 SUBJECT {2}\r\n", (b"\xc3\xa9",)).key == Header("subject", "é")
    with pytest.raises(UnknownCharset):
        read(b"CHARSET KLINGON ALL")
    with pytest.raises(Malformed):
        read(b"SUBJECT {1}\r\n", (b"\xe9",))


@pytest.mark.parametrize(
    "text",
    [b"", b"NOPE", b"NOT", b"OR SEEN", b"(SEEN", b"()", b"SEEN  SEEN", b"KEYWORD", b"SINCE 99-Jan-2000", b"RETURN (X) ALL", b"UID x",
     b"NOT " * 30 + b"SEEN", b"(" * 30 + b"SEEN" + b")" * 30, b" ".join([b"SEEN"] * 1001), b" ".join([b"BODY x"] * 51), b"OR " * 25 + b"SEEN " * 26],
)  # fmt: skip
def test_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        read(text)
