"""IMAP URLs of messages (RFC 5092, RFC 4467 §3, RFC 5550 §3.2)."""
# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.imap.fetch import Section
from mta.wire.imap.scanner import Malformed
from mta.wire.imap.url import Authority, Url, read_url

TOKEN = "0f" * 16


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (b";UID=7", Url(7)),
        (b"/;UID=7", Url(7)),
        (b"/INBOX/;UID=7", Url(7, "INBOX")),
        (b"/inbox;UIDVALIDITY=3/;uid=7", Url(7, "INBOX", uid_validity=3)),
        (b"/A/B%20C%C3%A9/;UID=7/;SECTION=1.2.HEADER", Url(7, "A/B Cé", section=Section((1, 2), "HEADER"))),
        (b"/A/;UID=7/;SECTION=HEADER.FIELDS%20(TO)", Url(7, "A", section=Section((), "HEADER.FIELDS", (b"TO",)))),
        (b"/A/;UID=7/;PARTIAL=3.4", Url(7, "A", start=3, count=4)),
        (b"/A/;UID=7/;SECTION=TEXT/;PARTIAL=3", Url(7, "A", section=Section((), "TEXT"), start=3)),
        (b"imap://joe@Example.com/INBOX/;UID=2", Url(2, "INBOX", "example.com", "joe")),
        (b"imap://joe;AUTH=*@example.com:143/INBOX/;UID=2", Url(2, "INBOX", "example.com", "joe")),
        (b"IMAP://[::1]/INBOX/;UID=2", Url(2, "INBOX", "[::1]")),
        (
            b"imap://joe@example.com/INBOX/;uid=20/;section=1.2;expire=2027-01-02T03:04:05Z;urlauth=submit+fred:internal:" + TOKEN.encode(),
            Url(
                20, "INBOX", "example.com", "joe", section=Section((1, 2)),
                authority=Authority(
                    "submit+fred",
                    "imap://joe@example.com/INBOX/;uid=20/;section=1.2;expire=2027-01-02T03:04:05Z;urlauth=submit+fred",
                    "2027-01-02T03:04:05Z", "INTERNAL", TOKEN,
                ),
            ),
        ),
        (b"/INBOX/;UID=1;URLAUTH=anonymous", Url(1, "INBOX", authority=Authority("anonymous", "/INBOX/;UID=1;URLAUTH=anonymous"))),
    ],
)  # fmt: skip
def test_it_names_a_message(text: bytes, url: Url) -> None:
    assert read_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        b"", b"/INBOX", b"/INBOX/;UID=0", b"/INBOX/;UID=1/", b"/INBOX/;UID=1/;SECTION=", b"/INBOX/;UID=1/;SECTION=FOO", b"/INBOX/;UID=x",
        b"http://example.com/INBOX/;UID=1", b"imap://example.com/;UID=1x", b"imap://example.com;UID=1", b"/\xff/;UID=1", b"/%ff/;UID=1",
        b"/INBOX/;UID=1/;PARTIAL=1.0", b"/INBOX/;UID=1;EXPIRE=tomorrow;URLAUTH=anonymous", b"/INBOX/;UID=1;URLAUTH=anonymous:INTERNAL",
        b"/" + b"x" * 5000 + b"/;UID=1",
    ],
)  # fmt: skip
def test_it_names_none(text: bytes) -> None:
    with pytest.raises(Malformed):
        read_url(text)


@given(st.binary(max_size=60), st.text("/;:=@.%01UIDSECTONPARLXRHauthinternal[]() ", max_size=80))
def test_any_octets_are_a_url_or_malformed(octets: bytes, text: str) -> None:
    for each in (octets, text.encode(), b"/INBOX/;UID=1" + text.encode(), b"imap://" + text.encode() + b"/;UID=1"):
        try:
            read_url(each)
        except Malformed:
            continue
