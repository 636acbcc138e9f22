"""What the index is given: bounded, folded, and nothing missing unless it says so."""
# SPDX-License-Identifier: Apache-2.0

import base64
from unicodedata import normalize

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
    assert fields == ("ONE\nZWEI ß", "A <A@B>", "", "", "")
    assert complete
    for part in ("SUBJECT: ZWEI ß", "FROM: A <A@B>", "STRAßE UND WEG"):
        assert part in text


def test_parts() -> None:
    octets = HEAD + (
        b"Content-Type: multipart/mixed; boundary=f\r\n\r\n--f\r\nContent-Type: application/pdf; name=File.PDF\r\n\r\nhidden\r\n"
        b"--f\r\nContent-Type: message/rfc822\r\n\r\nSubject: Inner\r\n\r\nDeep\r\n--f\r\nContent-Type: text/html\r\n\r\n<b>Bold</b>\r\n--f--\r\n"
    )
    _, text, complete = document(octets)
    assert complete
    for part in ("FILE.PDF", "SUBJECT: INNER", "DEEP", "<B>BOLD</B>"):
        assert part in text
    assert "HIDDEN" not in text
    assert "--F" not in text


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
    assert fields == (None, "", "A@B", "", "")
    assert complete
    assert "WORD WORD" in text


def test_a_piece_of_a_message_is_never_complete() -> None:
    assert not document(HEAD + b"\r\nx", whole=False)[2]


@pytest.mark.parametrize(
    ("one", "other"),
    [("É", "e\u0301"), ("Σίσυφος", "ΣΊΣΥΦΟΣ"), ("ǆ", "Ǆ"), ("ⓐ", "A"), ("ＡＢＣ", "abc"), ("İ", "i\u0307"), ("ⅳ", "iv"), ("straße", "STRAßE")],
)  # fmt: skip
def test_fold(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), [("STRASSE", "Straße"), ("ﬁ", "fi"), ("㎒", "MHz"), ("\u01c5", "DŽ")])
def test_what_is_not_the_same(one: str, other: str) -> None:
    """RFC 5051 §2: a decomposition is not titlecased again, and mappings to several characters do not count."""
    assert fold(one) != fold(other)


def test_fold_is_titlecase_then_decomposition() -> None:
    """RFC 5051 §2 steps 2 and 3, for every character; its example is U+01C4."""
    assert fold("\u01c4") == "\u0044\u007a\u030c"
    for code in (*range(0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE0100)):
        title = chr(code).title()
        assert fold(chr(code)) == normalize("NFKD", title if len(title) == 1 else chr(code)), hex(code)


def test_strings_compare_as_their_titlecase_forms() -> None:
    """So "_" stands behind all letters, as in ASCII's capitals."""
    assert sorted(["b", "_", "A", "a1", "é", "Z"], key=fold) == ["A", "a1", "b", "é", "Z", "_"]


def test_lines_of_plain_and_other_headers_are_alike() -> None:
    plain = b"A: one\r\n two\r\nB:\tx\x00y\r\n\r\n"
    assert header_lines(plain, len(plain)) == ["A: ONE TWO", "B:\tX Y"]
    assert header_lines(plain + b"\xff", len(plain) + 1)[:2] == ["A: ONE TWO", "B:\tX Y"]


def test_parts_of_the_root_have_no_name() -> None:
    octets = b'Content-Type: text/plain; name="x.txt"\r\n\r\nbody\r\n'
    assert list(readable_parts(parse(octets), octets)) == ["BODY "]
