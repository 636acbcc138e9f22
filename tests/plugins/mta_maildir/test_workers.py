"""Two workers and another program on one Maildir, in random order: every view of it comes to the same, and no uid means two messages."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import random
from pathlib import Path

import pytest

from mta.model.ids import ModSeq, Uid
from mta.model.mailbox import NewMessage
from mta.model.message import Flags, OctetContent
from mta.testing.conformance import Backend, arrive, deliver, intake, rows
from mta_hooks.backends import Database

WORDS = ["a", "b", "$Forwarded"]


class Program:
    """Delivers, reads and deletes without asking anybody."""

    def __init__(self, maildir: Path, chance: random.Random) -> None:
        self._maildir, self._chance, self._count = maildir, chance, 0

    def act(self) -> None:
        files = [*(self._maildir / "cur").iterdir(), *(self._maildir / "new").iterdir()]
        match self._chance.randrange(4):
            case 0 if files:
                self._chance.choice(files).unlink()
            case 1 if files:
                file = self._chance.choice(files)
                base, _, letters = file.name.partition(":2,")
                file.rename(self._maildir / "cur" / f"{base}:2,{''.join(sorted(set(letters) ^ {self._chance.choice('FRST')}))}")
            case _:
                self._count += 1
                name = f"17000000{self._count:02}.M1P1.elsewhere"
                (self._maildir / "tmp" / name).write_bytes(b"outside %d\n" % self._count)
                (self._maildir / "tmp" / name).rename(self._maildir / "new" / name)


async def act(db: Database, mailbox: int, other: int, chance: random.Random, number: int) -> None:
    uids = [row.uid for row in (await db.store.changes(mailbox, ModSeq(0))).rows]
    some = [Uid(uid) for uid in uids if chance.random() < 0.3]
    match chance.randrange(6):
        case 0:
            await db.store.set_flags(
                mailbox, some, chance.choice(["set", "add", "remove"]), chance.randrange(32), frozenset({chance.choice(WORDS)})
            )
        case 1:
            await db.store.remove(mailbox, some[:2])
        case 2:
            await db.store.copy(mailbox, some[:3], chance.choice([mailbox, other]))
        case 3:
            await db.store.move(mailbox, some[:2], other)
            await db.store.move(other, [row.uid for row in (await db.store.changes(other, ModSeq(0))).rows][:2], mailbox)
        case 4:
            await db.store.claim_recent(mailbox)
        case _:
            message = NewMessage(OctetContent(b"inside %d\r\n" % number), Flags(chance.randrange(32)), frozenset(), 1_700_000_000)
            await db.store.append(mailbox, [message] * chance.randrange(1, 3))


@pytest.mark.parametrize("seed", range(4))
def test_all_views_agree(backend: Backend, mail: Path, seed: int) -> None:
    chance = random.Random(seed)

    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        other = await backend.open()
        folder = (await db.store.mailbox(user.id, "Sent")).id
        program = Program(mail / "example.test" / "alice", chance)
        follower: dict[int, tuple[int, str]] = {}
        octets: dict[int, bytes] = {}
        modseq = ModSeq(0)
        try:
            for number in range(60):
                if chance.random() < 0.3:
                    program.act()
                else:
                    await act(chance.choice([db, other]), inbox.id, folder, chance, number)
                changes = await chance.choice([db, other]).store.changes(inbox.id, modseq)
                assert not set(changes.vanished) & {row.uid for row in changes.rows}
                for uid in changes.vanished:
                    follower.pop(uid, None)
                follower.update({row.uid: (row.flags, row.keywords) for row in changes.rows})
                modseq = changes.highest_modseq
                first, second = await rows(db, inbox), await rows(other, inbox)
                assert first == second
                assert {row.uid: (row.flags, row.keywords) for row in first} == follower
                for row, found in zip(first, await db.store.read_many([row.blob for row in first]), strict=True):
                    assert octets.setdefault(row.uid, found) == found
                    assert row.size == len(found)
        finally:
            await other.close()

    backend.run(scenario)
    backend.run(scenario)


def test_two_workers_at_the_same_time(backend: Backend) -> None:
    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        other = await backend.open()
        try:
            message = NewMessage(OctetContent(b"x\r\n"), Flags(0), frozenset(), 1_700_000_000)

            async def work(one: Database) -> list[Uid]:
                given = []
                for _ in range(20):
                    given += [appended.uid for appended in await one.store.append(inbox.id, [message])]
                    await one.store.set_flags(inbox.id, given[-1:], "add", Flags.SEEN, frozenset())
                return given

            given = await asyncio.gather(work(db), work(other), work(db), work(other))
            assert sorted(uid for uids in given for uid in uids) == list(range(1, 81))
            await deliver(other, intake(user))
            assert await rows(db, inbox) == await rows(other, inbox)
            assert len(await rows(db, inbox)) == 81
        finally:
            await other.close()

    backend.run(scenario)
