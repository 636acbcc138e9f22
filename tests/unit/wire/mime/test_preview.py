"""PREVIEW (RFC 8970): the words that a reader sees first."""
# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.imap.structure import Parsed, parsed, preview_of, with_preview
from mta.wire.mime import parse, preview

HTML = b"Content-Type: text/html; charset=utf-8\r\n\r\n"
PARTS = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"


def shown(octets: bytes) -> str:
    return preview(parse(octets), octets)


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"Subject: x\r\n\r\nhello\r\n\r\n  world\t!\r\n", "hello world !"),
        (b"Subject: x\r\n\r\n> said\r\n> before\r\nanswer\r\n-- \r\nsignature\r\n", "answer"),
        (b"Content-Type: text/plain; charset=utf-8\r\n\r\n\xef\xbb\xbfa\xe2\x80\x8b\xc2\xa0b", "a b"),
        (
            HTML + b"<html><head><title>no</title><style>p {}</style></head><body><p>one&nbsp;&amp; <b>two</b><!-- no --></p>",
            "one & two",
        ),
        (HTML + b"<script>alert(1)</script>a < b, c > d", "a < b, c > d"),
        (HTML + b"<style>never ended", ""),
        (PARTS + b"--b\r\nContent-Type: image/png\r\n\r\nzzz\r\n--b\r\n\r\ntext\r\n--b--", "text"),
        (PARTS + b"--b\r\nContent-Disposition: attachment\r\n\r\nfile\r\n--b\r\n\r\ntext\r\n--b--", "text"),
        (PARTS + b"--b\r\n\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>second\r\n--b--", "second"),
        (PARTS + b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\ninner\r\n--b--", ""),
        (b"Content-Type: image/png\r\n\r\nzzz", ""),
        (b"", ""),
    ],
)
def test_first_words(octets: bytes, words: str) -> None:
    assert shown(octets) == words


def test_it_is_short() -> None:
    assert shown(b"\r\n" + b"word " * 1000) == ("word " * 40).strip()


@given(st.binary(max_size=300))
def test_any_octets_have_one(octets: bytes) -> None:
    for head in (b"\r\n", HTML, PARTS + b"--b\r\n\r\n"):
        words = shown(head + octets)
        assert len(words) <= 200
        assert all(" " <= letter != "\x7f" for letter in words)


@pytest.mark.parametrize("words", [b"", b"hello"])
def test_it_is_kept_beside_the_structure(words: bytes) -> None:
    octets = b"Subject: x\r\n\r\nhello"
    made = parsed(parse(octets), octets)
    assert preview_of(made.encode()) is None
    kept = with_preview(made.encode(), words)
    assert preview_of(kept) == words
    assert Parsed.decode(kept) == made


@pytest.mark.parametrize("octets", [None, b"", b"\x02", b"\x02" * 14, b"\x00" * 40])
def test_what_is_none(octets: bytes | None) -> None:
    assert preview_of(octets) is None
