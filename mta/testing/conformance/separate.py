"""``SeparateStore``: what mailboxes apart from the database promise beyond ``MailStore``."""
# SPDX-License-Identifier: Apache-2.0

import time

import pytest

from mta.app.apart import separate
from mta.model.errors import NoSuchUser, OverQuota
from mta.model.ids import QueueId, Uid, UserId
from mta.model.message import Flags, LocalDelivery, OctetContent, Placement
from mta.testing.conformance.backend import Backend, append, arrive, rows
from mta_hooks.backends import Database

NOBODY: frozenset[str] = frozenset()


async def _put(db: Database, user: UserId, id: str = "Q1", size: int = 6, placement: Placement | None = None) -> None:
    store = separate(db)
    assert store is not None
    [account] = [one for one in await db.directory.users() if one.id == user]
    delivery = LocalDelivery(user, account.address, placement or Placement())
    await store.deliver(delivery, OctetContent(b"x" * size), id=QueueId(id), date=1_700_000_000, message_id="<m>")


class SeparateStoreConformance:
    def test_a_delivery_goes_where_it_was_placed(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            await _put(db, user.id, placement=Placement("Lists/new", Flags.FLAGGED, frozenset({"b", "a"}), ("INBOX", "inbox")))
            await _put(db, user.id, "Q2", placement=Placement("no//mailbox"))
            await _put(db, user.id, "Q3", placement=Placement(drop=True))
            made = await db.store.mailbox(user.id, "Lists/new")
            [row] = await rows(db, made)
            assert (row.flags, row.keywords, row.date, row.size) == (Flags.FLAGGED, "a b", 1_700_000_000, 6)
            assert await db.store.read(row.blob) == b"xxxxxx"
            assert [r.uid for r in await rows(db, inbox)] == [1, 2]
            assert {inbox.id, made.id} <= set(backend.told.mailboxes)

        backend.run(scenario)

    def test_the_same_delivery_again_changes_nothing(self, backend: Backend) -> None:
        place = Placement("INBOX", copies=("Copies/here",))

        async def first(db: Database) -> None:
            user, inbox = await arrive(db)
            await _put(db, user.id, placement=place)
            await _put(db, user.id, placement=place)
            assert len(await rows(db, inbox)) == 1
            await db.store.set_flags(inbox.id, [Uid(1)], "add", Flags.SEEN, NOBODY)
            await _put(db, user.id, placement=place)
            copies = await db.store.mailbox(user.id, "Copies/here")
            await db.store.move(inbox.id, [Uid(1)], copies.id)
            await db.store.remove(copies.id, [Uid(1)])
            await _put(db, user.id, placement=place)

        async def after_a_restart(db: Database) -> None:
            user, inbox = await arrive(db)
            await _put(db, user.id, placement=place)
            copies = await db.store.mailbox(user.id, "Copies/here")
            assert ([r.uid for r in await rows(db, inbox)], [r.uid for r in await rows(db, copies)]) == ([], [2])
            await _put(db, user.id, "Q2", placement=place)
            assert [r.uid for r in await rows(db, inbox)] == [2]

        backend.run(first, after_a_restart)

    def test_who_is_full_or_gone_is_told(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            await db.directory.set_quota(user.id, 100)
            await _put(db, user.id, size=60)
            with pytest.raises(OverQuota) as caught:
                await _put(db, user.id, "Q2", size=60)
            assert caught.value.users == (user.id,)
            await _put(db, user.id, size=60)  # delivered before: no room is needed
            assert len(await rows(db, inbox)) == 1
            store = separate(db)
            assert store is not None
            assert await store.used(user.id) == 60
            delivery = LocalDelivery(UserId(10**6), user.address)
            with pytest.raises(NoSuchUser):
                await store.deliver(delivery, OctetContent(b"x"), id=QueueId("Q3"), date=0, message_id="")

        backend.run(scenario)

    def test_a_new_account_of_an_old_name_begins_anew(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            await append(db, inbox)
            await db.directory.delete_user(user.id)
            again, empty = await arrive(db)
            assert (again.id != user.id, empty.id != inbox.id) == (True, True)
            assert await rows(db, empty) == []
            await db.housekeep(now=time.time() + 30 * 86400.0)
            await append(db, empty)

        backend.run(scenario)

    def test_events_are_told_before_the_answer(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            await _put(db, user.id)
            await db.store.set_flags(inbox.id, [Uid(1)], "add", Flags.SEEN, NOBODY)
            told = [row.payload for row in await db.outbox.lease("test", 10, 60.0, now=2e9)]
            assert [(one["event"], one["mailbox"], one["uids"]) for one in told] == [
                ("MessageNew", "INBOX", [1]),
                ("MessageRead", "INBOX", [1]),
            ]
            assert (told[0]["queue_id"], told[0]["message_id"], told[0]["user"]) == ("Q1", "<m>", str(user.address))

        backend.run(scenario, durable_hooks=frozenset({"mailbox_event"}))
