"""SORT and THREAD: reading commands, sort keys, base subjects, threads of the RFC and of hypothesis."""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.imap.command import parse
from mta.wire.imap.decoder import Request
from mta.wire.imap.fuzzy import exactly, loosely
from mta.wire.imap.scanner import Malformed
from mta.wire.imap.search import Search, UnknownCharset
from mta.wire.imap.search_keys import All, And, Fuzzy, HasFlag, Header, Not, Or, Text
from mta.wire.imap.sequence import encode_numbers, partial_of
from mta.wire.imap.sort import Sort, Thread
from mta.wire.imap.sort_keys import SortKeys, base_subject, decode_keys, sent_seconds, sort_keys
from mta.wire.imap.thread import encode_threads, ordered_subject, references
from mta.wire.mime import header_end


def read(text: bytes) -> Sort | Thread | Search:
    found = parse(Request(b"a " + text, ())).value
    assert isinstance(found, Sort | Thread | Search)
    return found


def keys(octets: bytes) -> SortKeys:
    return sort_keys(octets, header_end(octets))


# ---- commands


def test_sort() -> None:
    wanted = Sort((("DATE", False), ("SUBJECT", True)), Search(HasFlag(1, wanted=True), uid=True))
    assert read(b"UID SORT (date REVERSE Subject) utf-8 SEEN") == wanted
    assert read(b"SORT RETURN (COUNT) (SIZE) US-ASCII ALL") == Sort((("SIZE", False),), Search(All(), False, frozenset({"COUNT"})))


def test_thread() -> None:
    assert read(b"THREAD references UTF-8 ALL") == Thread("REFERENCES", Search(All()))
    assert read(b"UID THREAD OrderedSubject UTF-8 ALL") == Thread("ORDEREDSUBJECT", Search(All(), uid=True))


@pytest.mark.parametrize(
    "text",
    [b"SORT DATE UTF-8 ALL", b"SORT (DATE) UTF-8", b"SORT (DATE DATE", b"SORT (" + b"DATE " * 20 + b"DATE) UTF-8 ALL", b"THREAD UTF-8 ALL",
     b"SORT (RELEVANCY) UTF-8 ALL", b"SEARCH RETURN (RELEVANCY) ALL", b"SEARCH RETURN (PARTIAL 1) ALL", b"SEARCH RETURN (PARTIAL 1:2 PARTIAL 1:3) ALL",
     b"SEARCH FUZZY", b"SEARCH " + b"FUZZY " * 30 + b"ALL"],
)  # fmt: skip
def test_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        read(text)


def test_charsets() -> None:
    search = read(b"SEARCH CHARSET KOI8-R SUBJECT \xcd\xc9\xd2")
    assert isinstance(search, Search)
    assert search.key == Header("subject", "мир")
    with pytest.raises(UnknownCharset):
        read(b"SEARCH CHARSET PUNYCODE ALL")
    with pytest.raises(Malformed):
        read(b"SEARCH CHARSET US-ASCII SUBJECT \xcd")


def test_fuzzy() -> None:
    key = And((Fuzzy(Text("two words", header=True)), Not(Header("subject", "a b")), Or(Fuzzy(Header("to", "x")), All())))
    assert exactly(key) == And((Text("two words", header=True), Not(Header("subject", "a b")), Or(Header("to", "x"), All())))
    words = And((Text("two", header=True), Text("words", header=True)))
    assert loosely(key) == And((words, Not(Header("subject", "a b")), Or(Header("to", "x"), All())))


@pytest.mark.parametrize(
    ("partial", "wanted"),
    [((1, 2), [1, 2]), ((2, 1), [1, 2]), ((-1, -2), [8, 9]), ((-2, -1), [8, 9]), ((8, 99), [8, 9]), ((10, 12), []), ((-9, -12), [1]), ((-10, -12), [])],
)  # fmt: skip
def test_partial(partial: tuple[int, int], wanted: list[int]) -> None:
    assert (
        partial_of(range(1, 10), partial) == range(wanted[0], wanted[-1] + 1) if wanted else not partial_of(range(1, 10), partial)
    )
    assert encode_numbers(partial_of(list(range(1, 10)), partial)) == encode_numbers(wanted)


