"""Patterns in bounded time: both matchers agree with ``re``, and none takes long for what is made to take long."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.lookup import regex
from mta.lookup.regex import BadPattern, Pattern

ATOMS = st.sampled_from(["a", "b", "[ab]", "[^a]", ".", "c", r"\w", r"\b"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        inner.map(lambda e: f"({e})"),
        st.tuples(inner, inner).map(lambda p: f"(?:{p[0]}|{p[1]})"),
        st.tuples(inner, inner).map("".join),
        st.tuples(ATOMS.filter(lambda e: e != r"\b"), st.sampled_from(["*", "+", "?", "{1,3}", "*?", "+?", "??", "{2}"])).map(
            "".join
        ),
        st.tuples(inner.filter(lambda e: re.match(e, "") is None), st.sampled_from(["*", "+", "{2,3}"])).map(
            lambda p: f"(?:{p[0]}){p[1]}"
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS, st.text("abcA\n ", max_size=9), st.booleans(), st.booleans())
def test_the_matcher_that_never_goes_back_finds_what_re_finds(source: str, text: str, front: bool, back: bool) -> None:
    whole = "^" * front + source + "$" * back
    flags = re.IGNORECASE | re.DOTALL
    match = re.compile(whole, flags).search(text)
    program = regex._Program(regex._parser.parse(whole, flags), re.compile(whole, flags).flags, re.compile(whole).groups)
    found = program.search(text)
    assert (found is None) == (match is None)
    if match is not None and found is not None:
        assert found[0] == match[0]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("^(a+)+$", "a" * 5000 + "b"),
        ("(x*)*y", "x" * 5000),
        ("^(a|aa)+$", "a" * 5000 + "b"),
        (".*a.*b.*c.*d", "abc" * 2000),
        (r"^([\w.-]+)*@", "a." * 4000),
        ("(a?){30}a{30}", "a" * 29),
        ("^Subject: .*free.*money.*now", "Subject: " + "free money " * 700),
        ("[a-z]+[a-z]+[a-z]+1", "a" * 8000),
    ],
)
def test_what_is_made_to_take_long_does_not(source: str, text: str) -> None:
    began = time.monotonic()
    Pattern(source).search(text)
    assert time.monotonic() - began < 3.0


def test_what_cannot_be_bounded_is_refused() -> None:
    with pytest.raises(BadPattern, match="without bound"):
        Pattern(r"^(a+)+\1$")
    with pytest.raises(BadPattern):
        Pattern("(unclosed")
    with pytest.raises(BadPattern, match="possessive"):
        Pattern("a++b")
    with pytest.raises(BadPattern, match="no class"):
        Pattern("[[:nothing:]]")


def test_classes_and_groups() -> None:
    assert Pattern("([[:digit:]]+)([[:alpha:]])?").search("x42") == ("42", "42", None)
    assert Pattern("(foo|bar)(baz)?").search("say BARbaz") == ("BARbaz", "BAR", "baz")
    assert Pattern("foo", ignorecase=False).search("FOO") is None
