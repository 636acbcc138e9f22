# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.message import OctetContent
from mta.pipeline.header import apply_edits, build_field, parse_fields, read_head, split_fields
from mta.pipeline.message import MailMessage
from mta.pipeline.results import build_results, strip_forged
from mta_hooks import AddHeader, AuthResult, RemoveHeader, ReplaceHeader

HEAD = b"Received: one\r\nReceived: two\r\n\tfolded\r\nSubject: =?utf-8?q?x?=\r\nX-Odd : \xff\r\n"


@pytest.mark.parametrize(
    ("octets", "head", "separator"),
    [
        (HEAD + b"\r\nbody\r\n", HEAD, b""),
        (HEAD, HEAD, b""),
        (b"\r\nbody\r\n", b"", b""),
        (b"", b"", b""),
        (b"no header at all\r\n", b"", b"\r\n"),
        (b"Subject: x\r\nnot a field\r\n\r\nbody\r\n", b"Subject: x\r\n", b"\r\n"),
        (b" folded: from the start\r\n\r\n", b"", b"\r\n"),
    ],
)
def test_where_the_header_ends(octets: bytes, head: bytes, separator: bytes) -> None:
    assert read_head(OctetContent(octets)) == (head, separator, len(head))


@given(st.lists(st.sampled_from([b"A: b\r\n", b" c\r\n", b"\r\n", b"x", b":", b"Na-me: \r\n", b"\t\r\n"]), max_size=20))
def test_a_header_is_its_fields(parts: list[bytes]) -> None:
    octets = b"".join(parts)
    head, separator, end = read_head(OctetContent(octets))
    assert octets.startswith(head)
    assert b"".join(field for _, field in split_fields(head)) == head
    message = MailMessage("id", "smtp", None, OctetContent(octets), {})  # type: ignore[arg-type]
    assert message.content(b"Top: x\r\n").raw() == b"Top: x\r\n" + head + separator + octets[end:]


def test_fields_are_unfolded_and_decoded() -> None:
    assert parse_fields(HEAD) == [
        ("Received", "one"),
        ("Received", "two\tfolded"),
        ("Subject", "=?utf-8?q?x?="),
        ("X-Odd", "\udcff"),
    ]


def test_edits_touch_only_what_they_name() -> None:
    edits = (
        AddHeader("X-Top", "first"),
        RemoveHeader("received", 1),
        ReplaceHeader("SUBJECT", "new"),
        ReplaceHeader("X-New", "made"),
        AddHeader("X-Last", "folded\r\n value", top=False),
        RemoveHeader("X-Nothing"),
        RemoveHeader("Received", 7),
    )
    assert apply_edits(HEAD, edits) == (
        b"X-Top: first\r\nReceived: one\r\nSUBJECT: new\r\nX-Odd : \xff\r\nX-New: made\r\nX-Last: folded\r\n value\r\n"
    )
    assert apply_edits(HEAD, (RemoveHeader("Received"),)).startswith(b"Subject")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", "a\r\nBcc: evil@x.test"), ("X", "a\nb"), ("X", "a\rb"), ("X", "a\0"), ("X", "a\r\n\r\nbody"), ("X", "a\r\n \r\n b"),
        ("X", "a\r\n"), ("X:", "a"), ("X Y", "a"), ("", "a"), ("X\r\nY", "a"), ("Ü", "a"), ("X", "a\r\n\t"),
    ],
)  # fmt: skip
def test_no_value_starts_another_field(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"header|continuation"):
        build_field(name, value)


@given(st.text(max_size=40), st.text(max_size=60))
def test_a_built_field_is_one_field(name: str, value: str) -> None:
    try:
        field = build_field(name, value)
    except ValueError:
        return
    assert [f for _, f in split_fields(field)] == [field]


def test_a_hundred_thousand_fields_cost_little() -> None:
    head = b"X-Field: value\r\n" * 60_000
    assert read_head(OctetContent(head + b"\r\n"))[2] == len(head)
    assert len(split_fields(head)) == 60_000
    tail = read_head(OctetContent(b"A: " + b"\r\n b" * 400_000))
    assert tail[2] <= 2**20


def test_results_are_one_field_that_nothing_breaks() -> None:
    results = [
        AuthResult("dkim", "pass", properties=(("header.d", "a.test"), ("header.i", "@a.test"))),
        AuthResult("spf", "fail", 'said "no"\r\nBcc: x', (("smtp.mailfrom", "a b;c"),)),
    ]
    field = build_results("mx.example.test", results)
    assert field == (
        b"Authentication-Results: mx.example.test;\r\n\tdkim=pass header.d=a.test header.i=@a.test;\r\n"
        b'\tspf=fail reason="said \\"no\\"  Bcc: x" smtp.mailfrom="a b;c"\r\n'
    )
    assert build_results("mx.example.test", []) == b"Authentication-Results: mx.example.test;\r\n\tnone\r\n"


@pytest.mark.parametrize(
    ("field", "stays"),
    [
        (b"Authentication-Results: mx.example.test; dkim=pass\r\n", False),
        (b"authentication-results : MX.example.TEST; dkim=pass\r\n", False),
        (b"Authentication-Results:\r\n\t(c (nested)) mx.example.test 1; dkim=pass\r\n", False),
        (b'Authentication-Results: "mx.example.test"; dkim=pass\r\n', False),
        (b"Authentication-Results: ; dkim=pass\r\n", False),
        (b"Authentication-Results: other.test; dkim=pass\r\n", True),
        (b"Authentication-Results: mx.example.test.evil; dkim=pass\r\n", True),
        (b"Return-Path: <evil@x.test>\r\n", False),
    ],
)
def test_forged_trace_fields_go(field: bytes, stays: bool) -> None:
    assert strip_forged(field + b"Subject: x\r\n", "mx.example.test") == (field if stays else b"") + b"Subject: x\r\n"
