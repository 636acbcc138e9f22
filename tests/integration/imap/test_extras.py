"""What depends on the store: extensions over SQLite as over memory, and withheld where mailboxes are apart from the database."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from pathlib import Path
from typing import Any

from mta.app.apart import apart
from mta.testing.imapd import ImapSite
from mta_hooks.backends import DatabaseOptions, extras_of
from mta_maildir.store import MaildirStore
from mta_sql import open_database

OFFERED = (
    b"QUOTA",
    b"ACL",
    b"METADATA",
    b"LIST-METADATA",
    b"LIST-MYRIGHTS",
    b"RIGHTS=kxte",
    b"NOTIFY",
    b"UNAUTHENTICATE",
    b"LANGUAGE",
)
OF_THE_STORE = OFFERED[:6]


def run(tmp_path: Path, make: Any, scenario: Any) -> None:
    async def main() -> None:
        site = await ImapSite(database=make, data_dir=str(tmp_path)).open()
        try:
            await scenario(site)
        finally:
            await site.tasks.close()
            await site.database.close()

    asyncio.run(main())


def sqlite(options: DatabaseOptions) -> Any:
    return open_database("sqlite", options)


async def until(site: ImapSite, transport: Any, wanted: bytes) -> bytes:
    """What the server says by itself, up to ``wanted``."""
    said = b""
    for _ in range(200):
        said += transport.take()
        if wanted in said:
            return said
        await asyncio.sleep(0.01)
    raise AssertionError(said)


def test_a_watched_mailbox_tells_through_the_database(tmp_path: Path) -> None:
    async def scenario(site: ImapSite) -> None:
        link, transport = await site.login(
            b"SELECT INBOX",
            b"NOTIFY SET (SELECTED (MessageNew (UID) MessageExpunge)) (PERSONAL (MessageNew MessageExpunge MailboxName SubscriptionChange))",
        )
        await site.deliver(b"Subject: x\r\n\r\n")
        assert await until(site, transport, b"FETCH") == b"* 1 EXISTS\r\n* 1 RECENT\r\n* 1 FETCH (UID 1)\r\n"
        await site.deliver(b"Subject: x\r\n\r\n", name="Sent")
        assert (await until(site, transport, b"STATUS")).startswith(b"* STATUS Sent (MESSAGES 1 UIDNEXT 2 ")
        user = site.users["alice@example.test"]
        await site.store.create(user, "new")
        assert await until(site, transport, b"STATUS new") == await _expected(site, "new", b'* LIST () "/" new\r\n')
        await site.store.subscribe(user, "new", True)
        assert await until(site, transport, b"LIST") == b'* LIST (\\Subscribed) "/" new\r\n'
        await site.store.rename(user, "new", "old")
        assert b"OLDNAME" in await until(site, transport, b"LIST")
        await site.store.delete(user, "old")
        assert await until(site, transport, b"LIST") == b'* LIST (\\NonExistent) "/" old\r\n'
        # somebody else's mailboxes are nobody's business
        await site.store.create(site.users["bob@example.test"], "his")
        await asyncio.sleep(0.1)
        assert transport.take() == b""
        assert b"OK" in await site.talk(link, transport, b"a LOGOUT\r\n")
        assert not site.server._watches
        assert not site.server._watching

    run(tmp_path, sqlite, scenario)


async def _expected(site: ImapSite, name: str, first: bytes) -> bytes:
    status = await site.store.status(await site.mailbox(name))
    return first + b"* STATUS new (MESSAGES 0 UIDNEXT 1 UIDVALIDITY %d)\r\n" % status.uid_validity


def test_more_mailboxes_than_can_be_watched_are_refused(tmp_path: Path, monkeypatch: Any) -> None:
    async def scenario(site: ImapSite) -> None:
        link, transport = await site.login(b"NOTIFY SET (INBOXES (MessageNew MessageExpunge))")
        monkeypatch.setattr("mta.imapd.notify.MOST", 6)
        said = await site.talk(link, transport, b"a NOTIFY SET (PERSONAL (MailboxName))\r\n")
        assert said == b"a OK so be it\r\n"
        await site.store.create(site.users["alice@example.test"], "one")
        assert (await until(site, transport, b"OVERFLOW")).startswith(b"* OK [NOTIFICATIONOVERFLOW] ")
        said = await site.talk(link, transport, b"b NOTIFY SET (PERSONAL (MailboxName))\r\n")
        assert said.startswith(b"b NO [NOTIFICATIONOVERFLOW] ")
        assert not site.server._watches

    run(tmp_path, sqlite, scenario)


def test_rights_hold_over_the_database(tmp_path: Path) -> None:
    async def scenario(site: ImapSite) -> None:
        await site.deliver(b"Subject: x\r\n\r\n", flags=1, keywords=["k"])
        alice, said_to_alice = await site.login(b"SETACL INBOX bob@example.test lrs", b"SETACL Sent authenticated lri")
        link, transport = await site.login(b"SELECT user/alice@example.test/INBOX", user=b"bob@example.test")
        assert b"* LIST" in await site.talk(link, transport, b'a LIST "" user/*/Sent\r\n')
        said = await site.talk(link, transport, b"b COPY 1 user/alice@example.test/Sent\r\n")
        assert said.startswith(b"b OK [COPYUID ")
        said = await site.talk(alice, said_to_alice, b"b EXAMINE Sent\r\nc FETCH 1 FLAGS\r\n")
        assert b"* 1 FETCH (FLAGS (\\Recent))\r\n" in said  # who may not set flags copies none
        assert (await site.talk(link, transport, b"c MOVE 1 Archive\r\n")).startswith(b"c NO [NOPERM] ")
        await site.talk(alice, said_to_alice, b"d DELETEACL INBOX bob@example.test\r\n")
        assert b"* BYE [NOPERM] " in await site.talk(link, transport, b"d NOOP\r\n")

    run(tmp_path, sqlite, scenario)


def test_what_the_store_lacks_is_not_offered(tmp_path: Path) -> None:
    (tmp_path / "mail").mkdir()

    def maildir(options: DatabaseOptions) -> Any:
        return apart(sqlite(options), options, lambda wanted: MaildirStore(f"maildir:{tmp_path}/mail/%d/%n", wanted))

    async def both(site: ImapSite) -> None:
        link, transport = await site.login()
        words = (await site.talk(link, transport, b"a CAPABILITY\r\n")).split(b"\r\n")[0].split(b" ")
        assert set(OFFERED) <= set(words)

    async def without(site: ImapSite) -> None:
        link, transport = await site.login()
        words = (await site.talk(link, transport, b"a CAPABILITY\r\n")).split(b"\r\n")[0].split(b" ")
        assert not set(OF_THE_STORE) & set(words)
        assert b"NOTIFY" in words
        for command in (b"GETQUOTAROOT INBOX", b"MYRIGHTS INBOX", b"GETMETADATA INBOX /shared/comment"):
            assert b"a BAD " in await site.talk(link, transport, b"a " + command + b"\r\n")
        assert b" NIL NIL\r\n" in await site.talk(link, transport, b"b NAMESPACE\r\n")
        assert b"NONEXISTENT" in await site.talk(link, transport, b"c SELECT user/bob@example.test/INBOX\r\n")

    (tmp_path / "database").mkdir()
    run(tmp_path / "database", sqlite, both)
    run(tmp_path, maildir, without)


def test_nothing_is_told_of_what_may_not_be_read_any_more(tmp_path: Path) -> None:
    async def scenario(site: ImapSite) -> None:
        sharing = extras_of(site.store).sharing
        assert sharing is not None
        inbox, sent = await site.mailbox(), await site.mailbox("Sent")
        for mailbox in (inbox, sent):
            await sharing.set_entry(mailbox, "bob@example.test", "lr")
        _, transport = await site.login(
            b"EXAMINE user/alice@example.test/INBOX",
            b"NOTIFY SET (SELECTED (MessageNew MessageExpunge)) (SUBTREE user/alice@example.test (MessageNew MessageExpunge MailboxName))",
            user=b"bob@example.test",
        )
        await site.deliver(b"Subject: x\r\n\r\n", name="Sent")
        assert (await until(site, transport, b"STATUS")).startswith(b"* STATUS user/alice@example.test/Sent (MESSAGES 1 ")
        await sharing.set_entry(sent, "bob@example.test", "")
        await site.deliver(b"Subject: x\r\n\r\n", name="Sent")
        assert await until(site, transport, b"\r\n") == b'* LIST (\\NonExistent) "/" user/alice@example.test/Sent\r\n'
        await sharing.set_entry(inbox, "-authenticated", "r")
        await site.deliver(b"Subject: x\r\n\r\n")
        assert (await until(site, transport, b"BYE")).startswith(b"* BYE [NOPERM] ")
        assert transport.gone

    run(tmp_path, sqlite, scenario)


def test_accounts_that_are_there_to_be_shared_have_a_namespace_of_their_own(tmp_path: Path) -> None:
    async def scenario(site: ImapSite) -> None:
        site.server.shared_accounts = frozenset({"alice@example.test"})  # imap.shared
        await site.deliver(b"Subject: x\r\n\r\n")
        sharing = extras_of(site.store).sharing
        assert sharing is not None
        await sharing.set_entry(await site.mailbox(), "authenticated", "lr")
        link, transport = await site.login(user=b"bob@example.test")
        said = await site.talk(link, transport, b"a NAMESPACE\r\n")
        assert said.startswith(b'* NAMESPACE (("" "/")) (("user/" "/")) (("shared/" "/"))\r\n')
        said = await site.talk(link, transport, b'b LIST "" shared/*/% RETURN (MYRIGHTS STATUS (MESSAGES))\r\n')
        assert said == (
            b'* LIST (\\HasNoChildren) "/" shared/alice@example.test/INBOX\r\n* MYRIGHTS shared/alice@example.test/INBOX "lr"\r\n'
            b"* STATUS shared/alice@example.test/INBOX (MESSAGES 1)\r\nb OK that is all\r\n"
        )
        assert b"c OK [READ-ONLY]" in await site.talk(link, transport, b"c SELECT shared/alice@example.test/INBOX\r\n")
        # a name that only looks like one of others' is one's own
        assert b"d OK" in await site.talk(link, transport, b"d CREATE shared/plans\r\n")
        assert b"e OK [READ-WRITE]" in await site.talk(link, transport, b"e SELECT shared/plans\r\n")

    run(tmp_path, sqlite, scenario)
