"""Malformed messages: what structure they get. Each file of corpus/ has one line here."""
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest

from mta.wire.mime import Entity, addresses, envelope, headers, parse, text

CORPUS = Path(__file__).parent / "corpus"

STRUCTURES = {
    "base64_torn": "text/plain",
    "bare_lf": "multipart/mixed(text/html)",
    "boundary_missing_parameter": "text/plain!",
    "boundary_never_appears": "text/plain!",
    "boundary_prefix_of_inner": "multipart/mixed(multipart/alternative(text/plain,text/plain),text/plain)",
    "boundary_quoted_odd": "multipart/mixed(text/plain)",
    "boundary_same_inside": "multipart/mixed(multipart/alternative(text/plain),text/plain)",
    "boundary_trailing_blanks": "multipart/mixed(text/plain)",
    "boundary_unclosed": "multipart/mixed(text/plain,text/plain)",
    "charset_unknown": "text/plain",
    "digest": "multipart/digest(message/rfc822[text/plain],message/rfc822[text/plain])",
    "empty": "text/plain",
    "header_duplicates": "text/html",
    "header_eight_bit": "text/plain",
    "header_empty": "text/plain",
    "header_never_ends": "text/plain",
    "header_space_before_colon": "text/html",
    "nul_octets": "text/plain",
    "only_line_end": "text/plain",
    "outer_boundary_ends_inner": "multipart/mixed(multipart/mixed(text/plain),text/plain)",
    "part_without_blank_line": "multipart/mixed(text/html,text/plain,text/plain,text/plain)",
    "quoted_printable_torn": "text/plain",
    "rfc822_base64": "application/octet-stream!",
    "rfc822_empty": "message/rfc822[text/plain]",
    "type_comment": "text/html",
    "type_garbage": "text/plain",
    "type_without_slash": "text/plain",
}

TEXTS = {
    "base64_torn": "hello world!",
    "bare_lf": "one",
    "boundary_never_appears": "hello\r\n",
    "boundary_same_inside": "onetwo",
    "boundary_unclosed": "onetwo\r\n",
    "charset_unknown": "caf\xe9 \ufffd\r\n",
    "header_eight_bit": "fa\xe7ade\r\n",
    "header_empty": "just a body\r\n",
    "quoted_printable_torn": "caf\xe9 =ZZ x",
    "type_garbage": "hello\r\n",
}


def structure(entity: Entity) -> str:
    out = entity.content_type + "!" * entity.opaque
    if entity.message is not None:
        return f"{out}[{structure(entity.message)}]"
    return f"{out}({','.join(map(structure, entity.children))})" if entity.children else out


def test_every_file_has_an_expectation() -> None:
    assert sorted(STRUCTURES) == sorted(p.stem for p in CORPUS.glob("*.eml"))


@pytest.mark.parametrize("name", sorted(STRUCTURES))
def test_structure(name: str) -> None:
    octets = (CORPUS / f"{name}.eml").read_bytes()
    root = parse(octets)
    assert structure(root) == STRUCTURES[name]
    assert root.end == len(octets)
    envelope(root, octets)
    headers(octets)


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_text(name: str) -> None:
    octets = (CORPUS / f"{name}.eml").read_bytes()
    assert "".join(text(parse(octets), octets)) == TEXTS[name]


def test_duplicate_headers_take_the_first_and_join_recipients() -> None:
    octets = (CORPUS / "header_duplicates.eml").read_bytes()
    read = envelope(parse(octets), octets)
    assert [m.mailbox for m in read.from_] == [b"a"]
    assert [m.mailbox for m in read.to] == [b"one", b"two"]


def test_eight_bit_headers_stay_as_they_are_in_the_envelope() -> None:
    octets = (CORPUS / "header_eight_bit.eml").read_bytes()
    read = envelope(parse(octets), octets)
    assert read.from_ == addresses(b"J\xf6rg <a@example.org>")
    assert read.from_[0].name == b"J\xf6rg"
    assert read.subject == "café".encode()


def test_type_with_comments_and_quoted_boundary() -> None:
    octets = (CORPUS / "type_comment.eml").read_bytes()
    assert parse(octets).parameters == {"charset": "us-ascii"}
    octets = (CORPUS / "boundary_quoted_odd.eml").read_bytes()
    assert parse(octets).raw_parameters == [(b"boundary", b'=_a (b); "c')]
