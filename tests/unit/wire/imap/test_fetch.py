"""FETCH commands."""
# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.imap.fetch import SIMPLE, Fetch, Octets, Section, Simple, read_fetch
from mta.wire.imap.scanner import Malformed, Scanner
from mta.wire.imap.sequence import SequenceSet

PATH = st.lists(st.integers(1, 99), max_size=4).map(tuple)
FIELDS = st.lists(st.sampled_from([b"Subject", b"To", b"X-odd]name", b"a"]), min_size=1, max_size=3).map(tuple)
SECTION = st.one_of(
    st.builds(Section, PATH),
    st.builds(Section, PATH, st.sampled_from(["HEADER", "TEXT"])),
    st.builds(Section, PATH.filter(bool), st.just("MIME")),
    st.builds(Section, PATH, st.sampled_from(["HEADER.FIELDS", "HEADER.FIELDS.NOT"]), FIELDS),
)
PARTIAL = st.one_of(st.none(), st.tuples(st.integers(0, 2**40), st.integers(1, 2**40)))
ITEM = st.one_of(
    st.builds(Simple, st.sampled_from(sorted(SIMPLE))),
    st.builds(Octets, st.just("BODY"), SECTION, st.booleans(), PARTIAL),
    st.builds(Octets, st.just("BINARY"), st.builds(Section, PATH), st.booleans(), PARTIAL),
    st.builds(Octets, st.just("BINARY.SIZE"), st.builds(Section, PATH)),
    st.sampled_from([Octets("RFC822"), Octets("RFC822.HEADER", Section((), "HEADER")), Octets("RFC822.TEXT", Section((), "TEXT"))]),
)


def read(text: bytes, *, uid: bool = False) -> Fetch:
    scan = Scanner(text)
    found = read_fetch(scan, uid)
    scan.end()
    return found


@given(
    st.lists(ITEM, min_size=1, max_size=5, unique=True),
    st.booleans(),
    st.one_of(st.none(), st.integers(0, 2**63 - 1)),
    st.booleans(),
)
def test_round_trip(items: list[Simple | Octets], uid: bool, since: int | None, vanished: bool) -> None:
    fetch = Fetch(SequenceSet(((1, 0), (7, 7))), tuple(items), uid, since, vanished and uid and since is not None)
    wire = fetch.encode().removeprefix(b"UID ").removeprefix(b"FETCH ")
    assert read(wire, uid=uid) == fetch


def test_macros_and_single_items() -> None:
    assert [item.encode() for item in read(b"1 fast").items] == [b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE"]
    assert [item.encode() for item in read(b"1 FULL").items][-1] == b"BODY"
    assert read(b"1 body.peek[header]").items == (Octets("BODY", Section((), "HEADER"), peek=True),)


def test_items_are_shown_once_and_bounded() -> None:
    assert read(b"1 (FLAGS UID flags)").items == (Simple("FLAGS"), Simple("UID"))
    with pytest.raises(Malformed):
        read(b"1 (" + b" ".join(b"BODY[%d]" % n for n in range(1, 102)) + b")")


@pytest.mark.parametrize(
    ("item", "seen"),
    [(b"BODY[]", True), (b"BODY.PEEK[]", False), (b"RFC822", True), (b"RFC822.HEADER", False), (b"RFC822.TEXT", True),
     (b"BINARY[1]", True), (b"BINARY.PEEK[1]", False), (b"BINARY.SIZE[1]", False)],
)  # fmt: skip
def test_who_sets_seen(item: bytes, seen: bool) -> None:
    (found,) = read(b"1 " + item).items
    assert isinstance(found, Octets)
    assert found.sets_seen is seen


def test_labels() -> None:
    (found,) = read(b'1 BODY.PEEK[1.2.HEADER.FIELDS (To "Subject")]<5.10>').items
    assert isinstance(found, Octets)
    assert found.label == b"BODY[1.2.HEADER.FIELDS (To Subject)]<5>"


@pytest.mark.parametrize(
    "text",
    [b"1 ()", b"1 NOPE", b"1 BODY[0]", b"1 BODY[MIME]", b"1 BODY[1.]", b"1 BODY[HEADER.FIELDS ()]", b"1 BODY[]<0.0>", b"1 BODY[]<5>",
     b"1 (FLAGS", b"1 (ALL)", b"1 BODY[HEADER.FIELDS (a:b)]", b"1 BODY.PEEK", b"1 BINARY[TEXT]", b"1 FLAGS (CHANGEDSINCE x)",
     b"1 FLAGS (CHANGEDSINCE 1 VANISHED)", b"1 BODY[" + b"1." * 101 + b"1]", b"1 FLAGS extra"],
)  # fmt: skip
def test_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        read(text)
