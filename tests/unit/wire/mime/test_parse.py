"""Structure: offsets, bounds, agreement with the standard library on well-formed mail, linear time."""
# SPDX-License-Identifier: Apache-2.0

import email
import email.message
import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.wire.mime import (
    MAX_DEPTH,
    MAX_PARTS,
    Entity,
    body,
    decode_words,
    envelope,
    fields,
    find_part,
    headers,
    parse,
    read_envelope,
    section,
    text,
)

PIECES = st.sampled_from(
    b"\r\n|\n|\r|--|--a|--a\r\n|\r\n--a--\r\n|--ab\r\n|\r\n--ab--|Content-Type: | |\t|multipart/mixed; boundary=a\r\n\r\n"
    b"|Content-Type: multipart/mixed; boundary=ab\r\n\r\n|multipart/digest;boundary=a|Content-Type: message/rfc822\r\n\r\n"
    b"|From: |To: |x@y|=?utf-8?q?a?=|\"|(|)|:|;|<|\xff|\x00|name*0*=utf-8''%41;|Content-Transfer-Encoding: base64\r\n"
    b"|text/plain; charset=utf-16\r\n|x".split(b"|")
)
SOUP = st.lists(PIECES | st.binary(max_size=5), max_size=60).map(b"".join)


def check(root: Entity, octets: bytes) -> None:
    assert (root.header_start, root.end) == (0, len(octets))
    for entity in root.walk():
        assert entity.header_start <= entity.body_start <= entity.end
        inside = entity.children or ([entity.message] if entity.message else [])
        for child in inside:
            assert entity.body_start <= child.header_start
            assert child.end <= max(entity.end, child.body_start)
        for before, after in pairwise(entity.children):
            assert before.end <= after.header_start
        assert (entity.maintype == "multipart") == bool(entity.children)
        is_message = entity.content_type in ("message/rfc822", "message/global")
        assert is_message == (entity.message is not None)
        if entity.maintype == "text" or is_message:
            assert entity.lines == octets.count(b"\n", entity.body_start, entity.end)


@given(SOUP)
@settings(max_examples=300, deadline=None)
def test_any_octets_have_a_structure(octets: bytes) -> None:
    root = parse(octets)
    check(root, octets)
    for entity in root.walk():
        entity.parameters, entity.disposition, entity.filename, entity.language, entity.location  # noqa: B018
        body(entity, octets)
    envelope(root, octets)
    assert sum(map(len, text(root, octets, 100))) <= 100
    for field in fields(octets):
        assert octets[field.start : field.value].rstrip().endswith(b":")
    assert [name.lower().encode("utf-8", "surrogateescape") for name, _ in headers(octets)] == [f.name for f in fields(octets)]


TREES = st.recursive(st.sampled_from(["plain", "html"]), lambda inner: st.lists(inner, min_size=1, max_size=3), max_leaves=12)


@given(TREES)
@settings(max_examples=60, deadline=None)
def test_agrees_with_the_standard_library(tree: object) -> None:
    octets = build(tree, "b")
    ours, theirs = parse(octets), email.message_from_bytes(octets)

    def compare(entity: Entity, part: email.message.Message) -> None:
        assert entity.content_type == part.get_content_type()
        payload = part.get_payload()
        if isinstance(payload, list):
            assert len(entity.children) == len(payload)
            for ours, theirs in zip(entity.children, payload, strict=True):
                compare(ours, theirs)
        else:
            assert octets[entity.body_start : entity.end].decode() == payload

    compare(ours, theirs)


def build(tree: object, boundary: str) -> bytes:
    if isinstance(tree, str):
        return f"Content-Type: text/{tree}\r\n\r\nsome {tree}\r\n--not-a-boundary\r\nlast line".encode()
    assert isinstance(tree, list)
    parts = b"".join(b"--%s\r\n%s\r\n" % (boundary.encode(), build(t, f"{boundary}.{i}")) for i, t in enumerate(tree))
    return b"Content-Type: multipart/mixed; boundary=%s\r\n\r\npreamble\r\n%s--%s--\r\n" % (
        boundary.encode(), parts, boundary.encode()
    )  # fmt: skip


NESTED = (
    b"Subject: outer\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    b"--x\r\nContent-Language: de, en\r\n\r\none\r\n"
    b"--x\r\nContent-Type: message/rfc822\r\nContent-ID: <2@x>\r\n\r\n"
    b"Subject: inner\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n"
    b"--y\r\nContent-Type: text/plain\r\n\r\ntwo one\r\n--y\r\nContent-Type: text/html\r\n\r\ntwo two\r\n--y--\r\n"
    b"\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: single\r\n\r\nalone\r\n--x--\r\n"
)


