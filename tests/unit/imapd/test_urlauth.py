"""URLAUTH (RFC 4467): who may read by a URL, for how long, and that nobody can make one up."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from mta.testing.imapd import ImapSite

HOST = b"imap://alice%40example.test@mx.example.test"
Fetch = Callable[[bytes, bytes], Awaitable[bytes]]


async def _site() -> tuple[ImapSite, Callable[[bytes], Awaitable[bytes]], Fetch]:
    site = await ImapSite().open()
    await site.deliver(b"Subject: x\r\n\r\nhello\r\n")
    alice = await site.login()
    links = {b"alice@example.test": alice, b"bob@example.test": await site.login(user=b"bob@example.test")}

    async def generate(rump: bytes) -> bytes:
        said = await site.talk(*alice, b'g GENURLAUTH "%b" INTERNAL\r\n' % (HOST + rump))
        assert said.startswith(b'* GENURLAUTH "'), said
        return said.split(b'"')[1]

    async def fetch(who: bytes, url: bytes) -> bytes:
        said = await site.talk(*links[who], b'f URLFETCH "%b"\r\n' % url)
        return said.removeprefix(b'* URLFETCH "%b" ' % url).removesuffix(b"\r\nf OK that is all\r\n")

    return site, generate, fetch


@pytest.mark.parametrize(
    ("access", "alice", "bob"),
    [
        (b"anonymous", True, True),
        (b"authuser", True, True),
        (b"user+bob%40example.test", False, True),
        (b"submit+alice", False, False),
        (b"other", False, False),
    ],
)
def test_for_whom(access: bytes, alice: bool, bob: bool) -> None:
    async def run() -> None:
        site, generate, fetch = await _site()
        url = await generate(b"/INBOX/;UID=1/;SECTION=TEXT;URLAUTH=" + access)
        assert url.startswith(HOST + b"/INBOX/;UID=1/;SECTION=TEXT;URLAUTH=" + access + b":internal:01")
        for who, may in ((b"alice@example.test", alice), (b"bob@example.test", bob)):
            assert await fetch(who, url) == (b"{7}\r\nhello\r\n" if may else b"NIL")
        await site.tasks.close()

    asyncio.run(run())


def test_names_without_domain_are_of_the_host() -> None:
    """``imap://joe@example.com/`` as in RFC 4467 §6."""

    async def run() -> None:
        site, _, fetch = await _site()
        alice = await site.login()
        for start in (b"imap://alice@example.test", b"imap://alice%40example.test@example.test"):
            rump = b"/INBOX/;UID=1/;SECTION=TEXT;URLAUTH=user+"
            said = await site.talk(*alice, b'g GENURLAUTH "%b" INTERNAL\r\n' % (start + rump + b"bob"))
            url = said.split(b'"')[1]
            assert await fetch(b"bob@example.test", url) == b"{7}\r\nhello\r\n"
            assert await fetch(b"alice@example.test", url) == b"NIL"
        for wrong in (b"imap://alice@mx.example.test", b"imap://alice@example.org", b"imap://bob@example.test"):
            assert (await site.talk(*alice, b'g GENURLAUTH "%b" INTERNAL\r\n' % (wrong + rump + b"bob"))).startswith(
                b"g NO [NOPERM]"
            )
        await site.tasks.close()

    asyncio.run(run())


def test_nothing_of_it_can_be_changed() -> None:
    async def run() -> None:
        site, generate, fetch = await _site()
        await site.deliver(b"Subject: y\r\n\r\nsecret\r\n")
        url = await generate(b"/INBOX/;UID=1/;SECTION=HEADER;URLAUTH=user+alice%40example.test")
        for old, new in ((b"UID=1", b"UID=2"), (b"HEADER", b"TEXT"), (b"+alice", b"+bob"), (b":01", b":02"), (b"INBOX", b"Sent")):
            assert await fetch(b"bob@example.test", url.replace(old, new)) == b"NIL"
            assert await fetch(b"alice@example.test", url.replace(old, new)) == b"NIL"
        assert await fetch(b"alice@example.test", url) == b"{14}\r\nSubject: x\r\n\r\n"
        await site.tasks.close()

    asyncio.run(run())


def test_it_expires_and_a_new_key_voids_it() -> None:
    async def run() -> None:
        site, generate, fetch = await _site()
        site.clock.time = 1_700_000_000.0  # 2023-11-14T22:13:20Z
        brief = await generate(b"/INBOX/;UID=1/;SECTION=TEXT;EXPIRE=2023-11-14T22:13:21Z;URLAUTH=anonymous")
        lasting = await generate(b"/INBOX/;UID=1/;SECTION=TEXT;URLAUTH=anonymous")
        assert await fetch(b"bob@example.test", brief) == b"{7}\r\nhello\r\n"
        site.clock.time += 1
        assert await fetch(b"bob@example.test", brief) == b"NIL"
        assert await fetch(b"bob@example.test", lasting) == b"{7}\r\nhello\r\n"
        link, transport = await site.login(b"RESETKEY INBOX")
        assert await fetch(b"bob@example.test", lasting) == b"NIL"
        again = await generate(b"/INBOX/;UID=1/;SECTION=TEXT;URLAUTH=anonymous")
        assert again != lasting
        assert await fetch(b"bob@example.test", again) == b"{7}\r\nhello\r\n"
        await site.talk(link, transport, b"x RESETKEY\r\n")
        assert await fetch(b"bob@example.test", again) == b"NIL"
        await site.tasks.close()

    asyncio.run(run())
