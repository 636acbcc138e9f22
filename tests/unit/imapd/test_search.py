"""SEARCH: columns and octets give what a slow, plain reading gives."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import base64
import email
import email.policy
import quopri
import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.imapd.search_text import _day, _Needle, _Opened
from mta.model.ids import BlobId
from mta.model.search import FIELDS
from mta.testing.imapd import ImapSite
from mta.wire.imap.dates import _EPOCH
from mta.wire.imap.document import make_document
from mta.wire.mime.searchable import field_pattern


def opened(octets: bytes, text: str, *, header: bool = True) -> bool:
    return _Opened(octets).has_text(_Needle(text), header=header)


HEAD = b"Subject: =?utf-8?b?" + base64.b64encode("Grüße aus Köln".encode()) + b"?=\r\nFrom: a@b\r\n"
ENCODED = {
    "base64": HEAD + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode("Straße needle".encode()),
    "qp": HEAD
    + b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    + quopri.encodestring("Straße need=\nle".encode("latin-1")).replace(b"need=3D\n", b"need=\r\n"),
    "8bit": HEAD + b"Content-Type: text/plain; charset=utf-8\r\n\r\nStra\xc3\x9fe needle\r\n",
    "utf-16": HEAD
    + b"Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.b64encode("Straße needle".encode("utf-16")),
    "html": HEAD + b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>Stra\xc3\x9fe <b>needle</b></p>\r\n",
}  # fmt: skip


@pytest.mark.parametrize("form", sorted(ENCODED))
@pytest.mark.parametrize("text", ["needle", "NEEDLE", "straße", "STRAßE"])
def test_text_in_every_encoding(form: str, text: str) -> None:
    assert opened(ENCODED[form], text, header=False)
    assert opened(ENCODED[form], "grüße AUS")
    assert not opened(ENCODED[form], "grüße aus", header=False)
    assert not opened(ENCODED[form], "haystack")


@pytest.mark.parametrize("text", ["joe@example.org", "OE (Joe)@", "two@example.net"])
def test_addresses_in_pieces_are_found_whole(text: str) -> None:
    """FROM looks into the envelope's From (RFC 9051 §6.4.4)."""
    octets = b"From: x <joe (Joe)@ example\r\n .org>, two@example.net\r\nSubject: no (joe) @ example .org\r\n\r\n"
    assert _Opened(octets).has_field(field_pattern("from"), _Needle(text), addressed=True)
    assert not _Opened(octets).has_field(field_pattern("subject"), _Needle(text))
    document = make_document(BlobId(1), octets)
    assert _Needle(text).text in (document.fields[FIELDS.index("from")] or "")
    assert not _Opened(octets).has_field(field_pattern("from"), _Needle("joe@example.com"), addressed=True)


def test_attachments_and_boundaries_are_no_text() -> None:
    octets = (
        b"Content-Type: multipart/mixed; boundary=frontier\r\n\r\n--frontier\r\nContent-Type: text/plain\r\n\r\nwords\r\n"
        b"--frontier\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.b64encode(b"hidden treasure")
        + b"\r\n--frontier--\r\n"
    )
    assert opened(octets, "words", header=False)
    assert not opened(octets, "frontier", header=False)
    assert not opened(octets, "octet-stream", header=False)
    assert not opened(octets, base64.b64encode(b"hidden treasure").decode()[:8], header=False)
    assert opened(octets, "frontier", header=True)


def test_phrases_run_over_line_breaks() -> None:
    assert opened(b"Subject: one\r\n two\r\n\r\nthree\r\nfour\r\n", "one two")
    assert opened(b"Subject: x\r\n\r\nthree\r\nfour\r\n", "three four")
    assert not opened(b"Subject: x\r\n\r\nthree\r\nfour\r\n", "three  four")


def test_an_empty_string_is_everywhere() -> None:
    assert opened(b"", "")


@given(st.integers(1, 9999), st.integers(1, 12), st.integers(1, 28))
def test_days(year: int, month: int, day: int) -> None:
    from datetime import date

    assert _day(year, month, day) == date(year, month, day).toordinal() - _EPOCH


@pytest.mark.parametrize(
    ("field", "day"),
    [("Mon, 3 Jan 2022 23:59:59 -1200", "2022-01-03"), ("3 Jan 22 00:00 GMT", "2022-01-03"), ("Fri, 29 Feb 2008 1:2:3 +0000", "2008-02-29"),
     ("1 Jan 99 00:00:00 Z", "1999-01-01"), ("\r\n 3 Jan 2022 00:00:00 Z", "2022-01-03"), ("nonsense", None), ("3 Foo 2022", None)],
)  # fmt: skip
def test_sent_day(field: str, day: str | None) -> None:
    from datetime import date

    octets = b"Subject: x\r\nDate: " + field.encode() + b"\r\n\r\nDate: 1 Jan 2000 00:00:00 Z\r\n"
    expected = None if day is None else date.fromisoformat(day).toordinal() - _EPOCH
    assert _Opened(octets).sent_day() == expected


