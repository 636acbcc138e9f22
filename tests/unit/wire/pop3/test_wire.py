"""POP3 octets: lines, dot-stuffing in pieces, TOP in pieces, status lines."""
# SPDX-License-Identifier: Apache-2.0

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.mime import header_end
from mta.wire.pop3 import Command, Lines, LineTooLong, Stuffer, TopCutter, err, ok, parse, stuff

BODY = st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"..", b"a", b"\r\n.", b"\n\r\n"])).map(b"".join)


def pieces(octets: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(c % (len(octets) + 1) for c in cuts), len(octets)]
    return [octets[a:b] for a, b in pairwise(edges)]


@given(BODY, st.lists(st.integers(0, 1000)))
def test_stuffing_is_the_same_in_pieces_and_can_be_undone(body: bytes, cuts: list[int]) -> None:
    stuffer = Stuffer()
    out = b"".join(stuffer.feed(p) for p in pieces(body, cuts)) + stuffer.finish()
    assert out == stuff(body)
    assert (b"\r\n" + out).count(b"\r\n.\r\n") == 1
    plain = b"".join(line.removeprefix(b".") + b"\r\n" for line in out.removesuffix(b".\r\n").split(b"\r\n")[:-1])
    assert plain == (body if not body or body.endswith(b"\r\n") else body + b"\r\n")


@given(BODY, st.lists(st.integers(0, 1000)), st.integers(0, 5))
def test_top_is_header_and_lines(body: bytes, cuts: list[int], lines: int) -> None:
    octets = b"A: b" + body
    end = header_end(octets)
    expected = octets[:end]
    rest = octets[end:]
    for _ in range(lines):
        line, newline, rest = rest.partition(b"\n")
        expected += line + newline
    cutter = TopCutter(lines)
    out = b"".join(cutter.feed(p) for p in pieces(octets, cuts) if not cutter.done)
    assert out == expected


def test_top_of_a_message_without_header() -> None:
    assert TopCutter(1).feed(b"\r\none\r\ntwo\r\n") == b"\r\none\r\n"


@given(st.lists(st.binary(max_size=20)), st.lists(st.integers(0, 1000)))
def test_lines_are_the_same_in_pieces(chosen: list[bytes], cuts: list[int]) -> None:
    octets = b"".join(line + b"\r\n" for line in chosen) + b"rest"
    lines = Lines()
    out = []
    for piece in pieces(octets, cuts):
        lines.feed(piece)
        while (line := lines.next()) is not None:
            out.append(line)
    assert out == [p.removesuffix(b"\r") for p in octets.split(b"\n")[:-1]]
    assert lines.size == len(b"rest")


def test_a_line_without_end_is_refused() -> None:
    lines = Lines()
    for _ in range(12):
        lines.feed(b"x" * 1000)
    with pytest.raises(LineTooLong):
        lines.feed(b"x" * 1000)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"stat", Command("STAT", b"")),
        (b"PASS a b ", Command("PASS", b"a b ")),
        (b"", Command("", b"")),
        (b"\x16\x03\x01", Command("", b"")),
        (b"averylongkeyword", Command("", b"")),
    ],
)
def test_commands(line: bytes, expected: Command) -> None:
    assert parse(line) == expected


def test_status_lines_are_one_line_of_ascii() -> None:
    assert ok("") == b"+OK\r\n"
    assert err("go\r\n+OK away é", "SYS/PERM") == b"-ERR [SYS/PERM] go??+OK away ?\r\n"
    assert len(err("x" * 1000, "AUTH")) <= 512
