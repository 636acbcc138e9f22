"""Streams of octets to requests: any chunking means the same, every bound holds."""
# SPDX-License-Identifier: Apache-2.0

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.message import OctetContent
from mta.wire.imap.decoder import BEFORE_LOGIN, Bounds, Decoder, Overflow, Request, Wanted, tag_of


class Sink:
    """Counts as a file."""

    def __init__(self, size: int) -> None:
        self.octets = b""
        self.spilled = 0

    @property
    def full(self) -> bool:
        return len(self.octets) - self.spilled > 100

    def write(self, octets: bytes) -> None:
        self.octets += octets

    def spill(self) -> None:
        self.spilled = len(self.octets)

    def finish(self) -> OctetContent:
        return OctetContent(self.octets)


def decoder(**bounds: int) -> Decoder:
    return Decoder(Bounds(**bounds), Sink)


def events(decoder: Decoder) -> list[object]:
    out: list[object] = []
    while (event := decoder.request()) is not None:
        out.append(event)
        if isinstance(event, Overflow):
            break
    return out


def feed(decoder: Decoder, octets: bytes) -> list[object]:
    decoder.feed(octets)
    return events(decoder)


def test_lines_become_requests() -> None:
    assert feed(decoder(), b"a NOOP\r\nb LOG") == [Request(b"a NOOP")]


def test_synchronising_literal_is_asked_for() -> None:
    d = decoder()
    assert feed(d, b"a LOGIN {3}\r\n") == [Wanted(3)]
    assert feed(d, b"bob {2}\r\n") == [Wanted(2)]
    assert feed(d, b"pw\r\n") == [Request(b"a LOGIN {3}\r\n {2}\r\n", (b"bob", b"pw"))]


def test_non_synchronising_literal_is_taken() -> None:
    assert feed(decoder(), b"a LOGIN {3+}\r\nb\r\n {0+}\r\n\r\nb NOOP\r\n") == [
        Request(b"a LOGIN {3+}\r\n {0+}\r\n", (b"b\r\n", b"")),
        Request(b"b NOOP"),
    ]


def test_brace_amid_a_line_is_no_literal() -> None:
    assert feed(decoder(), b"a X {3} \r\n") == [Request(b"a X {3} ")]


def test_bare_lf_is_malformed_and_the_next_command_is_whole() -> None:
    first, second = feed(decoder(), b"a NOOP\nb NOOP\r\n")
    assert isinstance(first, Request)
    assert first.problem == "malformed"
    assert second == Request(b"b NOOP")


def test_line_bound() -> None:
    assert feed(decoder(line=100), b"a" * 101) == [Overflow("line too long")]
    assert feed(decoder(line=100), b"a" * 101 + b"\r\n") == [Overflow("line too long")]
    assert feed(decoder(line=100), b"a" * 99 + b"\r\n") == [Request(b"a" * 99)]


def test_all_lines_of_a_request_count_together() -> None:
    line = b'"x" {1+}\r\ny'
    assert isinstance(feed(decoder(line=200), b"a SEARCH " + line * 100)[-1], Overflow)


def test_string_literal_too_large_is_refused_unasked() -> None:
    first, second = feed(decoder(string=10), b"a LOGIN {11}\r\nb NOOP\r\n")
    assert isinstance(first, Request)
    assert first.problem == "too big"
    assert tag_of(first.text) == b"a"
    assert second == Request(b"b NOOP")


def test_eager_literal_too_large_is_passed_over() -> None:
    first, second = feed(decoder(string=10), b"a LOGIN {11+}\r\n12345678901 x\r\nb NOOP\r\n")
    assert isinstance(first, Request)
    assert first.problem == "too big"
    assert second == Request(b"b NOOP")


def test_message_literal_has_its_own_bound() -> None:
    assert feed(decoder(string=10, message=20), b"a APPEND x {20}\r\n") == [Wanted(20)]
    (refused,) = feed(decoder(string=10, message=20), b"a APPEND x {21}\r\n")
    assert isinstance(refused, Request)
    assert refused.problem == "too big"


def test_number_of_literals_is_bounded() -> None:
    (refused,) = feed(decoder(literals=2), b"a X {1+}\r\nx {1+}\r\ny {1+}\r\nz\r\n")
    assert isinstance(refused, Request)
    assert refused.problem == "limit"


def test_large_literals_go_to_a_sink() -> None:
    d = decoder(memory=10, string=1000)
    d.feed(b"a X {8+}\r\n12345678 {300+}\r\n" + b"z" * 250)
    assert d.request() is None
    sink = d.overfull
    assert sink is not None
    sink.spill()
    assert d.overfull is None
    (request,) = feed(d, b"z" * 50 + b"\r\n")
    assert isinstance(request, Request)
    small, large = request.literals
    assert small == b"12345678"
    assert isinstance(large, OctetContent)
    assert large.octets == b"z" * 300


