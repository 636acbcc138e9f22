"""Random operations by many tasks over two databases on the same data, against what each call claimed to have done."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import random
from collections import Counter

import pytest

from mta.model.errors import MailError, NoSuchMailbox
from mta.model.ids import MailboxId, ModSeq, Uid
from mta.model.mailbox import Row
from mta.testing.conformance import Backend, append, arrive, intake, rows
from mta_hooks.backends import Database

TASKS = 8
STEPS = 40

Place = tuple[MailboxId, Uid]


class Oracle:
    """What the answers add up to."""

    def __init__(self) -> None:
        self.there: dict[Place, str] = {}
        """Every message that was put somewhere, by place, with its name."""
        self.gone: Counter[Place] = Counter()
        self.keywords: dict[Place, set[str]] = {}

    def put(self, place: Place, name: str) -> None:
        assert place not in self.there, f"{place} given twice"
        self.there[place] = name

    def live(self) -> dict[Place, str]:
        assert set(self.gone.values()) <= {1}, "removed twice"
        return {place: name for place, name in self.there.items() if place not in self.gone}


class Follower:
    """Rebuilds a mailbox from ``changes`` while others change it."""

    def __init__(self, mailbox: MailboxId) -> None:
        self.mailbox = mailbox
        self.modseq = ModSeq(0)
        self.rows: dict[Uid, Row] = {}

    async def follow(self, db: Database) -> None:
        changes = await db.store.changes(self.mailbox, self.modseq)
        assert changes.highest_modseq >= self.modseq
        for uid in changes.vanished:
            self.rows.pop(uid, None)
        for row in changes.rows:
            old = self.rows.get(row.uid)
            assert old is None or row.modseq > old.modseq
            self.rows[row.uid] = row
        self.modseq = changes.highest_modseq


async def _step(db: Database, dice: random.Random, number: str, people: list, boxes: list[MailboxId], oracle: Oracle) -> None:
    mailbox, target = dice.choice(boxes), dice.choice(boxes)
    what = dice.choice(["accept", "accept", "append", "flag", "flag", "copy", "move", "remove", "fail"])
    if what == "accept":
        await db.spool.accept(intake(*dice.sample(people, 2), octets=number.encode()))
        return
    if what == "fail":
        with pytest.raises(NoSuchMailbox):
            await db.store.move(mailbox, [Uid(1)], MailboxId(10**9))
        return
    found = await rows(db, mailbox)
    if what == "append" or not found:
        [uid] = await append(db, await _info(mailbox), octets=number.encode())
        oracle.put((mailbox, uid), number)
        return
    chosen = [row.uid for row in dice.sample(found, min(len(found), dice.randint(1, 3)))]
    if what == "flag":
        keyword = f"k{number}"
        stored = await db.store.set_flags(mailbox, chosen, "add", 0, frozenset({keyword}))
        for row in stored.rows:
            oracle.keywords.setdefault((mailbox, row.uid), set()).add(keyword)
    elif what == "remove":
        for uid in (await db.store.remove(mailbox, chosen))[0]:
            oracle.gone[(mailbox, uid)] += 1
    else:
        names = {row.uid: (await db.store.read(row.blob)).decode() for row in found if row.uid in chosen}
        result = await (db.store.copy if what == "copy" else db.store.move)(mailbox, chosen, target)
        for source, copied in zip(result.source, result.target, strict=True):
            oracle.put((target, copied), names[source])
            if what == "move":
                oracle.gone[(mailbox, source)] += 1


class _Info:
    def __init__(self, mailbox: MailboxId) -> None:
        self.id = mailbox


async def _info(mailbox: MailboxId):
    return _Info(mailbox)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_answers_add_up_to_what_is_there(request: pytest.FixtureRequest, kind: str, seed: int) -> None:
    backend: Backend = request.getfixturevalue(kind)
    oracle = Oracle()
    boxes: list[MailboxId] = []
    final: dict[MailboxId, list[Row]] = {}

    async def scenario(first: Database) -> None:
        second = await backend.open()
        people = [(await arrive(first, name))[0] for name in ("alice", "bob", "carol")]
        for user in people:
            boxes.extend([(await first.store.mailbox(user.id, name)).id for name in ("INBOX", "Sent")])
        followers = [Follower(mailbox) for mailbox in boxes]
        stop = asyncio.Event()

        async def follow() -> None:
            while not stop.is_set():
                for follower in followers:
                    await follower.follow(random.choice((first, second)))
                await asyncio.sleep(0)

        async def work(task: int) -> None:
            dice = random.Random(seed * 1000 + task)
            for step in range(STEPS):
                await _step(dice.choice((first, second)), dice, f"{task}x{step}", people, boxes, oracle)

        following = asyncio.ensure_future(follow())
        await asyncio.gather(*[work(task) for task in range(TASKS)])
        stop.set()
        await following
        try:
            await _compare(first, boxes, oracle, followers)
            for mailbox in boxes:
                final[mailbox] = await rows(second, mailbox)
                assert final[mailbox] == await rows(first, mailbox)
        finally:
            await second.close()

    async def again(db: Database) -> None:
        for mailbox in boxes:
            assert await rows(db, mailbox) == final[mailbox]

    backend.run(scenario, again)


async def _compare(db: Database, boxes: list[MailboxId], oracle: Oracle, followers: list[Follower]) -> None:
    live = oracle.live()
    accepted: Counter[str] = Counter()
    for mailbox, follower in zip(boxes, followers, strict=True):
        found = await rows(db, mailbox)
        await follower.follow(db)
        assert sorted(follower.rows.values()) == found
        for row in found:
            place = (mailbox, row.uid)
            name = (await db.store.read(row.blob)).decode()
            if place in oracle.there:
                assert live.pop(place) == name
            else:
                accepted[name] += 1
                assert place not in oracle.gone
            assert oracle.keywords.get(place, set()) <= set(row.keywords.split())
    assert live == {}, "claimed to be there, but is not"
    assert all(count <= 2 for count in accepted.values())
    assert accepted, "nothing was accepted: the test tests nothing"


def test_failures_in_a_batch_harm_nobody_else(sqlite: Backend) -> None:
    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        calls = [db.spool.accept(intake(user)) if n % 2 else db.store.delete(user.id, "no such") for n in range(60)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(result, MailError) for result in results) == 30
        assert [row.uid for row in await rows(db, inbox)] == list(range(1, 31))

    sqlite.run(scenario)
