"""Attacks on IMAP, one section for each row of the research catalogue; what an attack costs others is measured in turns, not in time."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import functools
import os
import random
import re
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from mta.imapd import copy, expunge, regroup, store
from mta.model.address import Address
from mta.model.mailbox import NewMessage
from mta.model.message import Flags, OctetContent
from mta.testing.imapd import ImapSite
from mta_hooks.backends import Database, DatabaseOptions
from mta_sql import open_database


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        asyncio.run(test(**arguments))

    return run


def sqlite(options: DatabaseOptions) -> Database:
    return open_database("sqlite", options)


# ---- literals before login (CVE-2024-34055, CVE-2024-37358, CVE-2025-61600)


@pytest.mark.parametrize(
    "octets",
    [
        b"a LOGIN {4097+}\r\n",
        b"a LOGIN {8193}\r\n",
        b"a LOGIN {4294967295+}\r\n",
        b"a LOGIN {9999999999}\r\n",
        b"a APPEND INBOX {5000000+}\r\n",
        b"a LOGIN " + b"{1+}\r\nx " * 9 + b"\r\n",
        b"a LOGIN {4000+}\r\n" + b"x" * 4000 + b" {4000+}\r\n" + b"y" * 4000 + b" {4000+}\r\n",
        b"a " + b"x" * 9000,
    ],
)
@in_loop
async def test_literals_before_login(octets: bytes) -> None:
    """8 KiB a command in all; more ends the connection, and nothing of it is held."""
    site = ImapSite()
    link, transport = site.connect()
    transport.take()
    said = await site.talk(link, transport, octets)
    if b"BYE" not in said:  # a literal that was refused before it was sent
        assert re.search(rb"\b(NO|BAD)\b", said), said
    assert b"+ " not in said
    assert link._decoder.buffered <= 16384


# ---- parenthesis and depth (CVE-2026-27857, CVE-2026-42006)


@pytest.mark.parametrize(
    "command",
    [
        b"SEARCH " + b"(" * 30000 + b"ALL" + b")" * 30000,
        b"SEARCH " + b"NOT " * 10000 + b"ALL",
        b"SEARCH " + b"OR " * 10000 + b"ALL",
        b"FETCH 1 " + b"(" * 20000,
        b"FETCH 1 (" + b"FLAGS " * 10001 + b"FLAGS)",
        b"STORE 1 FLAGS (" + b"a " * 10001 + b"a)",
        b"STATUS INBOX " + b"(" * 10000,
        b'LIST "" ' + b"(" * 60000,
        b"ID (" + b'"a" "b" ' * 5000 + b'"a" "b")',
        b"XYZZY " + b"(" * 60000,
    ],
)
@in_loop
async def test_parenthesis_and_depth(command: bytes) -> None:
    site = await ImapSite().open()
    link, transport = await site.login(b"SELECT INBOX")
    said = await site.talk(link, transport, b"a " + command + b"\r\n")
    assert re.match(rb"a BAD |\* BYE \[LIMIT\]", said), said
    if b"BYE" not in said:
        assert b"b OK" in await site.talk(link, transport, b"b NOOP\r\n")


# ---- long work


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"SEARCH " + b" ".join([b"FROM x"] * 5000), b"a BAD too many"),
        (b"SEARCH " + b" ".join([b"SEEN"] * 5000), b"a BAD too many search keys"),
        (b'LIST "" "' + b"*%" * 120 + b'"', b"a OK"),
        (b"FETCH " + b",".join([b"1:*"] * 1800) + b" UID", b"a OK"),
        (b"FETCH " + b",".join([b"1:*"] * 10001) + b" UID", b"a BAD too many ranges"),
        (b"FETCH 1 BODY.PEEK[" + b".".join([b"1"] * 5000) + b"]", b"a BAD part number too deep"),
        (b"FETCH 1 (" + b" ".join([b"BODY.PEEK[]"] * 5000) + b")", b"x\r\n)\r\na OK"),
    ],
)
@in_loop
async def test_long_work_is_bounded(command: bytes, answer: bytes) -> None:
    site = await ImapSite().open()
    await site.deliver(*[b"Subject: x\r\n\r\nx\r\n"] * 3)
    link, transport = await site.login(b"SELECT INBOX")
    said = await site.talk(link, transport, b"a " + command + b"\r\n")
    assert answer in said, said[-200:]
    assert len(said) < 65536


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    for module in (store, regroup, expunge, copy):
        monkeypatch.setattr(module, "SLICE", 50)
    return 50


@pytest.mark.parametrize("long", ["STORE 1:* +FLAGS.SILENT ($a)", "EXPUNGE", "UID EXPUNGE 1:*", "MOVE 1:* Trash", "CLOSE"])
def test_one_session_never_stalls_others(long: str, tmp_path: Path, small_slices: int) -> None:
    """Others' changes are committed between the slices of a long one, not behind it."""

    async def run() -> None:
        site = await ImapSite(database=sqlite, data_dir=str(tmp_path)).open()
        inbox = await site.mailbox()
        new = NewMessage(OctetContent(b"Subject: x\r\n\r\n"), Flags.DELETED, frozenset(), 0)
        await site.database.store.append(inbox, [new] * (20 * small_slices))
        (link, transport), (other, heard) = await site.login(b"SELECT INBOX"), await site.login(b"SELECT Drafts")
        transport.take()
        link.data_received(f"a {long}\r\n".encode())
        other.data_received(b"b APPEND Drafts {2+}\r\nxy\r\n")
        while b"b OK" not in heard.written:
            await asyncio.sleep(0)
        assert b"a OK" not in transport.written
        while b"a OK" not in transport.written:
            await asyncio.sleep(0.001)
        said = transport.take()
        if "EXPUNGE" in long or "MOVE" in long:
            assert said.count(b" EXPUNGE\r\n") == 20 * small_slices
        left = await site.database.store.status(inbox)
        assert left.messages == (20 * small_slices if "STORE" in long else 0)
        await site.tasks.close()
        await site.database.close()

    asyncio.run(run())


