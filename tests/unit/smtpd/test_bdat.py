# SPDX-License-Identifier: Apache-2.0
"""BDAT: hooks that listen, limits, time, octets that are announced and never obeyed; and that no cutting changes what is said."""

import asyncio
import itertools
import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.model.verdict import reject
from mta.pluginhost.plan import Decision
from mta.smtpd.body import SWALLOW
from mta.testing.smtpd import SmtpSite

HELLO = b"EHLO client.example\r\n"
OPENED = b"MAIL FROM:<sender@elsewhere.test>\r\nRCPT TO:<alice@example.test>\r\n"
ENVELOPE = HELLO + OPENED


def converse(site: SmtpSite, *pieces: bytes, protocol: str = "smtp") -> tuple[list[str], Any]:
    """The last lines of the replies to pieces that are sent one after the other."""

    async def run() -> tuple[list[str], Any]:
        link, transport = site.connect(protocol)
        await site.settle(link)
        transport.take()
        said = b""
        for piece in pieces:
            said += await site.talk(link, transport, piece)
        await site.tasks.close()
        return [line for line in said.decode().split("\r\n") if line[3:4] == " " and not line.startswith("250 HELP")], transport

    return asyncio.run(run())


def test_the_message_is_what_the_chunks_held() -> None:
    site = SmtpSite()
    said, _ = converse(site, ENVELOPE + b"BDAT 14\r\nSubject: x\r\n\r\nBDAT 8 LAST\r\n..\r\nend.NOOP\r\n")
    assert [line[:3] for line in said] == ["250"] * 5
    assert site.spool.accepted[0].content.raw().endswith(b"Subject: x\r\n\r\n..\r\nend.\r\n")


def test_binary_parts_arrive_as_base64() -> None:
    site = SmtpSite()
    body = b"\0\r\n.\r\n\n\xff"
    message = (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        b"--b\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: BINARY\r\n\r\n" + body + b"\r\n--b--\r\n"
    )
    start = HELLO + OPENED.replace(b"test>\r\nRCPT", b"test> BODY=BINARYMIME\r\nRCPT")
    said, _ = converse(site, start + b"BDAT %d LAST\r\n" % len(message) + message)
    assert said[-1].startswith("250 2.0.0 queued")
    stored = site.spool.accepted[0].content.raw()
    assert b"Content-Transfer-Encoding: 8bit\r\n\r\n--b\r\n" in stored
    assert stored.endswith(b"Content-Transfer-Encoding: base64\r\n\r\nAA0KLg0KCv8=\r\n--b--\r\n")


@pytest.mark.parametrize(("encoding", "answer"), [(b"binary", "554 5.6.3"), (b"base64", "250 2.0.0")])
def test_a_signed_part_is_never_encoded_anew(encoding: bytes, answer: str) -> None:
    """RFC 3030 §3 lets a relay convert; a signature would not outlive it, so the sender is told while he is there."""
    site = SmtpSite()
    inner = b"Content-Type: image/x\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\nAA0KLg0KCv8=\r\n"
    message = (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=s\r\nContent-Transfer-Encoding: binary\r\n\r\n--s\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + inner + b"--b--\r\n"
        b"--s\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--s--\r\n"
    )
    start = HELLO + OPENED.replace(b"test>\r\nRCPT", b"test> BODY=BINARYMIME\r\nRCPT")
    said, _ = converse(site, start + b"BDAT %d LAST\r\n" % len(message) + message)
    assert said[-1].startswith(answer)
    assert all(inner in intake.content.raw() for intake in site.spool.accepted)