# ---- keys


@pytest.mark.parametrize(
    ("subject", "base", "reply"),
    [
        ("hello", "HELLO", False), ("Re: hello", "HELLO", True), ("RE:hello", "HELLO", True), ("Fwd: Re: hello", "HELLO", True), ("fw[2]: hello", "HELLO", True),
        ("[list] hello", "HELLO", False), ("[list] Re: [list] hello", "HELLO", True), ("hello (fwd)", "HELLO", True), ("hello (fwd) (FWD) ", "HELLO", True),
        ("[fwd: hello]", "HELLO", True), ("[Fwd: Re: hello (fwd)]", "HELLO", True), ("[only]", "[ONLY]", False), ("[a] [b]", "[B]", False), ("re:", "", True),
        ("", "", False), ("  two\t words ", "TWO WORDS", False), ("Remember: x", "REMEMBER: X", False), ("Grüße", "GRU\u0308ßE", False),
    ],
)  # fmt: skip
def test_base_subject(subject: str, base: str, reply: bool) -> None:
    """RFC 5256 §2.1."""
    assert base_subject(subject) == (base, reply)


@given(st.text(max_size=60))
def test_base_subject_ends(subject: str) -> None:
    base, _ = base_subject(subject)
    assert base_subject(base)[0] in (base, base_subject(base)[0])


def test_hostile_subjects_take_linear_time() -> None:
    for subject in (
        "[" * 5000,
        "re:" * 3000,
        "(fwd)" * 2000,
        "[a]" * 3000,
        "[fwd:" * 2000 + "]" * 2000,
        " " * 9000 + "x",
        "re [x]" * 2000,
    ):
        base_subject(subject)


@pytest.mark.parametrize(
    ("field", "seconds"),
    [("Thu, 1 Jan 1970 00:00:00 +0000", 0), ("1 Jan 1970 01:00:00 +0100", 0), ("Wed, 31 Dec 1969 19:00:00 EST", 0), ("1 Jan 70 00:00 GMT", 0), ("1 Jan 1970 00:00:07 XYZ", 7),
     ("Thu, 01-Jan-1970 00:00:00 GMT", 0), ("", None), ("yesterday", None), ("31 Feb 2020 00:00:00 +0000", None), ("1 Foo 2020 00:00:00 +0000", None)],
)  # fmt: skip
def test_sent_seconds(field: str, seconds: int | None) -> None:
    assert sent_seconds(field) == seconds


def test_keys_of_a_message() -> None:
    found = keys(
        b"From: =?utf-8?q?Ren=C3=A9?= <Rene@Example.org>\r\nTo: bob@example.org, carol@example.org\r\nCc: list: d@example.org;\r\n"
        b"Subject: Re: x\r\nMessage-ID: <2@x>\r\nReferences: <1@x> junk\r\n <0@x>\r\nIn-Reply-To: <9@x>\r\nDate: 1 Jan 1970 00:00:05 +0000\r\n\r\n"
    )
    assert found == decode_keys(found.encode())
    assert (found.sent, found.subject, found.reply) == (5, "X", True)
    assert (found.from_, found.to, found.cc) == ("RENE", "BOB", "LIST")
    assert (found.display_from, found.display_to) == ("RENE\u0301", "BOB@EXAMPLE.ORG")
    assert (found.message_id, found.references) == ("2@x", ("1@x", "0@x"))


def test_references_fall_back_to_in_reply_to() -> None:
    assert keys(b"In-Reply-To: <a@x> <b@x>\r\n\r\n").references == ("a@x",)
    assert len(keys(b"References: " + b" ".join(b"<%d@x>" % n for n in range(500)) + b"\r\n\r\n").references) == 100