# ---- slow readers and pipelines


@in_loop
async def test_a_slow_reader_holds_a_bounded_buffer() -> None:
    """Who asks for everything again and again and reads nothing: what is made for it stops at the write buffer, what it sends too."""
    site = await ImapSite().open()
    await site.deliver(*[b"Subject: x\r\n\r\n" + b"x" * 60000 + b"\r\n"] * 20)
    link, transport = await site.login(b"SELECT INBOX")
    write = transport.write

    def unread(data: bytes) -> None:
        write(data)
        transport.unread += len(data)
        if transport.unread > 65536 and link._writable is None:
            link.pause_writing()

    transport.write = unread  # type: ignore[method-assign]
    for _ in range(2000):
        if transport.paused:
            break
        link.data_received(b"a FETCH 1:* BODY.PEEK[]\r\n" * 20)
        for _ in range(20):
            await asyncio.sleep(0)
    assert transport.paused
    assert transport.unread < 512 * 1024
    assert link._decoder.buffered < 512 * 1024
    site.server.log.info("test.end")
    link.connection_lost(None)


# ---- SASL abuse (CVE-2025-59028, CVE-2019-11494, CVE-2019-11499)


@pytest.mark.parametrize("response", [b"!!!!", b"=", b"\xff\xfe", b"A", b"*", b"A" * 20000, b"", b"AAAA", b"AGEA"])
@in_loop
async def test_sasl_abuse_touches_nobody_else(response: bytes) -> None:
    site = await ImapSite().open()
    (bad, heard), (good, answered) = site.connect(), site.connect()
    answered.take()
    await site.talk(bad, heard, b"a AUTHENTICATE PLAIN\r\n")
    await site.talk(good, answered, b"b AUTHENTICATE PLAIN\r\n")
    said = await site.talk(bad, heard, response + b"\r\n")
    assert b"a OK" not in said
    assert re.search(rb"a (BAD|NO) |\* BYE", said), said
    assert b"b OK" in await site.talk(good, answered, b"AGFsaWNlQGV4YW1wbGUudGVzdABzZWNyZXQ=\r\n")
    if not heard.gone:
        bad.connection_lost(None)
    assert b"c OK" in await site.talk(good, answered, b"c NOOP\r\n")