def test_the_hook_of_data_judges_chunks_too() -> None:
    site = SmtpSite()
    site.hook("smtp_data", lambda **_: reject("not you"))
    said, _ = converse(site, ENVELOPE + b"BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
    assert [line.split(" ", 2)[0] for line in said[2:]] == ["550", "503", "250"]
    assert site.spool.accepted == []


def test_sinks_hear_each_chunk() -> None:
    heard: list[bytes] = []

    class Sinks:
        async def feed(self, octets: bytes) -> Decision:
            heard.append(octets)
            return Decision(reject("enough") if b"bad" in octets else None, "p", 0.0, ())

        async def close(self) -> Decision:
            heard.append(b"closed")
            return Decision(None, "", 0.0, ())

    async def opened(**_: Any) -> Sinks:
        return Sinks()

    site = SmtpSite()
    site.hooks.message_sink = SimpleNamespace(open=opened)
    said, _ = converse(site, ENVELOPE + b"BDAT 14\r\nSubject: x\r\n\r\nBDAT 6 LAST\r\nbody\r\n")
    assert said[-1].startswith("250 2.0.0 queued")
    assert heard == [b"Subject: x\r\n\r\n", b"body\r\n", b"closed"]
    said, _ = converse(site, ENVELOPE + b"BDAT 14\r\nSubject: x\r\n\r\nBDAT 5\r\nbad\r\nBDAT 4 LAST\r\nabc\nNOOP\r\n")
    assert [line[:3] for line in said[2:]] == ["250", "550", "550", "250"]
    assert len(site.spool.accepted) == 1


def test_size_is_checked_before_reading_and_in_sum() -> None:
    site = SmtpSite(limits={"message_size": 65536})
    said, transport = converse(site, ENVELOPE + b"BDAT 65537\r\n", b"x" * 65537 + b"NOOP\r\n")
    assert [line[:9] for line in said[2:]] == ["552 5.3.4", "250 2.0.0"]
    said, _ = converse(site, ENVELOPE + b"BDAT 65530\r\n" + b"x" * 65530 + b"BDAT 7 LAST\r\n1234567NOOP\r\n")
    assert [line[:9] for line in said[2:]] == ["250 2.0.0", "552 5.3.4", "250 2.0.0"]
    said, transport = converse(site, ENVELOPE + b"BDAT %d LAST\r\n" % (SWALLOW + 1))
    assert said[-1].startswith("552 5.3.4")
    assert transport.gone
    said, transport = converse(site, b"BDAT 99999999999999999999\r\nQUIT\r\n")
    assert said == ["503 5.5.1 send MAIL first"]
    assert transport.gone


def test_nothing_is_reserved_for_what_is_only_announced() -> None:
    site = SmtpSite()

    async def run() -> None:
        link, transport = site.connect()
        await site.talk(link, transport, ENVELOPE + b"BDAT 50000000 LAST\r\nx")
        assert link.chunks is not None
        assert link.chunks._content.size == 1
        await site.tasks.close()

    asyncio.run(run())


def test_a_message_in_small_chunks_has_a_deadline_too() -> None:
    site = SmtpSite(limits={"transaction_timeout": 60.0})

    async def run() -> None:
        link, transport = site.connect()
        await site.talk(link, transport, ENVELOPE + b"BDAT 1\r\nx")
        site.clock.advance(61)
        assert (await site.talk(link, transport, b"BDAT 1\r\nx")).startswith(b"421 4.4.2")
        assert transport.gone
        await site.tasks.close()

    asyncio.run(run())


def test_empty_chunks_without_end_are_errors() -> None:
    said, transport = converse(SmtpSite(), ENVELOPE + b"BDAT 0\r\n" * 200)
    assert said[-1].startswith("421 4.7.0")
    assert transport.gone


MESSAGE = st.lists(
    st.sampled_from([b"Subject: x\r\n", b"\r\n", b"body", b".\r\n", b"\r", b"\n", b"QUIT\r\n", b"\0"]), max_size=12
).map(b"".join)


@st.composite
def dialogues(draw: st.DrawFn) -> bytes:
    """A whole session: messages by DATA or BDAT in chunks, orders right and wrong."""
    out = HELLO
    for _ in range(draw(st.integers(1, 3))):
        out += draw(st.sampled_from([OPENED, OPENED, b"", OPENED.replace(b"test>\r\nR", b"test> BODY=BINARYMIME\r\nR")]))
        message = draw(MESSAGE)
        while True:
            size = draw(st.integers(0, len(message)))
            last = draw(st.booleans())
            out += b"BDAT %d%s\r\n" % (size, b" LAST" if last else b"") + message[:size]
            message = message[size:]
            if last or not message:
                break
        out += draw(st.sampled_from([b"", b"RSET\r\n", b"NOOP\r\n"]))
    return out + draw(st.sampled_from([b"", b"DATA\r\n"]))  # behind it nothing may wait: what is cut there is another dialogue


@settings(max_examples=150, deadline=None)
@given(dialogues(), st.lists(st.integers(0), max_size=20))
def test_no_cutting_changes_what_is_said_and_stored(octets: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut % len(octets) for cut in cuts), len(octets)]
    pieces = [octets[a:b] for a, b in itertools.pairwise(edges) if b > a]
    one, other = SmtpSite(), SmtpSite()
    whole, _ = converse(one, octets)
    cut, _ = converse(other, *pieces)
    assert [_masked(line) for line in whole] == [_masked(line) for line in cut]
    assert [_body(m.content.raw()) for m in one.spool.accepted] == [_body(m.content.raw()) for m in other.spool.accepted]


def _masked(line: str) -> str:
    """Without the message's id; and of several faults any one may be named."""
    return re.sub(r"queued as \S+|(bare CR|bare LF|NUL) in the message", "…", line)


def _body(stored: bytes) -> bytes:
    """Behind our own trace fields, which name the message's id."""
    return stored[re.match(rb"(?:(?:Return-Path|Received):[^\n]*\n(?:[ \t][^\n]*\n)*)*", stored).end() :]  # type: ignore[union-attr]
