"""What a server says."""
# SPDX-License-Identifier: Apache-2.0

from hypothesis import given
from hypothesis import strategies as st

from mta.wire.imap import response
from mta.wire.imap.scanner import Scanner


@given(st.binary(max_size=60).filter(lambda o: b"\0" not in o))
def test_strings_can_be_read_back(octets: bytes) -> None:
    wire = response.string(octets)
    marker, _, literal = wire.partition(b"\r\n")
    text = marker + b"\r\n" if literal or wire.startswith(b"{") else wire
    assert Scanner(text, (literal,)).string() == octets


def test_nul_is_never_said() -> None:
    assert response.string(b"a\0b") == b"{3}\r\na?b"


def test_long_strings_are_literals() -> None:
    assert response.string(b"x" * 1001).startswith(b"{1001}\r\n")


def test_search() -> None:
    assert response.search_response([]) == b"* SEARCH\r\n"
    assert response.search_response([1, 3], 9) == b"* SEARCH 1 3 (MODSEQ 9)\r\n"


def test_esearch() -> None:
    """RFC 9051 §7.3.4; an empty result has only COUNT."""
    options = frozenset({"MIN", "MAX", "ALL", "COUNT"})
    assert response.esearch_response(b"a", [2, 3, 9], options, uid=True, modseq=7) == (
        b'* ESEARCH (TAG "a") UID MIN 2 MAX 9 ALL 2:3,9 COUNT 3 MODSEQ 7\r\n'
    )
    assert response.esearch_response(b"a", [], options, uid=False) == b'* ESEARCH (TAG "a") COUNT 0\r\n'


def test_names_in_lists() -> None:
    assert response.list_line([b"\\Sent"], "Entwürfe", utf8=False) == b'* LIST (\\Sent) "/" Entw&APw-rfe\r\n'
    assert response.list_line([], "a b", utf8=True) == b'* LIST () "/" "a b"\r\n'
    assert response.list_line([], "NIL", utf8=True) == b'* LIST () "/" "NIL"\r\n'
    assert response.status_response("x", [("MESSAGES", 3)], utf8=False) == b"* STATUS x (MESSAGES 3)\r\n"
