"""``Database`` as a whole: sweeping, undelete, many callers at once."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import time

import pytest

from mta.model.delivery import Outcome
from mta.model.errors import NoSuchMailbox, TemporaryFailure
from mta.model.ids import ModSeq, Uid
from mta.model.message import Flags
from mta.testing.conformance.backend import NOW, Backend, append, arrive, intake, rows
from mta_hooks.backends import Database

DAY = 86400.0


class DatabaseConformance:
    def test_octets_stay_while_anybody_holds_them(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            alice, inbox = await arrive(db)
            bob, other = await arrive(db, "bob")
            for octets in (b"small", b"big" * 200_000):
                await db.spool.accept(intake(alice, bob, queued=["far@x.test"], octets=octets))
                row = (await rows(db, inbox))[-1]
                later = time.time() + 30 * DAY
                await db.store.remove(inbox.id, [row.uid])
                await db.housekeep(now=later)
                assert await db.store.read(row.blob) == octets
                [leased] = await db.queue.lease("me", 5, 60.0, now=NOW)
                await db.queue.settle([Outcome(leased, "relayed")])
                await db.housekeep(now=later)
                assert await db.store.read(row.blob) == octets
                await db.store.remember_parsed({row.blob: b"parsed"})
                await db.store.remove(other.id, [(await rows(db, other))[-1].uid])
                await db.housekeep(now=time.time())
                assert await db.store.read(row.blob) == octets  # within ``undelete``
                await db.housekeep(now=later)
                with pytest.raises(KeyError):
                    await db.store.read(row.blob)
                assert await db.store.parsed([row.blob]) == [None]

        backend.run(scenario, undelete=DAY)

    def test_octets_that_only_the_queue_holds_stay(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            await db.spool.accept(intake(user, queued=["far@x.test"]))
            await db.store.remove(inbox.id, [Uid(1)])
            await db.housekeep(now=time.time() + 30 * DAY)
            [leased] = await db.queue.lease("me", 5, 60.0, now=NOW)
            assert await db.queue.content(leased.message.blob)

        backend.run(scenario, undelete=DAY)

    def test_deleted_mailboxes_and_accounts_give_their_octets_back_later(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            folder = await db.store.create(user.id, "folder")
            await append(db, folder)
            await append(db, inbox)
            blobs = [(await rows(db, folder))[0].blob, (await rows(db, inbox))[0].blob]
            await db.store.delete(user.id, "folder")
            await db.directory.delete_user(user.id)
            await db.housekeep(now=time.time())
            assert len(await db.store.read_many(blobs)) == 2
            await db.housekeep(now=time.time() + 2 * DAY)
            for blob in blobs:
                with pytest.raises(KeyError):
                    await db.store.read(blob)

        backend.run(scenario, undelete=DAY)

    def test_what_vanished_is_known_after_any_sweep(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            _, inbox = await arrive(db)
            await append(db, inbox, 5)
            known = (await db.store.status(inbox.id)).highest_modseq
            await db.store.remove(inbox.id, [Uid(2), Uid(5)])
            for days in (0, 30, 400):
                await db.housekeep(now=time.time() + days * DAY)
                changes = await db.store.changes(inbox.id, known)
                assert changes.vanished == [2, 5]
            await append(db, inbox, 1)
            changes = await db.store.changes(inbox.id, known)
            assert ([row.uid for row in changes.rows], changes.vanished) == ([6], [2, 5])
            later = changes.highest_modseq
            await db.store.remove(inbox.id, [Uid(6)])
            assert (await db.store.changes(inbox.id, later)).vanished == [6]

        backend.run(scenario, undelete=DAY)

    def test_many_callers_at_once_each_get_their_own_answer(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            alice, inbox = await arrive(db)
            bob, other = await arrive(db, "bob")
            await db.directory.set_quota(bob.id, 1)

            async def one(n: int) -> None:
                if n % 5 == 1:
                    await db.spool.accept(intake(bob))
                elif n % 5 == 2:
                    await db.store.delete(alice.id, f"nothing{n}")
                else:
                    await db.spool.accept(intake(alice))

            results = await asyncio.gather(*[one(n) for n in range(100)], return_exceptions=True)
            failed = [type(result).__name__ for result in results if result is not None]
            assert sorted(failed) == ["NoSuchMailbox"] * 20 + ["OverQuota"] * 20
            assert [row.uid for row in await rows(db, inbox)] == list(range(1, 61))
            assert await rows(db, other) == []

        backend.run(scenario)

    def test_a_caller_who_goes_away_leaves_nothing_half_done(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            users = [(await arrive(db, name))[0] for name in ("alice", "bob")]
            inboxes = [await db.store.mailbox(user.id, "INBOX") for user in users]
            waiting = [asyncio.ensure_future(db.spool.accept(intake(*users))) for _ in range(50)]
            await asyncio.sleep(0)
            for task in waiting[::2]:
                task.cancel()
            results = await asyncio.gather(*waiting, return_exceptions=True)
            done = sum(result is None for result in results)
            counts = {len(await rows(db, inbox)) for inbox in inboxes}
            assert len(counts) == 1
            assert done <= counts.pop() <= 50

        backend.run(scenario)

    def test_exactly_once_with_two_processes(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            other = await backend.open()
            try:
                messages = [intake(user) for _ in range(40)]
                await asyncio.gather(*[database.spool.accept(m) for m in messages for database in (db, other)])
                assert len(await rows(db, inbox)) == 40
                await db.spool.accept(intake(queued=[f"u{n}@x.test" for n in range(100)]))
                leases = await asyncio.gather(*[d.queue.lease("x", 13, 60.0, now=NOW) for d in (db, other) for _ in range(8)])
                taken = [leased.row for rows_ in leases for leased in rows_]
                assert len(taken) == len(set(taken)) == 100
            finally:
                await other.close()

        backend.run(scenario)

    def test_verify_counts_and_finds_nothing_wrong(self, backend: Backend) -> None:
        seen: list[tuple[int, int]] = []

        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            await append(db, inbox, 3, flags=Flags.DELETED)
            await db.spool.accept(intake(user, queued=["far@x.test"]))
            await db.store.expunge(inbox.id, [Uid(1)])
            assert await db.verify(lambda done, total: seen.append((done, total))) == []
            with pytest.raises(NoSuchMailbox):
                await db.store.changes(type(inbox.id)(10**9), ModSeq(0))

        backend.run(scenario)
        assert seen[-1] == (4, 4)

    def test_a_look_changes_nothing(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            await append(db, inbox, 2)
            look = await backend.open(read_only=True)
            try:
                assert await look.directory.user(user.address) == await db.directory.user(user.address)
                assert len(await rows(look, inbox)) == 2
                for write in (look.spool.accept(intake(user)), look.kv.set("p", "k", b"v", expires=None)):
                    with pytest.raises(TemporaryFailure):
                        await write
                assert len(await rows(db, inbox)) == 2
            finally:
                await look.close()

        backend.run(scenario)
