"""What others do to the files while we serve them, and what crashes leave behind."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import shutil
import time
from pathlib import Path

import pytest

from mta.model.errors import NoSuchMailbox, TemporaryFailure
from mta.model.ids import BlobId, MailboxId, ModSeq, Uid
from mta.model.message import Flags, LocalDelivery, OctetContent, Placement
from mta.testing.conformance import Backend, append, arrive, deliver, intake, rows
from mta_hooks.backends import Database
from mta_maildir import uidlist

NOBODY: frozenset[str] = frozenset()


@pytest.fixture
def alice(mail: Path) -> Path:
    return mail / "example.test" / "alice"


def drop(maildir: Path, name: str = "1700000000.M1P1.elsewhere", octets: bytes = b"Subject: x\n\nbody\n") -> Path:
    """As any delivery agent does."""
    (maildir / "tmp" / name).write_bytes(octets)
    (maildir / "tmp" / name).rename(maildir / "new" / name)
    return maildir / "new" / name


def the_file(maildir: Path) -> Path:
    [found] = [*(maildir / "cur").iterdir(), *(maildir / "new").iterdir()]
    return found


def test_mail_of_another_agent_gets_uids_in_order_of_arrival(backend: Backend, alice: Path) -> None:
    async def scenario(db: Database) -> None:
        _, inbox = await arrive(db)
        await append(db, inbox)
        drop(alice, "1700000002.M5P1.elsewhere")
        drop(alice, "1700000001.M7P1.elsewhere", b"early\n")
        found = await rows(db, inbox)
        assert [row.uid for row in found] == [1, 2, 3]
        assert await db.store.read_many([row.blob for row in found[1:]]) == [b"early\r\n", b"Subject: x\r\n\r\nbody\r\n"]
        assert [row.size for row in found] == [3, 7, 20]
        listed = uidlist.read(str(alice))
        assert listed is not None
        assert listed.uids["1700000001.M7P1.elsewhere"] == 2

    backend.run(scenario)


def test_sizes_in_names_are_believed_only_when_they_fit(backend: Backend, alice: Path) -> None:
    async def scenario(db: Database) -> None:
        _, inbox = await arrive(db)
        drop(alice, "1700000001.M1P1.elsewhere,S=11,W=13", b"a\nbcd\n")
        [row] = await rows(db, inbox)
        assert (row.size, await db.store.read(row.blob)) == (8, b"a\r\nbcd\r\n")

    backend.run(scenario, sound=False)


def test_flags_that_a_mail_reader_sets_on_files_are_seen(backend: Backend, alice: Path) -> None:
    async def scenario(db: Database) -> None:
        _, inbox = await arrive(db)
        await append(db, inbox, keywords="k")
        before = await rows(db, inbox)
        file = the_file(alice)
        file.rename(file.with_name(file.name + "PS"))  # P is nobody's here, and stays
        changes = await db.store.changes(inbox.id, before[0].modseq)
        assert [(row.flags, row.keywords) for row in changes.rows] == [(Flags.SEEN, "k")]
        await db.store.set_flags(inbox.id, [Uid(1)], "add", Flags.FLAGGED, NOBODY)
        assert the_file(alice).name.endswith(":2,FPSa")
        assert await db.store.read(before[0].blob) == b"x\r\n"

    backend.run(scenario)


def test_who_has_it_open_is_told_of_mail_from_outside(backend: Backend, alice: Path) -> None:
    async def scenario(db: Database) -> None:
        _, inbox = await arrive(db)
        await rows(db, inbox)
        backend.told.mailboxes.clear()
        drop(alice)
        until = time.monotonic() + 10
        while not backend.told.mailboxes and time.monotonic() < until:
            await asyncio.sleep(0.05)
        assert set(backend.told.mailboxes) == {inbox.id}

    backend.run(scenario)


def test_a_file_that_vanishes_or_cannot_be_read_loses_nothing_else(backend: Backend, alice: Path) -> None:
    async def scenario(db: Database) -> None:
        _, inbox = await arrive(db)
        await append(db, inbox, 3)
        blobs = {row.uid: row.blob for row in await rows(db, inbox)}
        files = {name.split(",")[0]: alice / "new" / name for name in os.listdir(alice / "new")}
        first = next(iter(files.values()))
        listed = uidlist.read(str(alice))
        assert listed is not None
        gone = Uid(listed.uids[first.name])
        first.unlink()
        with pytest.raises(KeyError):
            await db.store.read(blobs[gone])
        (alice / "new" / "dir").mkdir()  # no message, and in the way of reading
        (alice / "new" / "bad\nname").write_bytes(b"x")
        left = await rows(db, inbox)
        assert {row.uid for row in left} >= {1, 2, 3} - {gone}
        assert await db.store.read_many([blobs[uid] for uid in blobs if uid != gone]) == [b"x\r\n"] * 2
        assert len(left) == 2

    backend.run(scenario, sound=False)


@pytest.mark.parametrize("lost", ["mta-journal", "dovecot-uidlist", "both"])
def test_uids_survive_the_loss_of_one_index(backend: Backend, alice: Path, lost: str) -> None:
    async def before(db: Database) -> None:
        _, inbox = await arrive(db)
        await append(db, inbox, 3)
        await db.store.remove(inbox.id, [Uid(1)])
        seen.append((inbox.uid_validity, [row.uid for row in await rows(db, inbox)]))
        for name in ("mta-journal", "dovecot-uidlist") if lost == "both" else (lost,):
            (alice / name).unlink()

    async def after(db: Database) -> None:
        _, inbox = await arrive(db)
        seen.append((inbox.uid_validity, [row.uid for row in await rows(db, inbox)]))
        assert len(await append(db, inbox)) == 1
        if lost == "mta-journal":  # what a client knows of modseqs is older than all
            assert (await db.store.changes(inbox.id, ModSeq(3))).vanished == [1]

    seen: list[tuple[int, list[Uid]]] = []
    backend.run(before, sound=False)  # verify would mend it
    backend.run(after)
    if lost != "both":
        assert seen[0] == seen[1] == (seen[0][0], [2, 3])
    else:  # other uids: clients must be told by another uidvalidity
        assert seen[1][0] > seen[0][0]
        assert len(seen[1][1]) == 2


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_journal_that_a_crash_cut_costs_no_message(backend: Backend, alice: Path, cut: int) -> None:
    async def before(db: Database) -> None:
        _, inbox = await arrive(db)
        await append(db, inbox, 4, flags=Flags.SEEN, keywords="k")

    async def after(db: Database) -> None:
        _, inbox = await arrive(db)
        assert [(row.uid, row.flags, row.keywords) for row in await rows(db, inbox)] == [(n, 1, "k") for n in (1, 2, 3, 4)]
        assert await append(db, inbox) == [5]

    backend.run(before)
    journal = alice / "mta-journal"
    os.truncate(journal, journal.stat().st_size - cut)
    backend.run(after)


def test_a_folder_copied_by_hand_is_another_mailbox(backend: Backend, alice: Path) -> None:
    async def scenario(db: Database) -> None:
        user, _ = await arrive(db)
        sent = await db.store.mailbox(user.id, "Sent")
        await append(db, sent, 2)
        shutil.copytree(alice / ".Sent", alice / ".Twin")
        twin = await db.store.mailbox(user.id, "Twin")
        assert twin.id != sent.id
        assert twin.uid_validity != sent.uid_validity
        assert len(await rows(db, twin)) == len(await rows(db, sent)) == 2

    backend.run(scenario)


def test_folders_made_moved_and_removed_from_outside(backend: Backend, alice: Path) -> None:
    async def scenario(db: Database) -> None:
        user, _ = await arrive(db)
        for part in ("new", "cur", "tmp"):
            (alice / ".Lists.python" / part).mkdir(parents=True)
        drop(alice / ".Lists.python")
        (alice / ".no folder").mkdir()
        names = {info.name: info.exists for info in await db.store.mailboxes(user.id)}
        assert (names["Lists"], names["Lists/python"]) == (False, True)
        box = await db.store.mailbox(user.id, "Lists/python")
        assert len(await rows(db, box)) == 1
        (alice / ".Lists.python").rename(alice / ".Moved")
        assert (await db.store.mailbox(user.id, "Moved")).id == box.id
        assert len(await rows(db, box)) == 1
        shutil.rmtree(alice / ".Moved")
        with pytest.raises(NoSuchMailbox):
            await db.store.status(box.id)

    backend.run(scenario)


def test_more_keywords_than_letters(backend: Backend) -> None:
    words = [f"word{n:02}" for n in range(40)]

    async def write(db: Database) -> None:
        _, inbox = await arrive(db)
        await append(db, inbox)
        for word in words:
            await db.store.set_flags(inbox.id, [Uid(1)], "add", 0, frozenset({word}))

    async def read(db: Database) -> None:
        _, inbox = await arrive(db)
        assert (await rows(db, inbox))[0].keywords.split() == words

    backend.run(write, read)


def test_a_maildir_that_is_not_mounted_is_not_made_anew(backend: Backend, alice: Path) -> None:
    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        await append(db, inbox)
        alice.rename(alice.with_name("away"))
        with pytest.raises(TemporaryFailure):
            await rows(db, inbox)
        with pytest.raises(TemporaryFailure):
            await deliver_one(db, user.id)
        alice.with_name("away").rename(alice)
        assert len(await rows(db, inbox)) == 1

    backend.run(scenario)


async def deliver_one(db: Database, user: int, id: str = "Q1", **placement: object) -> None:
    delivery = LocalDelivery(user, (await db.directory.users())[0].address, Placement(**placement))
    await db.store.deliver(delivery, OctetContent(b"once\r\n"), id=id, date=1_700_000_000, message_id="<m>")


def test_a_new_account_of_an_old_name_begins_anew(backend: Backend, alice: Path) -> None:
    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        await deliver(db, intake(user))
        await db.directory.delete_user(user.id)
        assert not alice.exists()
        _, again = await arrive(db)
        assert again.id != inbox.id
        assert await rows(db, again) == []
        [aside] = alice.parent.glob(".deleted-alice-*")
        await db.housekeep(now=time.time())
        assert aside.exists()
        await db.housekeep(now=time.time() + 15 * 86400)
        assert not aside.exists()

    backend.run(scenario)


def test_verify_names_damage(backend: Backend, alice: Path) -> None:
    async def scenario(db: Database) -> None:
        _, inbox = await arrive(db)
        await append(db, inbox)
        with the_file(alice).open("ab") as file:
            file.write(b"more")
        [line] = await db.verify(lambda _done, _total: None)
        assert "uid 1" in line
        assert "7 octets instead of 3" in line

    backend.run(scenario, sound=False)


def test_ten_thousand_messages_open_in_a_moment(backend: Backend, alice: Path) -> None:
    """A Maildir of somebody else, without any index; then the same with ours."""

    async def first(db: Database) -> None:
        await arrive(db)
        for n in range(10_000):
            (alice / "cur" / f"{1_600_000_000 + n}.M1P1.elsewhere,S=5,W=6:2,S").write_bytes(b"body\n")
        spent.append(await opened(db))

    async def again(db: Database) -> None:
        spent.append(await opened(db))

    async def opened(db: Database) -> float:
        begin = time.process_time()  # other tests run beside
        _, inbox = await arrive(db)
        status = await db.store.status(inbox.id)
        found = await rows(db, inbox)
        assert status.messages == len(found) == 10_000
        return time.process_time() - begin

    spent: list[float] = []
    backend.run(first, again)
    print(f"10,000 messages: first {spent[0]:.2f} s, then {spent[1]:.3f} s")
    assert spent[0] < 10
    assert spent[1] < 2


def test_numbers_of_nobody(backend: Backend) -> None:
    async def scenario(db: Database) -> None:
        for mailbox in (MailboxId(0), MailboxId(2**40), MailboxId(-1)):
            with pytest.raises(NoSuchMailbox):
                await db.store.status(mailbox)
        with pytest.raises(KeyError):
            await db.store.read(BlobId(2**62))

    backend.run(scenario)


def test_locks_that_a_killed_process_left_hold_up_nobody(backend: Backend, alice: Path) -> None:
    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        for name in ("dovecot-uidlist", "dovecot-keywords", "subscriptions"):
            (alice / f"{name}.lock").write_bytes(b"mta\n")
        begin = time.monotonic()
        await append(db, inbox, keywords="k")
        await db.store.subscribe(user.id, "x", True)
        assert time.monotonic() - begin < 5
        assert list(alice.glob("*.lock")) == []

    backend.run(scenario)
