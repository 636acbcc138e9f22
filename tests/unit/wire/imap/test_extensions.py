"""Commands of extensions: what they are read as, and that anything else is malformed."""
# SPDX-License-Identifier: Apache-2.0

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.message import OctetContent
from mta.wire.imap.append import Append, Appendix
from mta.wire.imap.batches import Batches
from mta.wire.imap.command import Command, parse
from mta.wire.imap.decoder import Request
from mta.wire.imap.flags import FlagList
from mta.wire.imap.mailbox_filter import MailboxFilter
from mta.wire.imap.multisearch import MultiSearch
from mta.wire.imap.replace import Replace
from mta.wire.imap.scanner import Malformed
from mta.wire.imap.search import Search, UnknownCharset
from mta.wire.imap.search_keys import All, EmailId, Filter, Saved, SavedKnown, ThreadId
from mta.wire.imap.sequence import STAR, SequenceSet
from mta.wire.imap.urlauth import GenUrlAuth, ResetKey, UrlFetch

X = OctetContent(b"x")
ALL = frozenset({"ALL"})
CASES: list[tuple[bytes, Any]] = [
    (b"COMPRESS deflate", "DEFLATE"),
    (b"REPLACE * A {1}\r\n", Replace(SequenceSet(((STAR, STAR),)), "A", Appendix(X))),
    (b"UID REPLACE 7 A (\\Seen) {1}\r\n", Replace(SequenceSet(((7, 7),)), "A", Appendix(X, FlagList(1)), uid=True)),
    (b"APPEND A CATENATE (URL /A/;UID=1 TEXT {1}\r\n)", Append("A", (Appendix(OctetContent(b""), parts=(b"/A/;UID=1", X)),))),
    (b"APPEND A UTF8 (~{1}\r\n)", Append("A", (Appendix(X, binary=True),))),
    (b"UIDBATCHES 500", Batches(500)),
    (b"UIDBATCHES 500 2:3", Batches(500, (2, 3))),
    (b"ESEARCH ALL", MultiSearch(Search(All(), True, ALL))),
    (
        b"ESEARCH IN (selected subtree (A B) mailboxes C) RETURN (COUNT) ALL",
        MultiSearch(
            Search(All(), True, frozenset({"COUNT"})),
            (MailboxFilter("SELECTED"), MailboxFilter("SUBTREE", ("A", "B")), MailboxFilter("MAILBOXES", ("C",))),
        ),
    ),
    (b"GENURLAUTH u1 INTERNAL u2 internal", GenUrlAuth(((b"u1", "INTERNAL"), (b"u2", "INTERNAL")))),
    (b'URLFETCH "u 1" u2', UrlFetch((b"u 1", b"u2"))),
    (b"RESETKEY", ResetKey()),
    (b"RESETKEY inbox INTERNAL", ResetKey("INBOX", ("INTERNAL",))),
    (b'CANCELUPDATE "a" "b"', (b"a", b"b")),
    (b"SEARCH EMAILID M1", Search(EmailId("M1"))),
    (b"SEARCH THREADID T-_9", Search(ThreadId("T-_9"))),
    (b"SEARCH FILTER $x", Search(Filter("$x"))),
    (b"SEARCH SAVEDSINCE 2-Jan-1970", Search(Saved("since", 1))),
    (b"SEARCH SAVEDATESUPPORTED", Search(SavedKnown())),
    (b"SEARCH RETURN (UPDATE) ALL", Search(All(), options=frozenset({"UPDATE"}))),
    (b"SEARCH RETURN (CONTEXT) ALL", Search(All(), options=ALL)),
]


def read(text: bytes, utf8: bool = True) -> Command:
    return parse(Request(b"t " + text, (b"x",) * text.count(b"{1}\r\n")), utf8=utf8)


@pytest.mark.parametrize(("text", "value"), CASES, ids=[text.decode() for text, _ in CASES])
def test_read(text: bytes, value: Any) -> None:
    assert read(text).value == value


@pytest.mark.parametrize(
    "text",
    [
        b"REPLACE $ A {1}\r\n", b"REPLACE 1,2 A {1}\r\n", b"REPLACE 1:2 A {1}\r\n", b"REPLACE 1 A", b"REPLACE 1 A {1}\r\n {1}\r\n",
        b"APPEND A CATENATE", b"APPEND A CATENATE (TEXT)", b"APPEND A CATENATE (URL)", b"APPEND A CATENATE (TEXT {1}\r\n",
        b"APPEND A UTF8 {1}\r\n", b"APPEND A UTF8 (~{1}\r\n", b"UIDBATCHES", b"UIDBATCHES 1 1", b"UIDBATCHES x", b"ESEARCH IN ALL",
        b"ESEARCH IN (inboxes subtree) ALL", b"GENURLAUTH u", b"URLFETCH", b"CANCELUPDATE", b"CANCELUPDATE a", b"RESETKEY ",
        b"SEARCH EMAILID", b"SEARCH EMAILID a.b", b"SEARCH RETURN (UPDATES) ALL", b"COMPRESS", b"FETCH 1 PREVIEW (LAZY",
    ],
)  # fmt: skip
def test_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        read(text)


def test_utf8_needs_to_be_enabled() -> None:
    with pytest.raises(Malformed, match="ENABLE"):
        read(b"APPEND A UTF8 (~{1}\r\n)", utf8=False)


@given(st.sampled_from([text for text, _ in CASES]), st.integers(0, 60), st.text(' ()"{}1x*:,;\\/~AU', max_size=6))
def test_whatever_stands_there_is_read_or_malformed(text: bytes, at: int, more: str) -> None:
    try:
        read(text[:at] + more.encode() + text[at:])
    except (Malformed, UnknownCharset):
        return
