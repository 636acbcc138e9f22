"""Field values: header splitting, subsets, parameters, addresses, encoded words."""
# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.mime import Mailbox, addresses, decode_words, decoded, header_end, headers, split_value, subset, unfold
from mta.wire.mime.words import decode_quoted_printable

MESSAGE = b"A: 1\r\nSubject: long\r\n\tvalue\r\n  here\r\nno colon\r\n : x\r\nB : 2\r\na:3\r\n\r\nbody: no\r\n"


def test_headers_are_unfolded_and_end_with_the_blank_line() -> None:
    assert headers(MESSAGE) == [("A", "1"), ("Subject", "long\tvalue  here"), ("B", "2"), ("a", "3")]
    assert MESSAGE[header_end(MESSAGE) :] == b"body: no\r\n"


def test_subset_keeps_order_and_octets() -> None:
    end = header_end(MESSAGE)
    assert subset(MESSAGE, 0, end, {b"a", b"subject"}) == b"A: 1\r\nSubject: long\r\n\tvalue\r\n  here\r\na:3\r\n\r\n"
    assert subset(MESSAGE, 0, end, {b"a", b"subject"}, without=True) == b"B : 2\r\n\r\n"
    assert subset(MESSAGE, 0, end, {b"none"}) == b"\r\n"
    assert subset(b"A: 1", 0, 4, {b"a"}) == b"A: 1\r\n\r\n"


@pytest.mark.parametrize(
    ("octets", "meant"),
    [
        (b"hello  \r\nbar", b"hello\r\nbar"),
        (b"foo= \t\r\nbar\t", b"foobar"),
        (b"a=20 \n=3D=\r\n", b"a \n="),
        (b"a  b=09\r\n", b"a  b\t\r\n"),
        (b" " * 200_000 + b"x", b" " * 200_000 + b"x"),
    ],
)
def test_white_space_at_the_ends_of_quoted_printable_lines(octets: bytes, meant: bytes) -> None:
    """RFC 2045 §6.7 rule 3."""
    assert decode_quoted_printable(octets) == meant


def test_unfold() -> None:
    assert unfold(b" a\r\n b\n\tc \r\n") == b"a b\tc"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"text/plain; charset=utf-8", {"charset": "utf-8"}),
        (b'a/b; name="x; \\"y\\" (z)"', {"name": 'x; "y" (z)'}),
        (b"a/b; name=my file.pdf ; x=1", {"name": "my file.pdf", "x": "1"}),
        (b"a/b; name*=iso-8859-1'de'%FCber", {"name": "über"}),
        (b"a/b; name*1=b; name*0=a; name*3=d", {"name": "ab"}),
        (b"a/b; name*0*=utf-8''%C3; name*1*=%A9; name*2=%41", {"name": "é%41"}),
        (b"a/b; name*1=b", {}),
        (b'a/b; name="=?utf-8?B?w6k=?="', {"name": "é"}),
        (b"a/b; name=plain; name*=utf-8''better", {"name": "better"}),
        (b"a/b;; =x; junk; n = 1; n=2", {"n": "1"}),
        (b'a/b; n="open', {"n": "open"}),
    ],
)
def test_parameters(value: bytes, expected: dict[str, str]) -> None:
    assert decoded(split_value(value)[1]) == expected


A = Mailbox(None, None, b"a", b"b.c")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a@b.c", [A]),
        (b"<a@b.c>, a@b.c,, ", [A, A]),
        (b'"Q, \\"R\\"" <a@b.c>', [A._replace(name=b'Q, "R"')]),
        (b"Joe  Q. Public <a@b.c>", [A._replace(name=b"Joe Q. Public")]),
        (b"=?utf-8?q?a=2Cb?= <a@b.c>", [A._replace(name=b"=?utf-8?q?a=2Cb?=")]),
        (b"a@b.c (Joe (Q))", [A._replace(name=b"Joe (Q)")]),
        (b"a @ b . c", [A]),
        (b'"x y"@b.c', [A._replace(mailbox=b"x y")]),
        (b"a@[192.0.2.1]", [A._replace(host=b"[192.0.2.1]")]),
        (b"<@r,@s:a@b.c>", [A._replace(route=b"@r,@s")]),
        (b"g: a@b.c, x <a@b.c>;, a@b.c", [Mailbox(None, None, b"g", None), A, A._replace(name=b"x"), Mailbox(*[None] * 4), A]),
        (b"undisclosed-recipients:;", [Mailbox(None, None, b"undisclosed-recipients", None), Mailbox(*[None] * 4)]),
        (b"root", [Mailbox(None, None, b"root", b"")]),
        (b"a@b.c <a@b.c>", [A._replace(name=b"a@b.c")]),
        (b"", []),
        (b"<>", []),
    ],
)
def test_addresses(value: bytes, expected: list[Mailbox]) -> None:
    assert list(addresses(value)) == [*expected]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("=?utf-8?Q?caf=C3?= =?utf-8?Q?=A9?=", "café"),
        ("=?utf-8?B?w6k=?= and =?iso-8859-1?q?=E9_x?=", "é and é x"),
        ("=?utf-8*en?B?w6k?=", "é"),
        ("=?utf-8?Q?a b?=c", "a bc"),
        ("=?utf-8?Q?a=0D=0ABcc:_x?=", "a  Bcc: x"),
        ("=?unheard-of?Q?x?=", "x"),
        ("=?utf-8?X?x?=", "=?utf-8?X?x?="),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "café"),
        ("=?idna?Q?xn--x?=", "xn--x"),
    ],
)
def test_decode_words(value: str | bytes, expected: str) -> None:
    assert decode_words(value) == expected


@given(st.text() | st.binary())
def test_decoded_words_never_make_a_line(value: str | bytes) -> None:
    assert not set("\r\n\0") & set(decode_words(value))


def test_a_comma_behind_a_source_route_raises_nothing() -> None:
    """Found by fuzzing."""
    assert [(one.mailbox, one.host) for one in addresses(b"<@a:b,c@d>, x@y")] == [(b"b", b""), (b"c", b"d"), (b"x", b"y")]
