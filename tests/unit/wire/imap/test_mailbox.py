"""Mailbox names and LIST patterns."""
# SPDX-License-Identifier: Apache-2.0

import fnmatch
import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.imap.mailbox import Pattern, decode_name, decode_utf7, encode_name, encode_utf7, is_sane
from mta.wire.imap.scanner import Malformed, Scanner

NAME = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30)


@given(NAME)
def test_utf7_round_trip(name: str) -> None:
    encoded = encode_utf7(name)
    assert re.fullmatch(rb"[\x20-\x7e]*", encoded)
    assert decode_utf7(encoded) == name


@pytest.mark.parametrize(
    ("name", "encoded"),
    [("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"), ("a&b", b"a&-b"), ("Entwürfe", b"Entw&APw-rfe")],
)
def test_examples(name: str, encoded: bytes) -> None:
    """RFC 3501 §5.1.3."""
    assert encode_utf7(name) == encoded
    assert decode_utf7(encoded) == name


@pytest.mark.parametrize(
    "octets", [b"&AGE-", b"&U,BTFw", b"&U,BTFw-&ZeVnLIqe-", b"&=-", b"&A-", b"&2AA-", b"a&b", b"&AOQA5A-"[:-2]]
)
def test_what_no_encoder_writes_is_refused(octets: bytes) -> None:
    with pytest.raises(Malformed):
        decode_utf7(octets)


@given(NAME, st.booleans())
def test_names_survive_the_wire(name: str, utf8: bool) -> None:
    name = unicodedata.normalize("NFC", name)
    if any(c in name for c in "\0\r\n") or name.partition("/")[0].upper() == "INBOX":
        return
    assert decode_name(Scanner(encode_name(name, utf8=utf8)).astring(), utf8=utf8) == name


@pytest.mark.parametrize("octets", [b"inbox", b"InBoX", b"INBOX"])
def test_inbox_in_any_case(octets: bytes) -> None:
    assert decode_name(octets, utf8=False) == "INBOX"
    assert decode_name(octets + b"/x", utf8=True) == "INBOX/x"
    assert decode_name(octets + b"x", utf8=True) == octets.decode() + "x"


def test_decomposed_names_are_composed() -> None:
    assert decode_name("u\u0308ber".encode(), utf8=True) == "über"


def test_not_utf8_is_refused() -> None:
    with pytest.raises(Malformed):
        decode_name(b"\xff", utf8=True)


@pytest.mark.parametrize("name", ["a/b", "Entwürfe", "x y"])
def test_sane(name: str) -> None:
    assert is_sane(name)


@pytest.mark.parametrize("name", ["", "a//b", "/a", "a\0", "a\tb", "a\u2028b"])
def test_insane(name: str) -> None:
    assert not is_sane(name)


@given(st.text("ab/%*", max_size=8), st.text("ab/", max_size=8))
def test_patterns_match_like_regular_expressions(pattern: str, name: str) -> None:
    expression = re.escape(pattern).replace(r"\*", ".*").replace("%", "[^/]*")
    assert Pattern(pattern).matches(name) is (re.fullmatch(expression, name) is not None)


def test_star_alone_matches_all() -> None:
    assert all(Pattern("*").matches(name) for name in ("INBOX", "a/b/c"))
    assert fnmatch.fnmatchcase("a/b", "*")
    assert not Pattern("%").matches("a/b")
    assert Pattern("inbox").matches("INBOX")


def test_hostile_patterns_are_cheap() -> None:
    started = time.process_time()
    Pattern("*a" * 200 + "%" * 200 + "b").matches("a" * 255)
    Pattern("*%" * 500).matches("a/" * 127)
    assert time.process_time() - started < 0.5
