"""Requests to commands."""
# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.imap.append import Append
from mta.wire.imap.command import Authenticate, Command, Create, Id, Login, Rename, Select, parse
from mta.wire.imap.decoder import Request
from mta.wire.imap.flags import FlagList
from mta.wire.imap.listing import List, Status
from mta.wire.imap.scanner import Malformed
from mta.wire.imap.search import UnknownCharset
from mta.wire.imap.sequence import SequenceSet
from mta.wire.imap.store import Copy, Expunge, Store


def read(text: bytes, *literals: bytes, utf8: bool = False) -> Command:
    return parse(Request(text, literals), utf8=utf8)


ONE = SequenceSet(((1, 1),))
CASES: list[tuple[bytes, Command]] = [
    (b"a1 noop", Command(b"a1", "NOOP")),
    (b"A.1 EXPUNGE", Command(b"A.1", "EXPUNGE", Expunge())),
    (b"a UID EXPUNGE 1", Command(b"a", "UID EXPUNGE", Expunge(ONE))),
    (b'a LOGIN bob "p\\"w"', Command(b"a", "LOGIN", Login(b"bob", b'p"w'))),
    (b"a AUTHENTICATE plain", Command(b"a", "AUTHENTICATE", Authenticate("PLAIN"))),
    (b"a AUTHENTICATE PLAIN =", Command(b"a", "AUTHENTICATE", Authenticate("PLAIN", b"="))),
    (b"a ENABLE condstore X", Command(b"a", "ENABLE", ("CONDSTORE", "X"))),
    (b"a SELECT inbox", Command(b"a", "SELECT", Select("INBOX"))),
    (b"a EXAMINE x (CONDSTORE)", Command(b"a", "EXAMINE", Select("x", condstore=True))),
    (b"a SELECT x (QRESYNC (7 9))", Command(b"a", "SELECT", Select("x", qresync=(7, 9, None, None)))),
    (b"a SELECT x (QRESYNC (7 9 1 (1 1)))", Command(b"a", "SELECT", Select("x", qresync=(7, 9, ONE, (ONE, ONE))))),
    (b"a SELECT x (QRESYNC (7 9 (1 1)))", Command(b"a", "SELECT", Select("x", qresync=(7, 9, None, (ONE, ONE))))),
    (b"a CREATE x/", Command(b"a", "CREATE", Create("x/"))),
    (b"a CREATE x (USE (\\Sent))", Command(b"a", "CREATE", Create("x", ("\\Sent",)))),
    (b"a DELETE x", Command(b"a", "DELETE", "x")),
    (b"a RENAME x y", Command(b"a", "RENAME", Rename("x", "y"))),
    (b"a ID NIL", Command(b"a", "ID", Id(None))),
    (b'a ID ("Name" "x" "v" NIL)', Command(b"a", "ID", Id((("name", "x"), ("v", ""))))),
    (b'a LIST "" *', Command(b"a", "LIST", List("", ("*",)))),
    (
        b'a LIST (SUBSCRIBED) "" (a "%") RETURN (CHILDREN STATUS (UNSEEN))',
        Command(
            b"a",
            "LIST",
            List("", ("a", "%"), frozenset({"SUBSCRIBED"}), frozenset({"CHILDREN", "STATUS"}), ("UNSEEN",), extended=True),
        ),
    ),
    (b'a LSUB "" %', Command(b"a", "LSUB", List("", ("%",), frozenset({"SUBSCRIBED"})))),
    (b"a STATUS x (UIDNEXT messages)", Command(b"a", "STATUS", Status("x", ("UIDNEXT", "MESSAGES")))),
    (b"a UID COPY 1 y", Command(b"a", "UID COPY", Copy(ONE, "y", uid=True))),
    (b"a STORE 1 -flags.silent a", Command(b"a", "STORE", Store(ONE, "remove", FlagList(0, frozenset({"a"})), silent=True))),
]  # fmt: skip


@pytest.mark.parametrize(("text", "command"), CASES)
def test_cases(text: bytes, command: Command) -> None:
    assert read(text) == command


@pytest.mark.parametrize(
    "text",
    [b"", b"a", b"a ", b" a NOOP", b"+ NOOP", b"a NOOP ", b"a NOOP x", b"a FROB", b"a UID", b"a UID NOOP", b"a UID FETCH", b"a LOGIN x",
     b"a LOGIN x y z", b"a SELECT", b"a SELECT x y", b"a SELECT x (NOPE)", b"a SELECT x (QRESYNC (0))", b"a STORE 1 FLAGS", b"a STORE 1 (X 1) FLAGS a",
     b"a COPY 1", b"a LIST x", b'a LIST (RECURSIVEMATCH) "" *', b'a LIST (X) "" *', b'a LIST "" * RETURN (X)', b"a STATUS x ()", b"a STATUS x (X)",
     b"a ID (x)", b"a CREATE x (X)", b"a APPEND x", b"a APPEND x foo", b"a AUTHENTICATE !", b"a AUTHENTICATE PLAIN *", b"a RENAME x",
     b"a DELETE {3}\r\n", b"a UID EXPUNGE", b"a UID EXPUNGE x", b"a SEARCH RETURN", b"x" * 257 + b" NOOP", b"\xff NOOP"],
)  # fmt: skip
def test_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        read(text)


def test_append_of_several() -> None:
    """RFC 3502."""
    text = b'a APPEND x (\\Seen) "01-Jan-1970 00:00:01 +0000" {3}\r\n ~{2+}\r\n'
    command = read(text, b"abc", b"de")
    assert isinstance(command.value, Append)
    first, second = command.value.messages
    assert (first.content.raw(), first.flags.flags, first.date) == (b"abc", 1, 1)
    assert (second.content.raw(), second.flags, second.date) == (b"de", FlagList(), None)


def test_passwords_are_not_shown() -> None:
    assert "secret" not in repr(read(b"a LOGIN bob secret"))
    assert "c2VjcmV0" not in repr(read(b"a AUTHENTICATE PLAIN c2VjcmV0"))


def test_names_by_what_was_enabled() -> None:
    assert read(b"a DELETE &AOQ-").value == "ä"
    assert read(b"a DELETE &AOQ-", utf8=True).value == "&AOQ-"
    assert read("a DELETE ä".encode(), utf8=True).value == "ä"


@pytest.mark.parametrize("command", [Store(ONE, "add", FlagList(1), uid=True), Store(ONE, "set", FlagList(), unchanged_since=5)])
def test_store_round_trip(command: Store) -> None:
    assert read(b"a " + command.encode()).value == command


def test_copy_round_trip() -> None:
    command = Copy(ONE, "Entwürfe/x y", uid=True)
    assert read(b"a " + command.encode(b"COPY", utf8=False)).value == command


@given(st.binary(max_size=80), st.lists(st.binary(max_size=5), max_size=3))
def test_anything_is_a_command_or_malformed(text: bytes, literals: list[bytes]) -> None:
    for start in (b"", b"a FETCH ", b"a SEARCH ", b"a LIST ", b"a APPEND ", b"a STORE 1 ", b"a SELECT x "):
        try:
            assert isinstance(read(start + text, *literals), Command)
        except (Malformed, UnknownCharset):
            pass


def test_patterns_are_bounded() -> None:
    with pytest.raises(Malformed):
        read(b'a LIST "" (' + b" ".join([b"x"] * 101) + b")")


def test_tokens_are_bounded() -> None:
    with pytest.raises(Malformed):
        read(b"a ID (" + b" ".join([b'"x"'] * 10_002) + b")")
