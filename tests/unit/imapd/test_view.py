"""The shared view: read late, kept current, shared by all sessions."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mta.imapd.columns import Columns, FlagTable
from mta.imapd.view import View
from mta.model.ids import BlobId, ModSeq, Uid
from mta.model.mailbox import Row, Stored
from mta.testing.imapd import ImapSite

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"


def row(uid: int, modseq: int = 1, flags: int = 0, keywords: str = "") -> Row:
    return Row(Uid(uid), ModSeq(modseq), flags, keywords, 0, 10, BlobId(uid))


def with_site(test: Callable[[ImapSite], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        site = await ImapSite().open()
        await test(site)
        await site.tasks.close()

    asyncio.run(run())


class Counting:
    """A store that counts what is asked of it."""

    def __init__(self, site: ImapSite) -> None:
        self._store = site.database.store
        self.calls: list[str] = []
        site.server.store = self  # type: ignore[assignment]  # passes everything on

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._store, name)


def test_select_reads_no_messages() -> None:
    async def test(site: ImapSite) -> None:
        await site.deliver(*[MESSAGE] * 5)
        store = Counting(site)
        link, transport = await site.login(b"SELECT INBOX", b"NOOP")
        assert "changes" not in store.calls[:-1]
        view = link.session.mailbox.view
        assert view.columns is None
        await site.deliver(MESSAGE)
        assert b"* 6 EXISTS" in await site.talk(link, transport, b"a NOOP\r\n")
        assert view.columns is None
        await site.talk(link, transport, b"a FETCH 1 FLAGS\r\n")
        assert view.columns is not None

    with_site(test)


def test_status_of_a_mailbox_where_nothing_happened_counts_nothing() -> None:
    async def test(site: ImapSite) -> None:
        await site.deliver(*[MESSAGE] * 2)
        store = Counting(site)
        link, transport = await site.login(b"STATUS INBOX (MESSAGES)")
        store.calls.clear()
        assert b"(UNSEEN 2)" in await site.talk(link, transport, b"a STATUS INBOX (UNSEEN)\r\n")
        assert "mailbox" in store.calls
        assert "status" not in store.calls
        await site.deliver(MESSAGE)
        assert b"(UNSEEN 3)" in await site.talk(link, transport, b"a STATUS INBOX (UNSEEN)\r\n")
        await site.database.store.claim_recent(await site.mailbox())
        assert b"(RECENT 0)" in await site.talk(link, transport, b"a STATUS INBOX (RECENT)\r\n")

    with_site(test)


@pytest.mark.parametrize("gone", [1, 2, 4])
def test_messages_that_went_before_the_columns_were_read_keep_their_numbers(gone: int) -> None:
    async def test(site: ImapSite) -> None:
        await site.deliver(*[MESSAGE] * 4)
        inbox = await site.mailbox()
        link, transport = await site.login(b"SELECT INBOX")
        await site.database.store.remove(inbox, [Uid(gone)])
        await site.deliver(MESSAGE)
        said = await site.talk(link, transport, b"a FETCH 1:4 UID\r\n")
        for number in range(1, 5):
            assert (b"* %d FETCH (UID %d)" % (number, number)) in said
        assert b"EXPUNGE" not in said
        said = await site.talk(link, transport, b"a NOOP\r\n")
        assert said.startswith(b"* %d EXPUNGE\r\n* 4 EXISTS\r\n" % gone)

    with_site(test)


def test_octets_of_an_expunged_message_can_be_read_until_it_is_announced() -> None:
    async def test(site: ImapSite) -> None:
        await site.deliver(*[MESSAGE] * 2)
        inbox = await site.mailbox()
        link, transport = await site.login(b"SELECT INBOX", b"FETCH 1:2 FLAGS")
        await site.database.store.remove(inbox, [Uid(1)])
        said = await site.talk(link, transport, b"a FETCH 1 BODY.PEEK[TEXT]\r\n")
        assert b"body" in said
        assert b"a OK" in said

    with_site(test)


def test_octets_that_are_gone_are_said_to_be() -> None:
    """RFC 5530 §3 EXPUNGEISSUED."""

    async def test(site: ImapSite) -> None:
        await site.deliver(*[MESSAGE] * 2)
        link, transport = await site.login(b"SELECT INBOX", b"FETCH 1:2 FLAGS")
        data = site.memory.data
        (mailbox,) = [m for m in data.mailboxes.values() if m.rows]
        del data.blobs[mailbox.rows[Uid(1)].blob]
        said = await site.talk(link, transport, b"a FETCH 1:2 BODY.PEEK[TEXT]\r\nb SEARCH BODY body\r\n")
        assert b"* 2 FETCH" in said
        assert b"* 1 FETCH" not in said
        assert b"a OK [EXPUNGEISSUED]" in said
        assert b"* SEARCH 2\r\n" in said

    with_site(test)


def test_sessions_share_one_copy() -> None:
    async def test(site: ImapSite) -> None:
        await site.deliver(*[MESSAGE] * 3)
        links = [(await site.login(b"SELECT INBOX", b"FETCH 1:* FLAGS"))[0] for _ in range(3)]
        columns = {id(link.session.mailbox.columns) for link in links}
        assert len(columns) == 1
        view = links[0].session.mailbox.view
        assert view.columns is not None
        assert view.columns.holders == 3
        await site.database.store.remove(await site.mailbox(), [Uid(2)])
        await view.refresh()
        assert all(link.session.mailbox.columns is not view.columns for link in links)
        assert len(view._older) == 1
        for link in links:
            link.session.mailbox.catch_up(expunge=True)
        assert view._older == []
        assert view.columns.holders == 3
        for link in links:
            link.session.leave()
        assert view.columns.holders == 0

    with_site(test)


def test_views_are_dropped_when_nobody_uses_them() -> None:
    async def test(site: ImapSite) -> None:
        link, transport = await site.login(b"SELECT INBOX")
        server = site.server
        assert len(server._views) == 1
        site.clock.advance(1000)
        server._drop_views(site.clock.monotonic())
        assert len(server._views) == 1
        await site.talk(link, transport, b"a UNSELECT\r\n")
        server._drop_views(site.clock.monotonic())
        assert len(server._views) == 1
        site.clock.advance(301)
        server._drop_views(site.clock.monotonic())
        assert len(server._views) == 0

    with_site(test)


def test_a_lost_wake_up_is_found_by_the_poll() -> None:
    async def test(site: ImapSite) -> None:
        link, transport = await site.login(b"SELECT INBOX")
        await site.talk(link, transport, b"a IDLE\r\n")
        site.server.changed, right = (lambda mailboxes: None), site.server.changed  # type: ignore[method-assign]
        await site.deliver(MESSAGE)
        await site.settle(link)
        assert transport.take() == b""
        site.server.changed = right  # type: ignore[method-assign]
        site.clock.advance(16)
        site.server._tick()
        await site.settle(link)
        assert b"* 1 EXISTS" in transport.take()

    with_site(test)


def test_older_rows_change_nothing() -> None:
    async def run() -> None:
        site = await ImapSite().open()
        inbox = await site.mailbox()
        view = View(site.database.store, inbox, await site.database.store.status(inbox))
        await view.load()
        view.take_rows([row(1, 5, 1), row(2, 6)])
        view.take_rows([row(1, 4, 0)])
        assert view.columns is not None
        assert view.columns.row(0) == row(1, 5, 1)
        view.take_rows([row(1, 7, 2, "$x")])
        assert view.columns.row(0) == row(1, 7, 2, "$x")
        assert view.changed_after(0, ModSeq(0)) == {1}

    asyncio.run(run())


def test_own_changes_are_taken_only_when_nothing_lies_between() -> None:
    async def run() -> None:
        site = await ImapSite().open()
        inbox = await site.mailbox()
        view = View(site.database.store, inbox, await site.database.store.status(inbox))
        await view.load()
        highest = view.highest
        view.took(Stored([row(1, highest + 1)], [], ModSeq(highest + 1), made=True))
        assert view.highest == highest + 1
        view.took(Stored([row(2, highest + 3)], [], ModSeq(highest + 3), made=True))
        assert view.highest == highest + 1
        view.took(Stored([row(2, highest + 2)], [], ModSeq(highest + 2)))
        assert view.highest == highest + 1

    asyncio.run(run())


def test_a_long_log_falls_back_to_mod_sequences() -> None:
    async def run() -> None:
        site = await ImapSite().open()
        inbox = await site.mailbox()
        view = View(site.database.store, inbox, await site.database.store.status(inbox))
        await view.load()
        view.take_rows([row(1, 2), row(2, 2)])
        for modseq in range(3, 3000):
            view.take_rows([row(1, modseq, modseq % 2)])
        assert view.log_start > 0
        assert view.changed_after(0, ModSeq(2)) == {1}
        assert view.changed_after(view.log_end, ModSeq(2)) == set()

    asyncio.run(run())


def test_flag_tables_do_not_grow_for_ever() -> None:
    async def run() -> None:
        site = await ImapSite().open()
        inbox = await site.mailbox()
        view = View(site.database.store, inbox, await site.database.store.status(inbox))
        await view.load()
        view.take_rows([row(1, 1)])
        for modseq in range(2, 3000):
            view.take_rows([row(1, modseq, 0, f"$k{modseq}")])
        assert view.columns is not None
        assert len(view.columns.table) < 1100
        assert view.columns.row(0).keywords == "$k2999"

    asyncio.run(run())


@pytest.mark.parametrize("count", [1, 40])
def test_columns_without_some_rows(count: int) -> None:
    columns = Columns(FlagTable())
    columns.extend([row(uid, uid, uid % 32) for uid in range(1, 101)])
    gone = list(range(10, 10 + count))
    new = columns.without(gone)
    assert columns.following is new
    assert [new.row(at) for at in range(len(new))] == [columns.row(at) for at in range(100) if at not in gone]
    octets, left = columns.expunges(12)
    assert left == 12 - min(count, 2)
    assert octets == (b"* 12 EXPUNGE\r\n" if count > 1 else b"") + b"* 11 EXPUNGE\r\n"
    assert columns.position(55) == 54
    assert columns.position(555) == -1


def test_an_answer_from_before_the_last_message_went_does_not_bring_it_back() -> None:
    """A look at the store, our STORE and our EXPUNGE cross: the look saw the STORE, and its answer comes last."""

    async def test(site: ImapSite) -> None:
        await site.deliver(*[MESSAGE] * 3)
        link, transport = await site.login(b"SELECT INBOX", b"FETCH 1:* FLAGS")
        view = link.session.mailbox.view
        highest = view.highest
        stored = row(3, highest + 1, 1)
        view.took(Stored([stored], [], ModSeq(highest + 1), made=True))
        view.remove([Uid(3)], ModSeq(highest + 2), ModSeq(highest + 1))
        assert view.highest == highest + 2
        view.take_rows([stored])
        assert view.messages == 2
        assert (await site.talk(link, transport, b"a NOOP\r\n")).startswith(b"* 3 EXPUNGE\r\na OK")

    with_site(test)
