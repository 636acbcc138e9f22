"""SELECT (QRESYNC …): the same answer whether the mailbox's columns were read before, or are not even for this (RFC 7162 §3.2.5)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import re
from typing import Any

import pytest

from mta.model.ids import Uid
from mta.testing.imapd import ImapSite

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"
ENABLE = b"ENABLE QRESYNC"


class Late:
    """A store in which something happens before the numbers are looked for."""

    def __init__(self, site: ImapSite, *gone: Uid) -> None:
        self._store = site.database.store
        self._site = site
        self._gone = gone
        site.server.store = self  # type: ignore[assignment]  # passes everything on

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def numbers(self, mailbox: Any, uids: Any) -> Any:
        await self._store.remove(mailbox, self._gone)
        await self._site.deliver(MESSAGE)
        return await self._store.numbers(mailbox, uids)  # type: ignore[attr-defined]


async def changed_mailbox() -> tuple[ImapSite, int]:
    """Ten messages of which 1, 4 and 5 went; after that modseq 7 goes, 3 and 9 change, and 11 comes."""
    site = await ImapSite().open()
    await site.deliver(*[MESSAGE] * 10)
    inbox, store = await site.mailbox(), site.database.store
    _, modseq = await store.remove(inbox, [Uid(1), Uid(4), Uid(5)])
    await store.remove(inbox, [Uid(7)])
    await store.set_flags(inbox, [Uid(3), Uid(9)], "add", 1, frozenset({"$word"}))
    await site.deliver(MESSAGE)
    return site, modseq


def answers(octets: bytes) -> list[bytes]:
    return re.findall(rb"(?m)^\* (?:\d+ FETCH|VANISHED).*(?=\r$)", octets)


@pytest.mark.parametrize("known", [b"", b" 1:10"])
def test_columns_are_not_read_for_it(known: bytes) -> None:
    async def run() -> None:
        site, modseq = await changed_mailbox()
        command = b"a SELECT INBOX (QRESYNC (101 %d%b))\r\n" % (modseq, known)
        link, transport = await site.login(ENABLE)
        cold = await site.talk(link, transport, command)
        assert link.session.mailbox.view.columns is None
        assert re.search(rb"\* FLAGS \([^)]*\$word\)\r\n\* OK \[PERMANENTFLAGS [^\r]*\r\n\* \d+ FETCH", cold), (
            "keywords first: RFC 9051 §7.3.5"
        )
        assert [line.split()[1] for line in answers(cold)] == [b"VANISHED", b"2", b"5"] + ([] if known else [b"7"])
        await site.talk(link, transport, b"b FETCH 1:* FLAGS\r\n")
        assert link.session.mailbox.view.columns is not None
        warm = await site.talk(link, transport, command)
        assert [re.sub(rb"\\Recent ?", b"", line) for line in answers(cold)] == [
            re.sub(rb"\\Recent ?", b"", line) for line in answers(warm)
        ]
        await site.tasks.close()

    asyncio.run(run())


def test_nothing_happened() -> None:
    async def run() -> None:
        site, _ = await changed_mailbox()
        link, transport = await site.login(ENABLE)
        status = await site.database.store.status(await site.mailbox())
        said = await site.talk(link, transport, b"a SELECT INBOX (QRESYNC (101 %d))\r\n" % status.highest_modseq)
        assert answers(said) == []
        assert link.session.mailbox.view.columns is None
        await site.tasks.close()

    asyncio.run(run())


@pytest.mark.parametrize("gone", [2, 3, 10])
def test_what_happens_meanwhile_moves_no_number(gone: int) -> None:
    async def run() -> None:
        site, modseq = await changed_mailbox()
        Late(site, Uid(gone))
        link, transport = await site.login(ENABLE)
        said = await site.talk(link, transport, b"a SELECT INBOX (QRESYNC (101 %d))\r\n" % modseq)
        assert b"* 7 EXISTS" in said
        told = {int(line.split()[1]): line for line in answers(said) if b"FETCH" in line}
        assert {n: int(re.search(rb"UID (\d+)", line)[1]) for n, line in told.items() if n <= 7} == {2: 3, 5: 9, 7: 11}  # type: ignore[index]
        said += await site.talk(link, transport, b"b NOOP\r\n")
        assert b"* VANISHED %d\r\n" % gone in said
        assert b"* 7 EXISTS\r\n" in said.partition(b"VANISHED %d" % gone)[2]
        await site.tasks.close()

    asyncio.run(run())


@pytest.mark.parametrize("back", [0, 1])
def test_what_the_view_has_just_heard_is_not_asked_again(back: int) -> None:
    async def run() -> None:
        site, _ = await changed_mailbox()
        inbox, store = await site.mailbox(), site.database.store
        link, transport = await site.login(ENABLE, b"SELECT INBOX", b"FETCH 1:* FLAGS", b"UNSELECT")
        left = (await store.status(inbox)).highest_modseq
        await store.set_flags(inbox, [Uid(2)], "add", 1, frozenset())
        came_back = (await store.status(inbox)).highest_modseq if back else left
        await store.set_flags(inbox, [Uid(9)], "add", 2, frozenset())
        asked: list[int] = []
        changes = store.changes

        async def count(mailbox: Any, since: Any) -> Any:
            asked.append(since)
            return await changes(mailbox, since)

        store.changes = count  # type: ignore[method-assign]
        said = await site.talk(link, transport, b"a SELECT INBOX (QRESYNC (101 %d))\r\n" % came_back)
        assert asked == [left]
        assert [line.split()[1] for line in answers(said)] == ([b"5"] if back else [b"1", b"5"])
        await store.remove(inbox, [Uid(2)])
        said = await site.talk(link, transport, b"b SELECT INBOX (QRESYNC (101 %d))\r\n" % came_back)
        assert [line.split()[1] for line in answers(said)] == [b"VANISHED", b"4"]
        await site.tasks.close()

    asyncio.run(run())