# ---- user name injection (CVE-2026-24031, CVE-2026-27860, CVE-2026-27851, CVE-2017-2669, CVE-2019-10691)


@pytest.mark.parametrize(
    "name",
    [
        b"' OR 1=1 --", b"alice@example.test' --", b"*)(uid=*", b"%u%d%{env:HOME}", b"alice@example.test%00", b"\xff\xfe", b"alice@example.test\xc2\xad",
        b"../../alice@example.test", b"ALICE@example.test\x01", b"alice@example.test alice@example.test",
    ],
)  # fmt: skip
def test_user_name_injection(name: bytes, tmp_path: Path) -> None:
    async def run() -> None:
        site = await ImapSite(database=sqlite, data_dir=str(tmp_path)).open()
        link, transport = site.connect()
        transport.take()
        said = await site.talk(link, transport, b"a LOGIN {%d+}\r\n%b secret\r\n" % (len(name), name))
        assert re.match(rb"a (NO \[AUTHENTICATIONFAILED\]|BAD )", said), said
        assert b"SERVERBUG" not in said
        assert b"b OK" in await site.talk(link, transport, b"b LOGIN alice@example.test secret\r\n")
        await site.database.close()

    asyncio.run(run())


# ---- ACL side doors (CVE-2020-24386 and the nine of Cyrus)


@pytest.mark.parametrize(
    "command",
    [
        b"SELECT Private", b'SELECT "../alice@example.test/Private"', b'SELECT "Other Users/alice@example.test/Private"', b'SELECT "#user/alice/Private"',
        b"STATUS Private (MESSAGES)", b"DELETE Private", b"RENAME Private Mine", b"COPY 1 Private", b"APPEND Private {2+}\r\nxy",
        b'SELECT "Other Users/alice/Private"', b'SELECT "user/alice/Private"', b'SELECT "&AA8-/Private"',
    ],
)  # fmt: skip
@in_loop
async def test_acl_side_doors_by_name(command: bytes) -> None:
    """Whatever bob says, what is alice's stays hers, and he cannot learn that it is there."""
    site = await ImapSite().open()
    await site.database.store.create(site.users["alice@example.test"], "Private")
    await site.deliver(b"Subject: hers\r\n\r\n", name="Private")
    link, transport = await site.login(b"APPEND INBOX {2+}\r\nxy", b"SELECT INBOX", user=b"bob@example.test")
    said = await site.talk(link, transport, b"a " + command + b"\r\n")
    known = await site.talk(link, transport, b"a " + command.replace(b"Private", b"Nowhere") + b"\r\n")
    assert b"a OK" not in said
    assert said.replace(b"Private", b"") == known.replace(b"Nowhere", b"")
    hers = await site.mailbox("Private")
    assert (await site.database.store.status(hers)).messages == 1


