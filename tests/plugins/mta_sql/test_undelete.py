"""Undelete and time travel: what was there at any moment can be made so again, on both databases."""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import random
import time
from pathlib import Path
from typing import Any

import pytest

from mta.model.errors import MailboxExists, MailboxNotAllowed, NoSuchMailbox, NoSuchUser, OverQuota
from mta.model.ids import Uid, UserId
from mta.model.mailbox import NewMessage
from mta.model.message import Flags, OctetContent
from mta.model.restoring import Restoration
from mta.testing.conformance import Backend, append, arrive, rows
from mta_hooks.backends import Database, extras_of
from mta_sql import open_database

NOBODY: frozenset[str] = frozenset()
START = 1_800_000_000.0


class Clock:
    """Wall clock of the store; every look at it may stay the same."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def pass_(self) -> float:
        """Time goes on; returns a moment between before and after."""
        self.now += 10
        return self.now - 5


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(time, "time", one)
    return one


@pytest.fixture(params=["sqlite", "postgresql"])
def sql(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    url = "sqlite" if request.param == "sqlite" else request.getfixturevalue("postgresql")()
    return Backend(lambda options: open_database(url, options), tmp_path)


async def restore(db: Database, user: UserId, **more: Any) -> list[Restoration]:
    undelete = extras_of(db.store).undelete
    assert undelete is not None
    return await undelete.restore(user, **more)


def test_what_was_expunged_comes_back_once(sql: Backend) -> None:
    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        uids = await append(db, inbox, 3, octets=b"12345", flags=Flags.FLAGGED, keywords="k")
        await db.store.set_flags(inbox.id, uids[:2], "add", Flags.DELETED, NOBODY)
        await db.store.expunge(inbox.id)
        assert await restore(db, user.id, dry_run=True) == [Restoration("INBOX", 2, 0, 10)]
        assert len(await rows(db, inbox)) == 1
        assert await restore(db, user.id) == [Restoration("INBOX", 2, 0, 10)]
        found = await rows(db, inbox)
        assert [(row.uid, row.flags, row.keywords) for row in found] == [(Uid(n), Flags.FLAGGED, "k") for n in (3, 4, 5)]
        assert await db.store.read(found[2].blob) == b"12345"
        assert await restore(db, user.id) == []
        status = await db.store.status(inbox.id)
        assert (status.messages, status.size, status.deleted) == (3, 15, 0)

    sql.run(scenario)


def test_what_lies_elsewhere_is_left_there(sql: Backend, clock: Clock) -> None:
    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        archive, trash = await db.store.mailbox(user.id, "Archive"), await db.store.mailbox(user.id, "Trash")
        uids = await append(db, inbox, 3)
        before = clock.pass_()
        await db.store.copy(inbox.id, uids[:1], archive.id)
        await db.store.move(inbox.id, uids[1:2], archive.id)
        await db.store.move(inbox.id, uids[2:], trash.id)
        await db.store.remove(inbox.id, uids[:1])
        clock.pass_()
        await db.store.remove(trash.id, [Uid(1)])
        # by itself the last place is meant; of a moment, where it lay then
        assert await restore(db, user.id, dry_run=True) == [Restoration("INBOX", elsewhere=1), Restoration("Trash", 1, 0, 3)]
        assert await restore(db, user.id, at=before) == [Restoration("INBOX", 1, 0, 3, elsewhere=2)]
        assert (len(await rows(db, inbox)), len(await rows(db, archive)), len(await rows(db, trash))) == (1, 2, 0)

    sql.run(scenario)


def test_deleted_folders_come_back(sql: Backend, clock: Clock) -> None:
    async def scenario(db: Database) -> None:
        user, _ = await arrive(db)
        made = await db.store.create(user.id, "a/b")
        await append(db, made, 2)
        clock.pass_()
        await append(db, made, 1)
        await db.store.remove(made.id, [Uid(1)])
        moment = clock.pass_()
        await db.store.delete(user.id, "a/b")
        await db.store.delete(user.id, "a")
        clock.pass_()
        with pytest.raises(NoSuchMailbox):
            await restore(db, user.id, folder="nowhere")
        assert await restore(db, user.id, at=moment, folder="a/b") == [Restoration("a/b", 2, 0, 6, made=True)]
        again = await db.store.mailbox(user.id, "a/b")
        assert (again.id != made.id, len(await rows(db, again))) == (True, 2)
        assert await restore(db, user.id) == [Restoration("a/b", 1, 0, 3)]  # what was expunged before, into the new one
        _, other = await arrive(db, "bob")
        await db.directory.delete_user(user.id)
        again_alice, _ = await arrive(db)
        assert await restore(db, again_alice.id) == []  # a new account of that name is somebody else
        assert await rows(db, other) == []
        with pytest.raises(NoSuchUser):
            await restore(db, user.id)

    sql.run(scenario)


async def folders(db: Database, user: UserId) -> dict[str, tuple[str, bool]]:
    """Beyond the standard ones: special use, subscribed."""
    found = {box.name: (box.special_use, box.subscribed) for box in await db.store.mailboxes(user) if box.exists}
    return {name: kind for name, kind in found.items() if name not in ("INBOX", "Archive", "Junk", "Sent", "Trash")}


def test_deleted_folders_have_their_use_and_subscription_again(sql: Backend, clock: Clock) -> None:
    async def scenario(db: Database) -> None:
        user, _ = await arrive(db)
        before = await folders(db, user.id)
        await db.store.create(user.id, "a")
        await db.store.create(user.id, "a/empty")
        await db.store.subscribe(user.id, "a/empty", True)
        moment = clock.pass_()
        for name in ("Drafts", "a/empty", "a"):
            await db.store.subscribe(user.id, name, False)
            await db.store.delete(user.id, name)
        await db.store.create(user.id, "never/there then")
        await db.store.delete(user.id, "never/there then")
        clock.pass_()
        made = [Restoration(name, made=True) for name in ("Drafts", "a", "a/empty", "never/there then")]
        assert await restore(db, user.id, dry_run=True) == made
        assert await folders(db, user.id) == {"never": ("", False)}
        done = await restore(db, user.id, at=moment)
        assert [(one.folder, one.made) for one in done] == [("Drafts", True), ("a", True), ("a/empty", True)]
        assert await folders(db, user.id) == before | {"a": ("", False), "a/empty": ("", True), "never": ("", False)}
        await db.store.delete(user.id, "a/empty")
        clock.now += 100
        assert await restore(db, user.id) == [Restoration("a/empty", made=True), Restoration("never/there then", made=True)]
        assert (await folders(db, user.id))["a/empty"] == ("", True)
        await db.store.delete(user.id, "never")
        assert await restore(db, user.id, folder="a/empty") == []

    sql.run(scenario)


def test_folders_are_called_as_they_were(sql: Backend, clock: Clock) -> None:
    async def scenario(db: Database) -> None:
        user, _ = await arrive(db)
        ids = {name: (await db.store.create(user.id, name)).id for name in ("x", "y", "p", "p/q", "kept", "z")}
        await append(db, await db.store.mailbox(user.id, "p/q"), 1)
        moment = clock.pass_()
        await db.store.rename(user.id, "x", "t")  # x and y change places
        await db.store.rename(user.id, "y", "x")
        await db.store.rename(user.id, "t", "y")
        await db.store.rename(user.id, "p", "Archive/p")
        await db.store.delete(user.id, "kept")
        await db.store.rename(user.id, "z", "gone")
        await db.store.delete(user.id, "gone")
        await db.store.create(user.id, "new")
        clock.pass_()
        renamed = [Restoration("p", renamed="Archive/p"), Restoration("p/q", renamed="Archive/p/q")]
        wanted = [Restoration("kept", made=True), *renamed, Restoration("x", renamed="y"), Restoration("y", renamed="x")]
        wanted.append(Restoration("z", made=True))
        assert await restore(db, user.id, at=moment, dry_run=True) == wanted
        assert "Archive/p/q" in await folders(db, user.id)
        assert await restore(db, user.id, at=moment, folder="p/q") == renamed[1:]
        assert await restore(db, user.id, at=moment) == [one for one in wanted if one.folder != "p/q"]
        for name in ("x", "y", "p", "p/q"):
            assert (await db.store.mailbox(user.id, name)).id == ids[name]
        assert (await folders(db, user.id)).keys() == {"Drafts", "kept", "new", "p", "p/q", "x", "y", "z"}
        assert await restore(db, user.id, at=moment) == []

    sql.run(scenario)


def test_without_a_moment_nothing_is_renamed(sql: Backend, clock: Clock) -> None:
    async def scenario(db: Database) -> None:
        user, _ = await arrive(db)
        kept, moved = [await db.store.create(user.id, name) for name in ("old", "folder")]
        await db.store.remove(kept.id, await append(db, kept, 1))
        await append(db, moved, 2)
        moment = clock.pass_()
        await db.store.rename(user.id, "old", "new")
        await db.store.rename(user.id, "folder", "Trash/folder")  # how some clients delete
        clock.pass_()
        assert await restore(db, user.id, folder="new") == [Restoration("new", 1, 0, 3)]
        assert await restore(db, user.id) == []
        await db.store.delete(user.id, "Trash/folder")
        clock.pass_()
        as_it_was = [Restoration("folder", 2, 0, 6, made=True), Restoration("old", renamed="new")]
        assert await restore(db, user.id, at=moment, dry_run=True) == as_it_was
        assert await restore(db, user.id) == [Restoration("Trash/folder", 2, 0, 6, made=True)]

    sql.run(scenario)


def test_a_name_that_is_taken_stays(sql: Backend, clock: Clock) -> None:
    async def scenario(db: Database) -> None:
        user, _ = await arrive(db)
        first = await db.store.create(user.id, "x")
        moment = clock.pass_()
        await db.store.rename(user.id, "x", "other")
        second = await db.store.create(user.id, "x")
        later = clock.pass_()
        assert await restore(db, user.id, at=moment) == []
        assert (await db.store.mailbox(user.id, "x")).id == second.id
        await db.store.delete(user.id, "x")
        assert await restore(db, user.id, at=moment) == [Restoration("x", renamed="other")]
        assert (await db.store.mailbox(user.id, "x")).id == first.id
        clock.pass_()
        await restore(db, user.id, at=later)  # back past the restoration itself
        assert (await db.store.mailbox(user.id, "other")).id == first.id
        await db.housekeep(now=clock.now + 15 * 86400)
        assert await restore(db, user.id, at=moment) == []  # and nobody remembers

    sql.run(scenario)


def test_subscriptions_as_they_were(sql: Backend, clock: Clock) -> None:
    async def scenario(db: Database) -> None:
        user, _ = await arrive(db)
        await db.store.subscribe(user.id, "nowhere", True)
        moment = clock.pass_()
        await db.store.subscribe(user.id, "nowhere", False)
        await db.store.subscribe(user.id, "later", True)
        await db.store.subscribe(user.id, "both", True)
        await db.store.subscribe(user.id, "both", False)
        clock.pass_()
        wanted = [Restoration("later", subscribed=False), Restoration("nowhere", subscribed=True)]
        assert await restore(db, user.id, at=moment, dry_run=True) == wanted
        assert await restore(db, user.id, at=moment) == wanted
        assert {box.name for box in await db.store.mailboxes(user.id) if not box.exists} == {"nowhere"}
        assert await restore(db, user.id, at=moment) == []

    sql.run(scenario)


def test_quota_holds_and_what_is_past_undelete_is_gone(sql: Backend, clock: Clock) -> None:
    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        await db.store.remove(inbox.id, await append(db, inbox, 2, octets=b"12345"))
        await db.directory.set_quota(user.id, 7)
        with pytest.raises(OverQuota):
            await restore(db, user.id)
        assert await rows(db, inbox) == []
        await db.housekeep(now=clock.now + 15 * 86400)
        assert await restore(db, user.id) == []

    sql.run(scenario)


@pytest.mark.parametrize("seed", range(4))
def test_any_moment_can_be_made_so_again(sql: Backend, clock: Clock, seed: int) -> None:
    """Random changes against a record of what was: each message of a moment is where it was, as it was, or still somewhere else."""
    dice = random.Random(seed)
    names = ["INBOX", "Archive", "w", "w/x", "v", "v/x"]

    async def look(db: Database, user: UserId) -> dict[str, dict[bytes, tuple[int, str]]]:
        found: dict[str, dict[bytes, tuple[int, str]]] = {}
        for box in await db.store.mailboxes(user):
            if box.exists:
                there = await rows(db, box)
                octets = await db.store.read_many([row.blob for row in there])
                found[box.name] = {o: (row.flags, row.keywords) for o, row in zip(octets, there, strict=True)}
        return found

    async def change(db: Database, user: UserId, step: int) -> None:
        what = dice.choice(["append", "append", "flag", "flag", "flag", "remove", "move", "drop", "rename", "subscribe"])
        name = dice.choice(names)
        try:
            box = await db.store.mailbox(user, name)
        except NoSuchMailbox:
            box = await db.store.create(user, name)
        uids = [row.uid for row in await rows(db, box)]
        some = dice.sample(uids, min(len(uids), dice.randrange(1, 4)))
        if what == "append":
            await db.store.append(box.id, [NewMessage(OctetContent(b"%d.%d" % (step, n)), Flags(0), NOBODY, 1) for n in range(2)])
        elif what == "flag":
            flags = dice.choice([Flags.SEEN, Flags.FLAGGED, Flags.ANSWERED])
            await db.store.set_flags(
                box.id, some, dice.choice(["set", "add", "remove"]), flags, frozenset(dice.choice(["", "k"]).split())
            )
        elif what == "remove":
            await db.store.remove(box.id, some)
        elif what == "move":
            target = await db.store.mailbox(user, dice.choice([n for n in names if n in await look(db, user)]))
            if target.id != box.id:
                await db.store.move(box.id, some, target.id)
        elif what == "subscribe":
            await db.store.subscribe(user, name, dice.random() < 0.5)
        elif what == "rename" and name not in ("INBOX", "Archive"):
            with contextlib.suppress(MailboxExists, MailboxNotAllowed):
                await db.store.rename(user, name, dice.choice(names[2:]))
        elif what == "drop" and name != "INBOX":
            await db.store.delete(user, name)

    async def subscribed(db: Database, user: UserId) -> set[str]:
        return {box.name for box in await db.store.mailboxes(user) if box.subscribed}

    async def scenario(db: Database) -> None:
        user, _ = await arrive(db)
        record = []
        for step in range(40):
            await change(db, user.id, step)
            record.append((clock.pass_(), await look(db, user.id), await subscribed(db, user.id)))
        moment, then, names_then = dice.choice(record[5:35])
        before = {octets for there in (await look(db, user.id)).values() for octets in there}
        await restore(db, user.id, at=moment)
        now = await look(db, user.id)
        assert await subscribed(db, user.id) == names_then
        assert then.keys() <= now.keys()
        for name, there in then.items():
            for octets, kind in there.items():
                if octets in now[name]:
                    assert now[name][octets] == kind, (name, octets)
                else:
                    assert octets in before, (name, octets, "is nowhere")
        count = [octets for there in now.values() for octets in there]
        assert len(count) == len(set(count)), "nothing is there twice"
        assert {o for there in then.values() for o in there} | before == set(count)

    sql.run(scenario)