def test_foreign_octets_are_no_keys() -> None:
    assert decode_keys(None) is None
    assert decode_keys(b"") is None
    assert decode_keys(b"\xffnonsense") is None
    assert decode_keys(keys(b"\r\n").encode().replace(b"\x02", b"\x63", 1)) is None


# ---- threads

Described = tuple[str, str, Sequence[str]]


def thread(*described: Described) -> str:
    """Subject, id, references; the order is the one in which they were sent."""
    messages = []
    for number, (subject, name, answers) in enumerate(described, 1):
        base, reply = base_subject(subject)
        messages.append((number, number, SortKeys(1, number, base, reply, "", "", "", "", "", name, tuple(answers))))
    return encode_threads(references(messages)).decode()


@pytest.mark.parametrize(
    ("described", "wanted"),
    [
        ([], ""),
        ([("a", "1", [])], "(1)"),
        ([("a", "1", []), ("re: a", "2", ["1"]), ("re: a", "3", ["1", "2"])], "(1 2 3)"),
        ([("a", "1", []), ("re: a", "2", ["1"]), ("re: a", "3", ["1"])], "(1 (2)(3))"),
        ([("re: a", "2", ["1"]), ("a", "1", [])], "(2 1)"),  # the answer's date is earlier; it still hangs below
        ([("a", "1", ["0"]), ("b", "2", ["0"])], "((1)(2))"),  # RFC 5256 §5: the parent is not here
        ([("a", "1", ["0"])], "(1)"),
        ([("a", "1", []), ("re: a", "2", [])], "(1 2)"),  # by subject
        ([("a", "1", []), ("a", "2", [])], "((1)(2))"),
        ([("re: a", "1", []), ("a", "2", [])], "(2 1)"),
        ([("a", "1", ["2"]), ("b", "2", ["1"])], "(2 1)"),  # a loop
        ([("a", "1", ["1"])], "(1)"),
        ([("a", "1", []), ("b", "1", []), ("c", "2", ["1"])], "(1 3)(2)"),  # an id given twice names the first
        ([("", "1", []), ("", "2", [])], "(1)(2)"),
        ([("a", "", []), ("b", "", [])], "(1)(2)"),
        ([("a", "1", ["0"]), ("b", "2", ["0"]), ("re: a", "3", [])], "((1)(2)(3))"),
    ],
)
def test_references(described: list[Described], wanted: str) -> None:
    assert thread(*described) == wanted


NAMES = st.sampled_from(["", *"abcdefgh"])
MESSAGES = st.lists(
    st.tuples(st.sampled_from(["", "x", "re: x", "y", "[l] y (fwd)"]), NAMES, st.lists(NAMES.filter(bool), max_size=4)), max_size=12
)


@given(MESSAGES)
def test_every_message_is_in_one_thread(described: list[Described]) -> None:
    text = thread(*described)
    assert sorted(map(int, re.findall("[0-9]+", text))) == list(range(1, len(described) + 1))
    depth = 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert "()" not in text
    assert "( " not in text


@given(MESSAGES)
def test_ordered_subject(described: list[Described]) -> None:
    messages = [
        (number, number, SortKeys(1, number, *base_subject(subject), "", "", "", "", "", "", ()))
        for number, (subject, _, _) in enumerate(described, 1)
    ]
    roots = ordered_subject(messages)
    assert sorted(n for root in roots for n in [root.number, *(child.number for child in root.children)]) == list(
        range(1, len(described) + 1)
    )
    assert [root.sent for root in roots] == sorted(root.sent for root in roots)
    assert len({root.keys.subject for root in roots if root.keys}) == len(roots)


def test_long_chains_need_no_recursion() -> None:
    chain = [(f"s{n}", f"m{n}", [f"m{n - 1}"] if n else []) for n in range(20_000)]
    assert thread(*chain).startswith("(1 2 3 ")
    assert len(re.findall("[0-9]+", thread(*reversed(chain)))) == 20_000
