# SPDX-License-Identifier: Apache-2.0
"""From the wire to the mailbox with the real dispatcher, directory and database, in memory and on SQLite."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mta.directory.builtin import DirectoryPlugin
from mta.model.address import Address
from mta.model.directory import Alias
from mta.model.message import Placement
from mta.model.verdict import Verdict, quarantine
from mta.pluginhost.durable import record_of
from mta.testing.memory import MemoryDatabase
from mta.testing.plugins import host_with
from mta.testing.smtpd import SmtpSite
from mta_hooks import AddHeader, DeliveryRecord, hookimpl
from mta_hooks.backends import DatabaseOptions
from mta_sql.database import SqlDatabase

ENVELOPE = b"EHLO c.example\r\nMAIL FROM:<sender@elsewhere.test>\r\n"
BODY = b"Subject: hello\r\n\r\nbody\r\n.\r\n"


@hookimpl
def message_check(message: Any) -> Verdict | None:
    return quarantine("odd") if message.header("X-Spam") else None


@hookimpl
def message_modify(message: Any) -> AddHeader:
    return AddHeader("X-Checked", "yes")


@hookimpl
def mailbox_deliver(user: str, placement: Placement) -> Placement | None:
    return Placement("Lists/dev") if user.startswith("bob") and placement.folder == "INBOX" else None


@hookimpl
def delivered(record: DeliveryRecord) -> None:
    """Makes the hook durable: its rows are looked at in the outbox."""


@pytest.fixture(params=["memory", "sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    options = DatabaseOptions(data_dir=str(tmp_path), durable_hooks=frozenset({"delivered"}))
    return MemoryDatabase(options) if request.param == "memory" else SqlDatabase("sqlite", options)


def play(database: Any, dialogue: Callable[[SmtpSite, Callable[[bytes], Awaitable[str]]], Awaitable[None]]) -> None:
    async def run() -> None:
        await database.open()
        await database.directory.add_users([(Address("alice", "example.test"), "x"), (Address("bob", "example.test"), "x")])
        await database.directory.add_alias(Alias("all@example.test", ("alice@example.test", "bob@example.test", "x@far.test")))
        directory: Any = DirectoryPlugin(database.directory, None)  # type: ignore[arg-type]
        host = host_with(message_check, message_modify, mailbox_deliver, delivered, directory)
        site = SmtpSite(hooks=host, database=database)
        link, transport = site.connect()
        transport.take()

        async def talk(octets: bytes) -> str:
            link.data_received(octets)
            while link.working:
                await asyncio.sleep(0.001)
            return transport.take().decode()

        await dialogue(site, talk)
        await site.tasks.close()
        await database.close()

    asyncio.run(run())


async def messages(database: Any, user: str, folder: str) -> list[bytes]:
    account = await database.directory.user(Address.parse(user))
    mailbox = await database.store.mailbox(account.id, folder)
    rows = (await database.store.changes(mailbox.id, 0)).rows
    return [await database.store.read(row.blob) for row in rows]


def test_a_message_to_an_alias_is_visible_when_250_is_said(database: Any) -> None:
    async def dialogue(site: SmtpSite, talk: Callable[[bytes], Awaitable[str]]) -> None:
        said = await talk(ENVELOPE + b"RCPT TO:<All@example.test>\r\nRCPT TO:<nobody@example.test>\r\nDATA\r\n")
        assert [line[:9] for line in said.split("\r\n")[-5:-2]] == ["250 2.1.0", "250 2.1.5", "550 5.1.1"]
        assert (await talk(BODY)).startswith("250 2.0.0 queued as ")
        [for_alice] = await messages(database, "alice@example.test", "INBOX")
        [for_bob] = await messages(database, "bob@example.test", "Lists/dev")
        assert for_alice == for_bob
        fields = (
            b"Return-Path: <sender@elsewhere.test>\r\nX-Checked: yes\r\nDelivered-To: All@example.test\r\nReceived: from c.example"
        )
        assert for_alice.startswith(fields)
        assert for_alice.endswith(b"Subject: hello\r\n\r\nbody\r\n")
        [leased] = await database.queue.lease("test", 10, 60.0, now=site.clock.now() + 1)
        assert (str(leased.address), leased.transport) == ("x@far.test", "remote")
        octets = await database.queue.content(leased.message.blob, leased.message.skip)
        assert octets.startswith(b"X-Checked")
        rows = await database.outbox.lease("test", 10, 60.0, now=site.clock.now() + 1)
        records = [record_of("record", row.payload) for row in rows]
        assert sorted(r.reply for r in records if isinstance(r, DeliveryRecord)) == [
            "250 2.0.0 delivered to INBOX",
            "250 2.0.0 delivered to Lists/dev",
        ]

    play(database, dialogue)


def test_quarantine_goes_to_junk(database: Any) -> None:
    async def dialogue(site: SmtpSite, talk: Callable[[bytes], Awaitable[str]]) -> None:
        await talk(ENVELOPE + b"RCPT TO:<alice+tag@example.test>\r\nDATA\r\n")
        assert (await talk(b"X-Spam: yes\r\n" + BODY)).startswith("250")
        assert await messages(database, "alice@example.test", "INBOX") == []
        assert len(await messages(database, "alice@example.test", "Junk")) == 1

    play(database, dialogue)


def test_a_detail_names_a_folder_only_where_one_may_post(database: Any) -> None:
    """RFC 4314 §2.1: the right "p"."""

    async def dialogue(site: SmtpSite, talk: Callable[[bytes], Awaitable[str]]) -> None:
        account = await database.directory.user(Address("alice", "example.test"))
        lists = await database.store.create(account.id, "Lists")

        async def send(folder: bytes) -> None:
            await talk(ENVELOPE + b"RCPT TO:<alice+%b@example.test>\r\nDATA\r\n" % folder)
            assert (await talk(BODY)).startswith("250")

        await database.store.sharing.set_entry(lists.id, "anyone", "lr")
        await send(b"Lists")
        assert len(await messages(database, "alice@example.test", "INBOX")) == 1
        await database.store.sharing.set_entry(lists.id, "anyone", "p")
        await send(b"Lists")
        await send(b"Nowhere")
        assert len(await messages(database, "alice@example.test", "Lists")) == 1
        await database.store.sharing.set_entry(lists.id, "-anyone", "p")
        await send(b"Lists")
        assert len(await messages(database, "alice@example.test", "INBOX")) == 3

    play(database, dialogue)


def test_a_full_mailbox_is_552_alone_and_a_bounce_among_others(database: Any) -> None:
    async def dialogue(site: SmtpSite, talk: Callable[[bytes], Awaitable[str]]) -> None:
        account = await database.directory.user(Address("alice", "example.test"))
        await database.directory.set_quota(account.id, 10)
        await talk(ENVELOPE + b"RCPT TO:<alice@example.test>\r\nDATA\r\n")
        assert (await talk(BODY)).startswith("552 5.2.2")
        await talk(b"MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n")
        assert (await talk(BODY)).startswith("250")
        assert len(await messages(database, "bob@example.test", "Lists/dev")) == 1
        assert await messages(database, "alice@example.test", "INBOX") == []
        [leased] = await database.queue.lease("test", 10, 60.0, now=site.clock.now() + 1)
        assert (str(leased.address), leased.transport, leased.user) == ("alice@example.test", "local", account.id)

    play(database, dialogue)
