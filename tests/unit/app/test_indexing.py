"""The indexer: slices, catching up, what was passed over, what went, who is busy."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from mta.app import indexing
from mta.app.indexing import MESSAGES, Indexer
from mta.model.errors import StorageFull, TemporaryFailure
from mta.model.ids import BlobId, ModSeq
from mta.model.mailbox import MailboxInfo
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.testing.conformance import append, arrive, intake
from mta.testing.memory import MemoryDatabase
from mta.testing.memory.search import MemorySearch
from mta.testing.smtpd import FakeClock
from mta.wire.imap.structure import Parsed, parsed, with_preview
from mta.wire.mime import parse
from mta_hooks.backends import DatabaseOptions


class Site:
    def __init__(self) -> None:
        self.db = MemoryDatabase(DatabaseOptions("/nonexistent", reserve=0))
        self.search = MemorySearch()
        self.clock = FakeClock(0.0)
        self.rests: list[float] = []
        sleep = self.clock.sleep

        async def note(seconds: float) -> None:
            self.rests.append(seconds)
            await sleep(seconds)

        self.clock.sleep = note  # type: ignore[method-assign]
        self.indexer = Indexer(store=self.db.store, search=self.search, clock=self.clock, log=Log())
        self.source: Any = self.db.store


def run(work: Callable[[Site, MailboxInfo], Awaitable[None]]) -> None:
    async def main() -> None:
        site = Site()
        await site.db.open()
        _, inbox = await arrive(site.db)
        await work(site, inbox)
        site.indexer.close()

    asyncio.run(main())


async def caught_up(site: Site) -> None:
    task = Tasks(Log()).spawn(site.indexer.run(), "indexer")
    try:
        async with asyncio.timeout(10):
            while (backlog := await site.source.backlog(site.search.data.position, 1)).held or backlog.unheld:
                await asyncio.sleep(0)
            for _ in range(50):
                await asyncio.sleep(0)
    finally:
        task.cancel()


def test_slices_are_small_and_go_on_where_they_stopped() -> None:
    async def work(site: Site, inbox: MailboxInfo) -> None:
        await append(site.db, inbox, 2 * MESSAGES + 3, octets=b"Subject: needle\r\n\r\nx\r\n")
        more, _ = await site.indexer.step(site.source)
        assert more
        assert len(site.search.data.documents) == MESSAGES
        other = Indexer(store=site.db.store, search=site.search, clock=site.clock, log=Log())  # after a restart
        assert await other.catch_up(lambda _position, _newest: None) == MESSAGES + 3
        assert len(site.search.data.documents) == 2 * MESSAGES + 3
        other.close()

    run(work)


def test_structures_are_made_on_the_way_and_none_twice() -> None:
    async def work(site: Site, inbox: MailboxInfo) -> None:
        octets = b"Subject: needle\r\n\r\nx\r\n"
        await append(site.db, inbox, MESSAGES + 2, octets=octets)
        rows = (await site.db.store.changes(inbox.id, ModSeq(0))).rows
        kept = with_preview(parsed(parse(octets), octets).encode(), b"x")
        await site.db.store.remember_parsed({rows[0].blob: kept})
        await site.indexer.step(site.source)
        assert [have is not None for have in await site.db.store.parsed([row.blob for row in rows[:2]])] == [True, False]
        assert await site.indexer.step(site.source) == (False, False)
        made = await site.db.store.parsed([row.blob for row in rows])
        assert made[0] == kept
        assert {Parsed.decode(each) for each in made} == {parsed(parse(octets), octets)}

    run(work)


def test_a_store_that_keeps_no_structures_is_indexed() -> None:
    async def work(site: Site, inbox: MailboxInfo) -> None:
        async def full(_parsed: object) -> None:
            raise StorageFull("no room")

        site.db.store.remember_parsed = full  # type: ignore[method-assign,assignment]
        await append(site.db, inbox, 3)
        assert await site.indexer.step(site.source) == (False, False)
        assert len(site.search.data.documents) == 3

    run(work)


def test_a_slice_is_bounded_in_octets() -> None:
    async def work(site: Site, inbox: MailboxInfo) -> None:
        await append(site.db, inbox, 4, octets=b"Subject: x\r\n\r\n" + b"x" * (indexing.OCTETS // 2))
        await site.indexer.step(site.source)
        assert len(site.search.data.documents) == 1
        for _ in range(3):
            await site.indexer.step(site.source)
        assert len(site.search.data.documents) == 4

    run(work)


def test_one_larger_than_a_slice_does_not_stop_it() -> None:
    async def work(site: Site, inbox: MailboxInfo) -> None:
        await append(site.db, inbox, 2, octets=b"Subject: x\r\n\r\n" + b"x" * (2 * indexing.OCTETS))
        await caught_up(site)
        assert len(site.search.data.documents) == 2
        assert [d.complete for d in site.search.data.documents.values()] == [False, False]

    run(work)


def test_rests_long_while_mail_comes_in() -> None:
    async def work(site: Site, inbox: MailboxInfo) -> None:
        await append(site.db, inbox, 3 * MESSAGES)
        assert await site.indexer.step(site.source) == (True, False)
        await append(site.db, inbox, 1)
        assert await site.indexer.step(site.source) == (True, True)
        assert await site.indexer.step(site.source) == (True, False)

    run(work)


def test_what_is_in_the_queue_only_is_taken_when_it_comes_into_a_mailbox() -> None:
    async def work(site: Site, inbox: MailboxInfo) -> None:
        await site.db.spool.accept(intake(queued=["bob@example.org"], octets=b"Subject: needle\r\n\r\nx\r\n"))
        await site.indexer.catch_up(lambda _position, _newest: None)
        [blob] = site.search.data.unheld
        assert site.search.data.documents == {}
        row = site.db.data.get(inbox.id)
        row.put(0, "", 0, 5, BlobId(blob), row.next_modseq())
        await site.indexer.sweep(site.source)
        assert list(site.search.data.documents) == [blob]
        assert site.search.data.unheld == set()

    run(work)


def test_what_is_gone_leaves_the_index() -> None:
    async def work(site: Site, inbox: MailboxInfo) -> None:
        await append(site.db, inbox, 3)
        await site.indexer.catch_up(lambda _position, _newest: None)
        gone = sorted(site.db.data.blobs)[1]
        del site.db.data.blobs[gone]
        await site.indexer.sweep(site.source)
        assert gone not in site.search.data.documents
        assert len(site.search.data.documents) == 2

    run(work)


def test_an_index_that_fails_is_asked_again() -> None:
    async def work(site: Site, inbox: MailboxInfo) -> None:
        index, failures = site.search.index, [TemporaryFailure("away"), RuntimeError("a bug")]

        async def failing(*args: Any, **more: Any) -> bool:
            if failures:
                raise failures.pop()
            return await index(*args, **more)

        site.search.index = failing  # type: ignore[method-assign]
        await append(site.db, inbox, 1)
        await caught_up(site)
        assert len(site.search.data.documents) == 1
        assert site.rests.count(indexing._AFTER_FAILURE) == 2

    run(work)


def test_two_indexers_never_index_past_each_other() -> None:
    async def work(site: Site, inbox: MailboxInfo) -> None:
        await append(site.db, inbox, 5 * MESSAGES)
        other = Indexer(store=site.db.store, search=site.search, clock=site.clock, log=Log())
        await asyncio.gather(*(each.catch_up(lambda _position, _newest: None) for each in (site.indexer, other)))
        assert len(site.search.data.documents) == 5 * MESSAGES
        assert site.indexer.taken + other.taken == 5 * MESSAGES
        other.close()

    run(work)
