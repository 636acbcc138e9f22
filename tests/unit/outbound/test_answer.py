"""Octets of a peer to answers, whatever the octets."""
# SPDX-License-Identifier: Apache-2.0

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.outbound.answer import MAX_LINE, MAX_LINES, Answer, AnswerReader, ProtocolError


def read(octets):
    return AnswerReader().feed(octets)


def test_lines_codes_and_enhanced_codes():
    [one, two] = read(b"250-mx.test hello\r\n250-SIZE 100\r\n250 8BITMIME\r\n550 5.1.1 no such user\r\n")
    assert one == Answer(250, ("mx.test hello", "SIZE 100", "8BITMIME"))
    assert (two.code, two.enhanced, two.permanent, str(two)) == (550, "5.1.1", True, "550 5.1.1 no such user")
    assert read(b"354\r\n") == [Answer(354, ("",))]
    assert read(b"250 ok\n") == [Answer(250, ("ok",))]


def test_a_line_means_the_same_wherever_it_stands():
    """Short lines are remembered: alone, first or last of a reply, after another code."""
    for text in (b"ok", b"x" * 200):
        line, said = b"250 " + text + b"\r\n", text.decode()
        for _ in range(2):
            assert read(line) == [Answer(250, (said,))]
            assert read(b"250-first\r\n" + line + line) == [Answer(250, ("first", said)), Answer(250, (said,))]
            with pytest.raises(ProtocolError):
                read(b"220-first\r\n" + line)


@pytest.mark.parametrize(
    "octets",
    [b"hello\r\n", b"25 ok\r\n", b"999 ok\r\n", b"2500 ok\r\n", b"250-a\r\n251 b\r\n", b"\r\n", b"250 " + b"x" * MAX_LINE + b"\r\n", b"x" * (MAX_LINE + 1),
     b"250-x\r\n" * MAX_LINES],
)  # fmt: skip
def test_what_is_no_smtp(octets):
    with pytest.raises(ProtocolError):
        read(octets)


def test_text_cannot_forge_lines_and_is_bounded():
    [answer] = read(b"550 a\x00b\x1b[31m\xff" + b"x" * 3000 + b"\r\n")
    assert str(answer).isprintable()
    assert len(str(answer)) <= 1000


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_pieces_make_no_difference(octets, cuts):
    def run(pieces):
        reader, out = AnswerReader(), []
        try:
            for piece in pieces:
                out += reader.feed(piece)
        except ProtocolError:
            return "error"
        return out, reader.empty

    places = [0, *sorted(min(c, len(octets)) for c in cuts), len(octets)]
    assert run([octets]) == run([octets[a:b] for a, b in itertools.pairwise(places)])


@given(
    st.lists(st.tuples(st.integers(200, 599), st.lists(st.text("abc 5.", max_size=9), min_size=1, max_size=4)), max_size=6),
    st.data(),
)
def test_what_was_said_is_read_whatever_the_pieces(said, data):
    octets = b""
    for code, lines in said:
        for n, line in enumerate(lines):
            octets += f"{code}{' ' if n == len(lines) - 1 else '-'}{line}\r\n".encode()
    cut = data.draw(st.integers(0, len(octets)))
    reader = AnswerReader()
    answers = reader.feed(octets[:cut]) + reader.feed(octets[cut:])
    assert answers == [Answer(code, tuple(line.strip() for line in lines)) for code, lines in said]
    assert reader.empty
