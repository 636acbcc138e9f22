"""What the index is given: bounded, folded, and nothing missing unless it says so."""
# SPDX-License-Identifier: Apache-2.0

import base64

import pytest

from mta.model.ids import BlobId
from mta.wire.imap.document import MAX_TEXT, make_document
from mta.wire.imap.sort_keys import decode_keys
from mta.wire.mime import parse
from mta.wire.mime.searchable import fold, header_lines, readable_parts

HEAD = b"Subject: One\r\nSubject: =?utf-8?q?Zwei_=C3=9F?=\r\nFrom: A <a@b>\r\n"
TYPE = b"Content-Type: text/plain; charset=utf-8\r\n"


def document(octets: bytes, *, whole: bool = True) -> tuple[tuple[str | None, ...], str, bool]:
    found = make_document(BlobId(7), octets, whole=whole)
    assert found.blob == 7
    assert decode_keys(found.keys) is not None
    return found.fields, found.text, found.complete


def test_a_small_message() -> None:
    fields, text, complete = document(HEAD + TYPE + b"\r\nStra\xc3\x9fe\r\nund WEG\r\n")
    assert fields == ("one\nzwei ss", "a <a@b>", "", "", "")
    assert complete
    for part in ("subject: zwei ss", "from: a <a@b>", "strasse und weg"):
        assert part in text


def test_parts() -> None:
    octets = HEAD + (
        b"Content-Type: multipart/mixed; boundary=f\r\n\r\n--f\r\nContent-Type: application/pdf; name=File.PDF\r\n\r\nhidden\r\n"
        b"--f\r\nContent-Type: message/rfc822\r\n\r\nSubject: Inner\r\n\r\nDeep\r\n--f\r\nContent-Type: text/html\r\n\r\n<b>Bold</b>\r\n--f--\r\n"
    )
    _, text, complete = document(octets)
    assert complete
    for part in ("file.pdf", "subject: inner", "deep", "<b>bold</b>"):
        assert part in text
    assert "hidden" not in text
    assert "--f" not in text


@pytest.mark.parametrize(
    "octets",
    [
        HEAD + b"\r\n" + b"x" * (MAX_TEXT + 1),
        HEAD + b"X: " + b"y" * MAX_TEXT + b"\r\n\r\nneedle",
        HEAD + TYPE + b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(b"\x1b(B" * 400_000),
    ],
)
def test_what_is_too_much_is_said(octets: bytes) -> None:
    _, text, complete = document(octets)
    assert not complete
    assert len(text) <= MAX_TEXT


def test_a_long_field_is_not_kept() -> None:
    fields, text, complete = document(b"Subject: " + b"word " * 4000 + b"\r\nTo: a@b\r\n\r\n")
    assert fields == (None, "", "a@b", "", "")
    assert complete
    assert "word word" in text


def test_a_piece_of_a_message_is_never_complete() -> None:
    assert not document(HEAD + b"\r\nx", whole=False)[2]


@pytest.mark.parametrize(
    ("one", "other"),
    [("STRASSE", "Straße"), ("ﬁ", "fi"), ("É", "e\u0301"), ("Σίσυφος", "ΣΊΣΥΦΟΣ"), ("ǆ", "DŽ"), ("㎒", "MHz"), ("ＡＢＣ", "abc"), ("İ", "i\u0307")],
)  # fmt: skip
def test_fold(one: str, other: str) -> None:
    assert fold(one) == fold(other)
    assert fold(fold(one)) == fold(one)


def test_lines_of_plain_and_other_headers_are_alike() -> None:
    plain = b"A: one\r\n two\r\nB:\tx\x00y\r\n\r\n"
    assert header_lines(plain, len(plain)) == ["a: one two", "b:\tx y"]
    assert header_lines(plain + b"\xff", len(plain) + 1)[:2] == ["a: one two", "b:\tx y"]


def test_parts_of_the_root_have_no_name() -> None:
    octets = b'Content-Type: text/plain; name="x.txt"\r\n\r\nbody\r\n'
    assert list(readable_parts(parse(octets), octets)) == ["body "]
