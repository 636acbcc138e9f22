"""POP3 over real storage: what holds between two workers, beside other changes, and after a restart."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mta.model.address import Address
from mta.model.ids import MailboxId, Uid, UserId
from mta.model.mailbox import NewMessage
from mta.model.message import Flags, OctetContent
from mta.testing.memory import Data, MemoryDatabase
from mta.testing.pop3d import Pop3Site
from mta_hooks.backends import Database, DatabaseOptions
from mta_sql.database import SqlDatabase

Open = Callable[[], Awaitable[Database]]
BIG = b"Subject: big\r\n\r\n" + b"0123456789\r\n" * 200_000


@pytest.fixture(params=["memory", "sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same data as often as asked, as workers do."""
    options, data = DatabaseOptions(data_dir=str(tmp_path)), Data(uid_validity=7)

    async def opened() -> Database:
        made: Database = MemoryDatabase(options, data) if request.param == "memory" else SqlDatabase("sqlite", options)
        await made.open()
        return made

    return opened


async def fill(database: Database, messages: list[bytes]) -> tuple[UserId, MailboxId]:
    (user,) = await database.directory.add_users([(Address("alice", "example.test"), "x")])
    inbox = await database.store.mailbox(user.id, "INBOX")
    await database.store.append(inbox.id, [NewMessage(OctetContent(m), Flags(0), frozenset(), 1_800_000_000) for m in messages])
    return user.id, inbox.id


async def say(site: Pop3Site, *commands: str) -> list[str]:
    link, wire = await site.login()
    said = await site.talk(link, wire, "".join(f"{command}\r\n" for command in commands).encode())
    link.connection_lost(None)
    return said.decode().split("\r\n")[:-1]


def test_unique_ids_last_and_removal_is_durable(database: Open) -> None:
    async def run() -> None:
        first = await database()
        user, _ = await fill(first, [b"A: 1\r\n\r\n", b"A: 2\r\n\r\n", BIG])
        before = await say(Pop3Site(store=first.store, user=user), "UIDL", "RETR 3", "QUIT")
        assert before[0] == "+OK 3 messages"
        assert before.count("0123456789") == 200_000
        assert (await say(Pop3Site(store=first.store, user=user), "DELE 1", "QUIT"))[-1] == "+OK bye"
        await first.close()
        second = await database()
        after = await say(Pop3Site(store=second.store, user=user), "UIDL", "QUIT")
        assert [line.split()[1] for line in after[1:3]] == [line.split()[1] for line in before[2:4]]
        await second.close()

    asyncio.run(run())


def test_two_workers_with_one_maildrop(database: Open) -> None:
    async def run() -> None:
        one, other = await database(), await database()
        user, inbox = await fill(one, [b"A: 1\r\n\r\none\r\n", b"A: 2\r\n\r\ntwo\r\n"])
        here, there = Pop3Site(store=one.store, user=user), Pop3Site(store=other.store, user=user)
        link, wire = await here.login()
        assert (await say(there, "DELE 1", "DELE 2", "QUIT"))[-1] == "+OK bye"
        assert (await one.store.status(inbox)).messages == 0
        said = await here.talk(link, wire, b"RETR 1\r\n")
        assert said == b"+OK 13 octets\r\nA: 1\r\n\r\none\r\n.\r\n"  # kept for undelete
        assert await here.talk(link, wire, b"DELE 1\r\nQUIT\r\n") == b"+OK marked\r\n+OK bye\r\n"
        await one.close()
        await other.close()

    asyncio.run(run())


def test_mail_that_comes_meanwhile_is_seen_by_the_next_session_only(database: Open) -> None:
    async def run() -> None:
        opened = await database()
        user, inbox = await fill(opened, [b"A: 1\r\n\r\n"])
        site = Pop3Site(store=opened.store, user=user)
        link, wire = await site.login()
        await opened.store.append(inbox, [NewMessage(OctetContent(b"A: 2\r\n\r\n"), Flags(0), frozenset(), 1)])
        assert await site.talk(link, wire, b"STAT\r\nRETR 2\r\n") == b"+OK 1 8\r\n-ERR no such message\r\n"
        link.connection_lost(None)
        assert await say(site, "STAT") == ["+OK 2 16"]
        assert (await opened.store.expunge(inbox))[0] == []
        assert (await opened.store.remove(inbox, [Uid(1)]))[0] == [1]
        assert await say(site, "STAT", "LIST") == ["+OK 1 8", "+OK 1 messages", "1 8", "."]
        await opened.close()

    asyncio.run(run())
