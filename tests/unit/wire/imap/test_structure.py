"""ENVELOPE and BODYSTRUCTURE (RFC 9051 §7.5.2)."""
# SPDX-License-Identifier: Apache-2.0

from hypothesis import given
from hypothesis import strategies as st

from mta.wire.imap.structure import Parsed, parsed
from mta.wire.mime import parse

MIXED = (
    b'From: Alice <alice@example.org>\r\nTo: Team: bob@example.org, c@x;\r\nSubject: a "b"\r\n'
    b"Date: Mon, 3 Jan 2022 10:00:00 +0000\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\n\r\nhello\r\nworld\r\n--b\r\nContent-Type: application/pdf; name=x.pdf\r\nContent-Transfer-Encoding: base64\r\n"
    b"Content-Disposition: attachment; filename=x.pdf\r\nContent-Language: de, en\r\nContent-MD5: abc\r\n\r\nAAAA\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx\r\n--b--\r\n"
)


def of(octets: bytes) -> Parsed:
    return parsed(parse(octets), octets)


def test_envelope() -> None:
    assert of(MIXED).envelope == (
        b'("Mon, 3 Jan 2022 10:00:00 +0000" "a \\"b\\"" (("Alice" NIL "alice" "example.org")) (("Alice" NIL "alice" "example.org")) '
        b'(("Alice" NIL "alice" "example.org")) '
        b'((NIL NIL "Team" NIL)(NIL NIL "bob" "example.org")(NIL NIL "c" "x")(NIL NIL NIL NIL)) NIL NIL NIL NIL)'
    )


def test_body() -> None:
    assert of(MIXED).body == (
        b'(("TEXT" "PLAIN" ("charset" "us-ascii") NIL NIL "7BIT" 12 1)'
        b'("APPLICATION" "PDF" ("name" "x.pdf") NIL NIL "BASE64" 4)'
        b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 19 (NIL "inner" NIL NIL NIL NIL NIL NIL NIL NIL) '
        b'("TEXT" "PLAIN" ("charset" "us-ascii") NIL NIL "7BIT" 1 0) 2) "MIXED")'
    )


def test_bodystructure_adds_the_extension_data() -> None:
    octets = of(MIXED).bodystructure
    assert b'"BASE64" 4 "abc" ("attachment" ("filename" "x.pdf")) ("de" "en") NIL)' in octets
    assert octets.endswith(b' "MIXED" ("boundary" "b") NIL NIL NIL)')


def test_eight_bit_headers_are_literals() -> None:
    assert b"{3}\r\nh\xc3\xa9" in of(b"Subject: h\xc3\xa9\r\n\r\n").envelope


@given(st.binary(max_size=300))
def test_kept_form_round_trip(octets: bytes) -> None:
    found = of(octets)
    assert Parsed.decode(found.encode()) == found


def test_foreign_kept_forms_are_parsed_again() -> None:
    assert Parsed.decode(None) is None
    assert Parsed.decode(b"") is None
    assert Parsed.decode(b"\xff" * 20) is None