DOORS = (
    "SELECT {m}", "EXAMINE {m}", "STATUS {m} (MESSAGES UNSEEN SIZE MAILBOXID)", "DELETE {m}", "RENAME {m} Mine", "RENAME INBOX {m}/x", "CREATE {m}/x",
    "COPY 1 {m}", "MOVE 1 {m}", "APPEND {m} {{2+}}\r\nxy", "SUBSCRIBE {m}", "UNSUBSCRIBE {m}", 'LIST "" {m}*', 'LIST "" * RETURN (STATUS (MESSAGES) MYRIGHTS)',
    'LSUB "" *', "GETACL {m}", "SETACL {m} bob@example.test lrswipkxtea", "DELETEACL {m} anyone", "MYRIGHTS {m}", "LISTRIGHTS {m} bob@example.test",
    "GETQUOTAROOT {m}", "GETQUOTA alice@example.test", "SETQUOTA alice@example.test (STORAGE 1)", "GETMETADATA {m} /shared/comment /private/comment",
    'SETMETADATA {m} (/shared/comment "mine")', 'GETMETADATA "" /shared/comment', "ESEARCH IN (mailboxes {m}) RETURN (ALL) ALL",
    "ESEARCH IN (subtree {m}) ALL", "ESEARCH IN (personal) TEXT hersecret", "NOTIFY SET STATUS (mailboxes {m} (MessageNew MessageExpunge FlagChange))",
    'GENURLAUTH "imap://alice%40example.test@mx.example.test/Private/;UID=1;URLAUTH=anonymous" INTERNAL', "RESETKEY {m}",
    'URLFETCH "imap://alice%40example.test@mx.example.test/Private/;UID=1;URLAUTH=anonymous:INTERNAL:01ab"',
    'APPEND INBOX CATENATE (URL "/{m}/;UID=1" TEXT {{2+}}\r\nxy)', "REPLACE 1 {m} {{2+}}\r\nxy", "UID FETCH 1:* (FLAGS BODY.PEEK[])", "SEARCH TEXT hersecret",
    "SEARCH RETURN (COUNT) KEYWORD hersecret", "SORT (SUBJECT) UTF-8 ALL", "UNSELECT", "SELECT INBOX", "NOOP", "IDLE\r\nDONE", "UNAUTHENTICATE",
    "LOGIN bob@example.test secret",
)  # fmt: skip
NAMES = (
    "Private", "user/alice@example.test/Private", "user/alice@example.test/INBOX", "user/alice@example.test", '"user/ALICE@example.test/Private"',
    "shared/alice@example.test/Private", '"user/alice@example.test/../Private"', '"user//Private"', "user/alice/Private", "Hersecret", "user/alice@example.test/Hersecret",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_acl_side_doors(seed: int, tmp_path: Path) -> None:
    """Random commands of bob change nothing of alice's and show nothing of it, whatever lies open to others beside it."""
    dice = random.Random(seed)

    async def run() -> None:
        site = await ImapSite(database=sqlite, data_dir=str(tmp_path)).open()
        alice = site.users["alice@example.test"]
        for name in ("Private", "Hersecret", "Open"):
            await site.database.store.create(alice, name)
        for name in ("INBOX", "Private", "Hersecret"):
            await site.deliver(b"Subject: hersecret\r\n\r\nhersecret\r\n", name=name, keywords=["hersecret"])
        hers = await site.login(
            b"SETACL Open bob@example.test lr", b'SETMETADATA Private (/shared/comment "hersecret")', b"SUBSCRIBE Hersecret"
        )

        async def state() -> bytes:
            said = b""
            for name in (b"INBOX", b"Private", b"Hersecret", b"Open"):
                for each in (
                    b"EXAMINE %b",
                    b"FETCH 1:* (UID FLAGS BODY.PEEK[])",
                    b"GETACL %b",
                    b"GETMETADATA %b (/shared/comment /private/comment)",
                ):
                    said += await site.talk(*hers, b"s " + each.replace(b"%b", name) + b"\r\n")
            said += await site.talk(*hers, b's LIST "" *\r\ns LSUB "" *\r\ns GETQUOTAROOT INBOX\r\n')
            return re.sub(rb"HIGHESTMODSEQ \d+", b"", said)

        await state()  # FLAGS names the keywords of what was read
        before = await state()
        link, transport = await site.login(b"APPEND INBOX {2+}\r\nxy", b"SELECT INBOX", user=b"bob@example.test")
        for _ in range(250):
            command = dice.choice(DOORS).format(m=dice.choice(NAMES)).encode()
            said = await site.talk(link, transport, b"a " + command + b"\r\n")
            shown = said.replace(b"SUBJECT hersecret", b"")
            for name in NAMES:  # what he asked for himself may be said again
                shown = shown.replace(name.strip('"').encode(), b"")
            assert b"hersecret" not in shown.lower(), (command, said)
            assert b"SERVERBUG" not in said, (command, said)
            if transport.gone:
                link, transport = await site.login(b"SELECT INBOX", user=b"bob@example.test")
        assert await state() == before
        await site.tasks.close()
        await site.database.close()

    asyncio.run(run())


# ---- mailbox names


@pytest.mark.parametrize(
    "name",
    [
        b'"../../etc/passwd"', b'"/etc/passwd"', b'"a//b"', b'"a/"', b'"/"', b'""', b"{3+}\r\na\0b", b"{5+}\r\na\r\nb\n", b'"a/../b"', b'"."', b'".."',
        b"&AAA-", b"&AGE-", b"&", b"&ZZ-", b"&2AA-", b"&3AA-", b'"' + b"/".join([b"a"] * 600) + b'"', b"x" * 300, b"&" + b"A" * 4000 + b"-",
    ],
)  # fmt: skip
def test_mailbox_names(name: bytes, tmp_path: Path) -> None:
    """Names are keys of the database, never paths; bounded in length and depth."""

    async def run() -> None:
        site = await ImapSite(database=sqlite, data_dir=str(tmp_path)).open()
        before = sorted(os.listdir(tmp_path))
        link, transport = await site.login()
        said = await site.talk(link, transport, b"a CREATE " + name + b"\r\nb NOOP\r\n")
        assert re.search(rb"(?m)^a (NO|BAD|OK) ", said), said
        assert b"b OK" in said
        assert b"SERVERBUG" not in said
        assert sorted(os.listdir(tmp_path)) == before
        for mailbox in await site.database.store.mailboxes(site.users["alice@example.test"]):
            assert len(mailbox.name) <= 255
            assert mailbox.name.count("/") < 20
        await site.database.close()

    asyncio.run(run())


# ---- index damage


def test_index_damage_no_uid_twice_whatever_was_expunged_before_a_restart(tmp_path: Path) -> None:
    async def run() -> list[int]:
        site = ImapSite(database=sqlite, data_dir=str(tmp_path))
        await site.database.open()
        site.store = site.server.store = site.database.store
        alice = Address.parse("alice@example.test")
        if await site.database.directory.user(alice) is None:
            await site.database.directory.add_users([(alice, "hash")])
        user = await site.database.directory.user(alice)
        assert user is not None
        site.users[str(alice)] = user.id
        link, transport = await site.login(b"SELECT INBOX")
        said = await site.talk(link, transport, b"a APPEND INBOX (\\Deleted) {2+}\r\nxy\r\n" * 3 + b"b EXPUNGE\r\n")
        await site.database.close()
        return [int(uid) for uid in re.findall(rb"APPENDUID \d+ (\d+)", said)]

    found = [uid for _ in range(3) for uid in asyncio.run(run())]
    assert found == sorted(set(found))
    assert len(found) == 9


# ---- crash mid APPEND


def test_crash_mid_append_leaves_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        site = await ImapSite(database=sqlite, data_dir=str(tmp_path), memory_per_message=65536).open()
        for _ in range(30):
            link, _ = await site.login(b"SELECT INBOX")
            link.data_received(b"a APPEND INBOX {20000000+}\r\n")
            for _ in range(10):
                link.data_received(b"x" * 65536)
                await site.settle(link)
            link.connection_lost(None)
        assert (await site.database.store.status(await site.mailbox())).messages == 0
        folder = tmp_path / "tmp"
        assert not folder.exists() or os.listdir(folder) == []
        held = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")]
        assert not [name for name in held if str(folder) in name]
        await site.tasks.close()
        await site.database.close()

    asyncio.run(run())
