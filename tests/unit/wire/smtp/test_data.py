# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.smtp.data import ChunkDecoder, DataDecoder, encode_data

PIECES = st.lists(st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"a", b"..", b"\r\n.", b"\r\n.\r\n", b"\0", b"text"]), max_size=30)


def decode(octets: bytes, cuts: list[int], limit: int = 10**9) -> tuple[bytes, bytes | None, str]:
    decoder = DataDecoder(limit)
    content, position = b"", 0
    for cut in [*sorted(c % (len(octets) + 1) for c in cuts), len(octets)]:
        piece, rest = decoder.feed(octets[position:cut])
        content += piece
        position = max(position, cut)
        if rest is not None:
            return content, rest + octets[position:], decoder.fault
    return content, None, decoder.fault


def reference(octets: bytes) -> tuple[bytes, bytes | None, bool]:
    """Line by line, as RFC 5321 §4.5.2 tells it: content, rest, faulty."""
    position, content = 0, b""
    while (end := octets.find(b"\r\n", position)) >= 0:
        line = octets[position:end]
        if line == b".":
            faulty = b"\0" in content or b"\r" in content.replace(b"\r\n", b"") or b"\n" in content.replace(b"\r\n", b"")
            return content, octets[end + 2 :], faulty
        content += line.removeprefix(b".") + b"\r\n"
        position = end + 2
    return content, None, False


@given(PIECES, st.lists(st.integers(min_value=0), max_size=12))
def test_any_chunking_says_what_the_rfc_says(pieces: list[bytes], cuts: list[int]) -> None:
    octets = b"".join(pieces)
    content, rest, fault = decode(octets, cuts)
    wanted, wanted_rest, faulty = reference(octets)
    assert rest == wanted_rest
    if rest is not None:
        assert bool(fault) == faulty
        if not fault:
            assert content == wanted


@given(
    st.binary(max_size=400).map(lambda b: b.replace(b"\0", b"").replace(b"\r", b"").replace(b"\n", b"\r\n") + b"\r\n"),
    st.lists(st.integers(0)),
)
def test_what_is_encoded_is_decoded(content: bytes, cuts: list[int]) -> None:
    assert decode(encode_data(content) + b"QUIT\r\n", cuts) == (content, b"QUIT\r\n", "")


LOOK_ALIKES = [
    a + b"." + b
    for a in (b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r\n", b"\0\r\n", b"\r\0\n", b"")
    for b in (b"\n", b"\r", b"\r\n", b"\r\r\n", b"\n\r", b"\0\r\n", b"\r\0\n")
    if b"\r\n.\r\n" not in a + b"." + b
]


@pytest.mark.parametrize("end", LOOK_ALIKES, ids=repr)
def test_no_look_alike_ends_a_message(end: bytes) -> None:
    """CVE-2023-51764 and its kin: the smuggled part stays inside, and the message is refused."""
    octets = b"Subject: x\r\n\r\nbody" + end + b"MAIL FROM:<evil@x.test>\r\nDATA\r\n"
    for cuts in ([], list(range(len(octets)))):
        _, rest, _ = decode(octets, cuts)
        assert rest is None
        _, rest, fault = decode(octets + b"\r\n.\r\n", cuts)
        assert rest == b""
        bare = end.replace(b"\r\n", b"")
        assert bool(fault) == any(c in bare for c in b"\r\n\0")


def test_faults_are_named() -> None:
    for octets, fault in (
        (b"a\nb", "bare LF"),
        (b"a\rb", "bare CR"),
        (b"a\0b", "NUL"),
        (b"a\r\r\nb", "bare CR"),
        (b"x" * 101, "too big"),
    ):
        content, rest, found = decode(octets + b"\r\n.\r\n", [], limit=100)
        assert (content, rest, found) == (b"", b"", fault)


def test_size_counts_content_only() -> None:
    decoder = DataDecoder(10)
    assert decoder.feed(b"..3456\r\n.\r\n") == (b".3456\r\n", b"")
    assert (decoder.size, decoder.fault) == (7, "")
    assert decode(b"12345678\r\n.\r\n", [], limit=10)[2] == ""
    assert decode(b"123456789\r\n.\r\n", [], limit=10)[2] == "too big"


def test_long_lines_are_taken() -> None:
    line = b"x" * 100_000 + b"\r\n"
    assert decode(encode_data(line), [1000, 50_000]) == (line, b"", "")


def chunked(octets: bytes, cuts: list[int], limit: int = 10**9, *, binary: bool = False) -> tuple[bytes, str]:
    decoder = ChunkDecoder(limit, binary=binary)
    content, position = b"", 0
    for cut in [*sorted(c % (len(octets) + 1) for c in cuts), len(octets)]:
        content += decoder.feed(octets[position:cut])
        position = max(position, cut)
    content += decoder.end()
    return content, decoder.fault


@given(PIECES, st.lists(st.integers(min_value=0), max_size=12))
def test_chunks_of_any_size_hold_whole_lines_or_are_faulty(pieces: list[bytes], cuts: list[int]) -> None:
    octets = b"".join(pieces)
    content, fault = chunked(octets, cuts)
    plain = octets.replace(b"\r\n", b"")
    assert bool(fault) == any(bare in plain for bare in (b"\r", b"\n", b"\0"))
    if not fault:
        assert content == (octets if octets.endswith(b"\r\n") or not octets else octets + b"\r\n")


@given(st.binary(max_size=200), st.lists(st.integers(min_value=0), max_size=12))
def test_binary_chunks_are_kept_octet_for_octet(octets: bytes, cuts: list[int]) -> None:
    assert chunked(octets, cuts, binary=True) == (octets, "")


def test_chunks_above_the_limit_are_too_big() -> None:
    assert chunked(b"x" * 10 + b"\r\n", [3, 5], 11)[1] == "too big"
    assert chunked(b"x" * 10 + b"\r\n", [3, 5], 12)[1] == ""