def test_files_are_bounded() -> None:
    d = decoder(memory=0, string=10**6, files=2)
    big = b"{70000+}\r\n" + b"z" * 70_000
    (refused,) = feed(d, b"a X " + b" ".join([big] * 3) + b"\r\n")
    assert isinstance(refused, Request)
    assert refused.problem == "limit"
    (taken,) = feed(d, b"a X " + b" ".join([big] * 2 + [b"{3+}\r\nabc"] * 5) + b"\r\n")
    assert isinstance(taken, Request)
    assert (taken.problem, len(taken.literals)) == ("", 7)


def test_a_literal_that_finds_no_room_is_passed_over() -> None:
    d = decoder(memory=0, string=1000)
    assert feed(d, b"a X {300+}\r\n" + b"z" * 150) == []
    assert d.overfull is not None
    d.refuse("no room")
    assert d.overfull is None
    refused, after = feed(d, b"z" * 150 + b"\r\nb NOOP\r\n")
    assert isinstance(refused, Request)
    assert refused.problem == "no room"
    assert after == Request(b"b NOOP")


class TestBeforeLogin:
    """CVE-2024-34055, CVE-2024-37358, CVE-2025-61600: memory before a password was said."""

    def test_eager_literal_above_4_kib_ends_the_connection(self) -> None:
        d = Decoder(BEFORE_LOGIN, Sink)
        assert isinstance(feed(d, b"a LOGIN {4097+}\r\n")[0], Overflow)

    def test_command_above_8_kib_ends_or_is_refused(self) -> None:
        d = Decoder(BEFORE_LOGIN, Sink)
        (refused,) = feed(d, b"a LOGIN {8192}\r\n")
        assert isinstance(refused, Request)
        assert refused.problem == "too big"
        assert isinstance(feed(d, b"a LOGIN " + b"x" * 8192)[0], Overflow)

    def test_many_small_literals_count_together(self) -> None:
        d = Decoder(BEFORE_LOGIN, Sink)
        assert isinstance(
            feed(d, b"a LOGIN {4000+}\r\n" + b"x" * 4000 + b" {4000+}\r\n" + b"y" * 4000 + b" {4000+}\r\n")[-1], Overflow
        )

    def test_append_is_a_command_like_others(self) -> None:
        d = Decoder(BEFORE_LOGIN, Sink)
        (refused,) = feed(d, b"a APPEND INBOX {100000}\r\n")
        assert isinstance(refused, Request)
        assert refused.problem == "too big"


@pytest.mark.parametrize("eager", [b"", b"+"])
@given(
    parts=st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 3)), min_size=1, max_size=6),
    cuts=st.lists(st.integers(1, 30), max_size=40),
)
def test_chunking_never_changes_meaning(eager: bytes, parts: list[tuple[bytes, int]], cuts: list[int]) -> None:
    stream, expected = b"", []
    for octets, words in parts:
        text = b"t CMD" + b" w" * words
        stream += text + b" {%d%b}\r\n" % (len(octets), eager) + octets + b" end\r\n"
        if not eager:
            expected.append(Wanted(len(octets)))
        expected.append(Request(text + b" {%d%b}\r\n end" % (len(octets), eager), (octets,)))
    d = decoder()
    found: list[object] = []
    at = 0
    for cut in cuts:
        found += feed(d, stream[at : at + cut])
        at += cut
    found += feed(d, stream[at:])
    assert found == expected


@given(st.binary(max_size=400), st.lists(st.integers(1, 50), max_size=10))
def test_any_octets_give_the_same_events_in_any_pieces(octets: bytes, cuts: list[int]) -> None:
    bounds = Bounds(line=60, string=30, message=40, memory=20, literals=3, total=60)
    whole = Decoder(bounds, Sink)
    expected = feed(whole, octets)
    pieces = Decoder(bounds, Sink)
    found: list[object] = []
    at = 0
    for cut in [*cuts, len(octets)]:
        if found and isinstance(found[-1], Overflow):
            break
        found += feed(pieces, octets[at : at + cut])
        at += cut
    assert [_comparable(e) for e in found] == [_comparable(e) for e in expected]


def _comparable(event: object) -> object:
    if isinstance(event, Request):
        return dataclasses.replace(event, literals=tuple(x if isinstance(x, bytes) else x.raw() for x in event.literals))
    return event


def test_lines_outside_commands() -> None:
    d = decoder()
    d.feed(b"DO")
    assert d.line(100) is None
    d.feed(b"NE\r\na NOOP\r\n")
    assert d.line(100) == b"DONE"
    assert events(d) == [Request(b"a NOOP")]
    d.feed(b"x" * 101)
    assert isinstance(d.line(100), Overflow)
