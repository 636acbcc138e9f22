"""What CAPABILITY says: as the page for operators has it, less what a store cannot, less what is hidden."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from mta.testing.imapd import ImapSite

PAGE = Path(__file__).parents[3] / "docs/operators/imap.md"
BEYOND = {"stable_ids", "save_dates", "replace", "quotas", "sharing", "annotations", "undelete"}


class Plain:
    """A store with nothing beyond ``MailStore``."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        if name in BEYOND:
            raise AttributeError(name)
        return getattr(self._store, name)


async def told(site: ImapSite) -> set[str]:
    link, transport = await site.login()
    said = await site.talk(link, transport, b"c CAPABILITY\r\n")
    await site.tasks.close()
    return set(said.split(b"\r\n")[0].decode().split()[2:])


def test_the_page_names_exactly_what_is_offered() -> None:
    async def run() -> None:
        offered = {
            word.split("=")[0] if word.rpartition("=")[2].isdecimal() else word
            for word in await told(await _site(imap_messages=1000))
        }
        rows = [line.split("|")[1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
        assert {word for row in rows for word in re.findall(r"`([^`]+)`", row)} == offered - {"IMAP4rev1", "IMAP4rev2"}

    asyncio.run(run())


async def _site(**limits: Any) -> ImapSite:
    return await ImapSite(**limits).open()


def test_a_store_that_lacks_something_is_not_praised_for_it() -> None:
    async def run() -> None:
        site = await _site()
        site.server.store = Plain(site.store)  # type: ignore[assignment]
        offered = await told(site)
        assert not offered & {"OBJECTID", "SAVEDATE", "REPLACE", "QUOTA", "ACL", "METADATA", "URLAUTH", "FILTERS", "MESSAGELIMIT"}
        assert {"PREVIEW", "COMPRESS=DEFLATE", "CATENATE", "UIDONLY"} <= offered

    asyncio.run(run())


@pytest.mark.parametrize(
    "command",
    [
        b"STATUS INBOX (MAILBOXID)",
        b"FETCH 1 (EMAILID)",
        b"FETCH 1 (THREADID)",
        b"SEARCH EMAILID M1",
        b"SEARCH THREADID T1",
        b"SEARCH SAVEDSINCE 1-Jan-2020",
        b"SEARCH FILTER x",
        b"REPLACE 1 INBOX {1+}\r\nx",
        b"RESETKEY INBOX",
    ],
)
def test_what_is_not_offered_is_bad(command: bytes) -> None:
    async def run() -> None:
        site = await _site()
        await site.deliver(b"Subject: x\r\n\r\n")
        site.server.store = Plain(site.store)  # type: ignore[assignment]
        link, transport = await site.login(b"SELECT INBOX")
        assert (await site.talk(link, transport, b"x %b\r\n" % command)).startswith(b"x BAD no ")
        assert b"SAVEDATE NIL" in await site.talk(link, transport, b"y FETCH 1 (SAVEDATE)\r\n")
        assert await site.talk(link, transport, b"z SEARCH SAVEDATESUPPORTED\r\n") == b"* SEARCH\r\nz OK SEARCH done\r\n"
        await site.tasks.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("hidden", "gone", "there"),
    [
        ("APPENDLIMIT", "APPENDLIMIT=52428800", "BINARY"),
        ("COMPRESS=DEFLATE", "COMPRESS=DEFLATE", "LITERAL+"),
        ("LITERAL+", "LITERAL+", "LITERAL-"),  # the lesser promise is kept too (RFC 7888 §5)
        ("THREAD", "nothing", "THREAD=REFERENCES"),
    ],
)
def test_what_is_hidden(hidden: str, gone: str, there: str) -> None:
    async def run() -> None:
        site = await _site()
        assert "LITERAL-" not in await told(site)
        site = await _site()
        site.server.hidden = lambda *_: frozenset({hidden})  # type: ignore[method-assign]
        offered = await told(site)
        assert gone not in offered
        assert there in offered

    asyncio.run(run())
