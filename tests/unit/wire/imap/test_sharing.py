"""Commands of QUOTA, ACL, METADATA, NOTIFY and LANGUAGE: values, and nothing but Malformed for what is none."""
# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.imap.acl import SetAcl, acl_line, list_rights_line
from mta.wire.imap.command import parse
from mta.wire.imap.decoder import Request
from mta.wire.imap.metadata import GetMetadata, SetMetadata, metadata_line
from mta.wire.imap.notify import Notify
from mta.wire.imap.scanner import Malformed

VERBS = ["GETQUOTA", "SETQUOTA", "GETQUOTAROOT", "GETACL", "SETACL", "DELETEACL", "LISTRIGHTS", "MYRIGHTS"]
VERBS += ["GETMETADATA", "SETMETADATA", "NOTIFY", "LANGUAGE", "UNAUTHENTICATE"]
WORDS = [b"(", b")", b" ", b'"', b"SET", b"NONE", b"STATUS", b"SELECTED", b"SUBTREE", b"INBOX", b"MessageNew", b"MessageExpunge"]
WORDS += [b"/shared/x", b"NIL", b"DEPTH", b"1", b"\xff", b"{3}\r\n", b"~{3}\r\n", b"BODY[", b"]", b"\\", b"*", b"&-", b"&"]


def value(text: bytes, *literals: bytes) -> object:
    return parse(Request(b"a " + text, literals)).value


@given(st.sampled_from(VERBS), st.lists(st.sampled_from(WORDS), max_size=12))
def test_anything_is_a_command_or_malformed(verb, words):
    text = verb.encode() + b" " + b"".join(words)
    try:
        value(text, *[b"abc"] * text.count(b"{3}"))
    except Malformed:
        pass


def test_values():
    assert value(b'SETACL "&AOQ-" bob@x +lr') == SetAcl("\u00e4", "bob@x", "+lr")
    assert value(b"GETMETADATA (DEPTH 1 MAXSIZE 5) x (/Shared/A /private/b)") == GetMetadata("x", ("/shared/a", "/private/b"), 1, 5)
    assert value(b'GETMETADATA x "/shared"') == GetMetadata("x", ("/shared",))
    assert value(b"SETMETADATA x (/shared/a ~{3}\r\n /shared/b NIL)", b"\0x\xff") == SetMetadata(
        "x", {"/shared/a": b"\0x\xff", "/shared/b": None}
    )
    assert value(b"NOTIFY NONE") == Notify()
    asked = value(b"NOTIFY SET STATUS (subtree (a b) (messagenew messageexpunge)) (selected none)")
    assert isinstance(asked, Notify)
    assert [(g.kind, g.names, sorted(g.events)) for g in asked.groups] == [
        ("subtree", ("a", "b"), ["MessageExpunge", "MessageNew"]),
        ("selected", (), []),
    ]
    assert asked.status


def test_bounds():
    entries = b" ".join(b"/shared/e%d" % n for n in range(101))
    for text in (
        b"GETMETADATA x (%b)" % entries,
        b"GETMETADATA x /shared/" + b"y" * 1000,
        b"NOTIFY SET " + b" ".join([b"(inboxes none)"] * 51),
        b"NOTIFY SET (mailboxes (%b) none)" % b" ".join([b"m"] * 1001),
    ):
        with pytest.raises(Malformed):
            value(text)


def test_lines():
    assert acl_line("\u00e4", [("bob@x", "lrt")], utf8=False) == b'* ACL &AOQ- "bob@x" "lrtd"\r\n'
    assert list_rights_line("a", "bob@x", "", ("l", "r"), utf8=True) == b'* LISTRIGHTS a "bob@x" "" l r\r\n'
    assert metadata_line("", [("/shared/a", b"\0")], utf8=True) == b'* METADATA "" ("/shared/a" ~{1}\r\n\0)\r\n'