WORDS = ["alpha", "beta", "gamma", "straße"]
MESSAGE = st.builds(
    lambda subject, sender, body, to: (
        f"From: {sender}@example.org\r\nTo: {to}@example.net\r\nSubject: {subject}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n\r\n" + " ".join(body) + "\r\n"
    ).encode(),
    st.sampled_from(WORDS[:3]),
    st.sampled_from(WORDS[:3]),
    st.lists(st.sampled_from(WORDS), max_size=3),
    st.sampled_from(WORDS[:3]),
)
LEAF = st.one_of(
    st.sampled_from(["ALL", "SEEN", "UNSEEN", "FLAGGED", "KEYWORD $a", "UNKEYWORD $a", "SINCE 2-Jan-1970", "BEFORE 3-Jan-1970", "ON 2-Jan-1970"]),
    st.builds(lambda a, b: f"{min(a, b)}:{max(a, b)}", st.integers(1, 6), st.integers(1, 6)),
    st.builds(lambda a: f"UID {a}:*", st.integers(1, 8)),
    st.builds(lambda size: f"LARGER {size}", st.integers(100, 140)),
    st.builds(lambda size: f"SMALLER {size}", st.integers(100, 140)),
    st.builds(lambda key, word: f"{key} {word}", st.sampled_from(["FROM", "TO", "SUBJECT", "BODY", "TEXT"]), st.sampled_from(["alpha", "ETA", "gamma", "xyz", "straße"])),
)  # fmt: skip
KEY = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        inner.map(lambda k: f"NOT {k}"),
        st.tuples(inner, inner).map(lambda p: f"OR {p[0]} {p[1]}"),
        st.lists(inner, min_size=2, max_size=3).map(lambda ks: f"({' '.join(ks)})"),
    ),
    max_leaves=6,
)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(MESSAGE, st.integers(0, 31), st.booleans(), st.integers(0, 3)), min_size=1, max_size=6), KEY)
def test_same_as_a_plain_reading(messages: Sequence[tuple[bytes, int, bool, int]], key: str) -> None:
    async def run() -> bytes:
        site = await ImapSite().open()
        for octets, flags, keyword, day in messages:
            await site.deliver(octets, flags=flags, keywords=["$a"] if keyword else [], date=day * 86400 + 5)
        link, transport = await site.login(b"EXAMINE INBOX")
        said = await site.talk(link, transport, f"a SEARCH {key}\r\n".encode())
        await site.tasks.close()
        return said

    found = re.match(rb"\* SEARCH([ \d]*)\r\na OK", asyncio.run(run()))
    assert found
    expected = [n for n, message in enumerate(messages, 1) if Naive(key, message, n, len(messages)).holds()]
    assert [int(n) for n in found[1].split()] == expected


class Naive:
    """Evaluates a query text for one message, reading it with the standard library."""

    def __init__(self, key: str, message: tuple[bytes, int, bool, int], number: int, count: int) -> None:
        self.words = key.replace("(", "( ").replace(")", " )").split()
        self.octets, self.flags, self.keyword, self.day = message
        self.number, self.count = number, count
        self.mail = email.message_from_bytes(self.octets, policy=email.policy.default)

    def holds(self) -> bool:
        answer = self.key()
        assert not self.words
        return answer

    def key(self) -> bool:
        word = self.words.pop(0)
        if word == "(":
            answers = []
            while self.words[0] != ")":
                answers.append(self.key())
            self.words.pop(0)
            return all(answers)
        if word == "NOT":
            return not self.key()
        if word == "OR":
            left, right = self.key(), self.key()
            return left or right
        simple = {"ALL": True, "SEEN": bool(self.flags & 1), "UNSEEN": not self.flags & 1, "FLAGGED": bool(self.flags & 4)}
        if word in simple:
            return simple[word]
        if ":" in word:
            low, high = map(int, word.split(":"))
            return low <= self.number <= high
        value = self.words.pop(0)
        if word == "UID":
            low = int(value.removesuffix(":*"))
            return self.number >= low or (self.number == self.count and low > self.count)
        if word in ("KEYWORD", "UNKEYWORD"):
            return self.keyword is (word == "KEYWORD")
        if word in ("SINCE", "BEFORE", "ON"):
            day = int(value.split("-")[0]) - 1
            return {"SINCE": self.day >= day, "BEFORE": self.day < day, "ON": self.day == day}[word]
        if word in ("LARGER", "SMALLER"):
            return len(self.octets) > int(value) if word == "LARGER" else len(self.octets) < int(value)
        value = value.casefold()
        if word in ("FROM", "TO", "SUBJECT"):
            return value in str(self.mail[word]).casefold()
        body = self.octets.partition(b"\r\n\r\n")[2].decode().casefold()
        return value in body or (word == "TEXT" and value in self.octets.partition(b"\r\n\r\n")[0].decode().casefold())