@pytest.mark.parametrize(
    ("path", "kind", "expected"),
    [
        ((), "", NESTED),
        ((), "HEADER", b"Subject: outer\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"),
        ((), "TEXT", NESTED[NESTED.index(b"--x") :]),
        ((), "MIME", None),
        ((1,), "", b"one"),
        ((1,), "MIME", b"Content-Language: de, en\r\n\r\n"),
        ((1,), "HEADER", None),
        ((1, 1), "", None),
        ((2,), "MIME", b"Content-Type: message/rfc822\r\nContent-ID: <2@x>\r\n\r\n"),
        ((2,), "HEADER", b"Subject: inner\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n"),
        ((2, 1), "", b"two one"),
        ((2, 2), "MIME", b"Content-Type: text/html\r\n\r\n"),
        ((2, 3), "", None),
        ((3,), "", b"Subject: single\r\n\r\nalone"),
        ((3,), "TEXT", b"alone"),
        ((3, 1), "", b"alone"),
        ((3, 1), "MIME", b"Subject: single\r\n\r\n"),
        ((3, 2), "", None),
        ((4,), "", None),
        ((0,), "", None),
    ],
)
def test_sections(path: tuple[int, ...], kind: str, expected: bytes | None) -> None:
    found = section(parse(NESTED), NESTED, path, kind)  # type: ignore[arg-type]
    assert (found and NESTED[found[0] : found[1]]) == expected


def test_part_one_of_a_plain_message_is_its_body() -> None:
    octets = b"Subject: x\r\n\r\nhello\r\n"
    root = parse(octets)
    assert section(root, octets, (1,), "") == (14, 21)
    assert section(root, octets, (1, 1), "") is None


def test_values_of_a_part() -> None:
    root = parse(NESTED)
    part = find_part(root, (1,))
    assert part is not None
    assert (part.language, part.encoding, part.content_id, part.disposition) == ((b"de", b"en"), "7bit", None, None)
    second = find_part(root, (2,))
    assert second is not None
    assert second.content_id == b"<2@x>"


def nested(levels: int) -> bytes:
    return b"".join(b"Content-Type: multipart/mixed; boundary=b%d.\r\n\r\n--b%d.\r\n" % (i, i) for i in range(levels))


def test_depth_is_bounded_and_the_rest_opaque() -> None:
    deepest = list(parse(nested(5000)).walk())
    assert len(deepest) == MAX_DEPTH
    assert (deepest[-1].content_type, deepest[-1].opaque) == ("application/octet-stream", True)
    messages = list(parse(b"Content-Type: message/rfc822\r\n\r\n" * 5000).walk())
    assert len(messages) == MAX_DEPTH


def test_number_of_parts_is_bounded_and_the_last_takes_the_rest() -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 100_000
    root = parse(octets)
    assert len(root.children) == MAX_PARTS - 1
    assert root.children[-1].end == len(octets)


CONTINUED = b"Content-Type: text/plain;" + b"".join(b" n*%d*=a%%20;" % i for i in range(100_000)) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("work", "octets"),
    [
        (parse, b"".join(b"X-%d: y\r\n" % i for i in range(100_000)) + b"\r\n"),
        (headers, b"".join(b"X-%d: y\r\n" % i for i in range(100_000)) + b"\r\n"),
        (read_envelope, b"".join(b"To: a%d@b\r\n" % i for i in range(100_000)) + b"\r\n"),
        (parse, b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 100_000),
        (parse, nested(5000)),
        (parse, nested(99) + b"--b\r\n" * 400_000),
        (parse, b"Content-Type: message/rfc822\r\n\r\n" * 99 + b"\r\n" * 5_000_000),
        (lambda o: parse(o).parameters, CONTINUED),
        (decode_words, b"=?utf-8?Q?=C3=A9?= " * 200_000),
        (decode_words, b"=?utf-8?B?w6k=?= x " * 200_000),
        (decode_words, b"=?a?q?" * 200_000),
        (lambda o: parse(o).parameters, b"Content-Type: a/b;" + b'x="(' * 250_000 + b"\r\n\r\n"),
        (read_envelope, b"From: " + b"(" * 1_000_000 + b"\r\n\r\n"),
        (read_envelope, b"From: " + b"<" * 1_000_000 + b"\r\n\r\n"),
        (read_envelope, b"From: " + b'"\\' * 500_000 + b"\r\n\r\n"),
        (read_envelope, b"To: " + b"a:;" * 300_000 + b"\r\n\r\n"),
    ],
)
def test_bombs_take_linear_time(work: Callable[[bytes], object], octets: bytes) -> None:
    before = time.process_time()
    work(octets)
    assert time.process_time() - before < 1.0
