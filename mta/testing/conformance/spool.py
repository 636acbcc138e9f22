"""``Spool``, ``Outbox``, ``Traces``, ``KeyValues``."""
# SPDX-License-Identifier: Apache-2.0

import dataclasses
from typing import Any

import pytest

from mta.model.address import Address
from mta.model.errors import OverQuota, TemporaryFailure
from mta.model.ids import ModSeq
from mta.model.message import Flags, Intake, LocalDelivery, Notification, Placement
from mta.testing.conformance.backend import NOW, Backend, append, arrive, intake, rows
from mta_hooks.backends import Database


async def events(db: Database) -> list[tuple[str, str, list[int], Any]]:
    """Mailbox events since the last look: (event, mailbox, uids, what changed)."""
    leased = await db.outbox.lease("me", 1000, 60.0, now=NOW)
    await db.outbox.done([row.row for row in leased])
    return [(p["event"], p["mailbox"], p["uids"], p["details"].get("changed")) for p in (row.payload for row in leased)]


class SpoolConformance:
    # ---- acceptance

    def test_a_message_is_in_every_mailbox_when_accept_returns(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            people = [await arrive(db, name) for name in ("alice", "bob", "carol")]
            octets = b"Return-Path: <>\r\nSubject: x\r\n\r\nbody\r\n"
            await db.spool.accept(intake(*[user for user, _ in people], octets=octets, received_at=NOW + 0.7))
            for _, inbox in people:
                [row] = await rows(db, inbox)
                assert (row.uid, row.flags, row.keywords, row.date, row.size) == (1, 0, "", int(NOW), len(octets))
                assert await db.store.read(row.blob) == octets
                assert (await db.store.status(inbox.id)).unseen == 1
            assert set(backend.told.mailboxes) == {inbox.id for _, inbox in people}
            assert len({(await rows(db, inbox))[0].blob for _, inbox in people}) == 1  # stored once

        backend.run(scenario)

    def test_the_same_id_twice_is_delivered_once(self, backend: Backend) -> None:
        message = intake(id="SAME")

        async def twice(db: Database) -> None:
            user, inbox = await arrive(db)
            delivery = LocalDelivery(user.id, user.address)
            again = dataclasses.replace(message, deliveries=(delivery,), queued=intake(queued=["far@example.org"]).queued)
            await db.spool.accept(again)
            await db.spool.accept(again)
            assert len(await rows(db, inbox)) == 1
            assert await db.queue.count() == 1

        backend.run(twice, twice)

    def test_placement_chooses_folder_flags_and_copies(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            placement = Placement("new/folder", Flags.FLAGGED | Flags.SEEN, frozenset({"b", "a"}), copies=("Archive", "new/folder"))
            await db.spool.accept(intake(user, placement=placement))
            for name in ("new/folder", "Archive"):
                [row] = await rows(db, await db.store.mailbox(user.id, name))
                assert (row.flags, row.keywords) == (5, "a b")
            assert await rows(db, inbox) == []
            assert (await db.store.mailbox(user.id, "new")).exists
            await db.spool.accept(intake(user, placement=Placement("bad//name%")))
            assert len(await rows(db, inbox)) == 1  # never lost to a name that cannot be

        backend.run(scenario)

    def test_one_mailbox_gets_a_message_once(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            await db.spool.accept(intake(user, user))
            assert len(await rows(db, inbox)) == 1

        backend.run(scenario)

    def test_dropped_messages_leave_only_a_trace(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            await db.spool.accept(intake(user, placement=Placement(drop=True), id="DROPPED"))
            assert await rows(db, inbox) == []
            assert len(await db.traces.find("DROPPED")) == 1
            await db.housekeep(now=NOW)

        backend.run(scenario)

    def test_deliveries_follow_renamed_and_deleted_folders(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)

            def message() -> Intake:
                return intake(user, placement=Placement("list"))

            await db.spool.accept(message())
            first = await db.store.mailbox(user.id, "list")
            await db.store.rename(user.id, "list", "other")
            await db.spool.accept(message())
            second = await db.store.mailbox(user.id, "list")
            assert second.id != first.id
            assert (len(await rows(db, first)), len(await rows(db, second))) == (1, 1)
            await db.store.delete(user.id, "list")
            await db.spool.accept(message())
            third = await db.store.mailbox(user.id, "list")
            assert third.uid_validity > second.uid_validity
            assert [row.uid for row in await rows(db, third)] == [1]

        backend.run(scenario)

    def test_over_quota_names_everybody_who_is_full_and_changes_nothing(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            people = [await arrive(db, name) for name in ("alice", "bob", "carol")]
            for user, _ in people[:2]:
                await db.directory.set_quota(user.id, 10)
            users = [user for user, _ in people]
            with pytest.raises(OverQuota) as caught:
                await db.spool.accept(intake(*users, octets=b"x" * 11, queued=["far@example.org"], id="BIG"))
            assert set(caught.value.users) == {users[0].id, users[1].id}
            assert all([await rows(db, inbox) == [] for _, inbox in people])
            assert await db.queue.count() == 0
            assert await db.traces.find("BIG") == []
            await db.spool.accept(intake(*users, octets=b"x" * 10, id="BIG"))
            assert all([len(await rows(db, inbox)) == 1 for _, inbox in people])

        backend.run(scenario)

    def test_an_account_that_is_gone_is_a_temporary_failure(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            other, inbox = await arrive(db, "bob")
            await db.spool.accept(intake(user))
            await db.directory.delete_user(user.id)
            with pytest.raises(TemporaryFailure):
                await db.spool.accept(intake(other, user))
            assert await rows(db, inbox) == []

        backend.run(scenario)

    # ---- outbox

    def test_only_wanted_notifications_are_written(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            notes = (Notification("delivered", {"n": 1, "text": "ä\x00"}), Notification("bounced", {"n": 2}))
            await db.spool.accept(intake(queued=["far@example.org"], notifications=notes))
            [row] = await db.outbox.lease("me", 10, 60.0, now=NOW)
            assert (row.hook, dict(row.payload), row.attempts) == ("delivered", {"n": 1, "text": "ä\x00"}, 0)
            assert backend.told.noted == 1

        backend.run(scenario, durable_hooks=frozenset({"delivered"}))

    def test_an_outbox_row_goes_on_for_the_plugins_that_failed(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await db.spool.accept(intake(notifications=[Notification("delivered", {"n": 1})]))
            outbox = db.outbox
            [row] = await outbox.lease("me", 10, 60.0, now=NOW)
            assert (row.plugin, row.made > 0) == ("", True)
            await outbox.retry(row.row, due=NOW, error="two failed", failed={"ticket": "down", "chat": "away"})
            found = await outbox.lease("me", 10, 60.0, now=NOW)
            assert {(one.plugin, one.error, one.attempts, one.hook, one.payload["n"]) for one in found} == {
                ("ticket", "down", 1, "delivered", 1),
                ("chat", "away", 1, "delivered", 1),
            }
            await outbox.retry(found[0].row, due=NOW + 5, error="again", failed={found[0].plugin: "again"})
            await outbox.done([found[1].row])
            [left] = await outbox.list()
            assert (left.plugin, left.error, left.attempts, left.due) == (found[0].plugin, "again", 2, NOW + 5)

        backend.run(scenario, durable_hooks=frozenset({"delivered"}))

    def test_outbox_rows_are_leased_retried_and_buried(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            notes = tuple(Notification("delivered", {"n": n}) for n in range(3))
            await db.spool.accept(intake(queued=["far@example.org"], notifications=notes))
            outbox = db.outbox
            first = await outbox.lease("a", 2, 60.0, now=NOW)
            assert [row.payload["n"] for row in first] == [0, 1]
            assert [row.payload["n"] for row in await outbox.lease("b", 5, 60.0, now=NOW)] == [2]
            assert await outbox.lease("b", 5, 60.0, now=NOW + 59) == []
            await outbox.done([first[0].row])
            await outbox.retry(first[1].row, due=NOW + 10, error="no")
            assert await outbox.lease("a", 5, 60.0, now=NOW + 9) == []
            [again] = await outbox.lease("a", 5, 60.0, now=NOW + 10)
            assert (again.row, again.attempts) == (first[1].row, 1)
            await outbox.bury(again.row, error="never")
            left = await outbox.lease("a", 5, 60.0, now=NOW + 1000)  # the lease of b ended
            assert [row.payload["n"] for row in left] == [2]
            await outbox.done([row.row for row in left])
            await outbox.done([])
            assert await outbox.lease("a", 5, 60.0, now=NOW + 10**6) == []
            [dead] = await outbox.list(dead=True)
            assert (dead.row, dead.hook, dead.error, dead.attempts, dead.due) == (again.row, again.hook, "never", 2, None)
            assert await outbox.count() == {"total": 1, "dead": 1}
            assert await outbox.list(rows=[dead.row + 10**6]) == []
            assert await outbox.replay([dead.row, dead.row + 10**6], now=NOW) == 1
            assert await outbox.replay([dead.row], now=NOW) == 0
            assert await outbox.discard([dead.row]) == 0
            [once_more] = await outbox.lease("a", 5, 60.0, now=NOW)
            assert (once_more.row, once_more.attempts, once_more.payload) == (dead.row, 0, again.payload)
            assert await outbox.reclaim("b") == 0
            assert await outbox.reclaim("a") == 1
            assert [row.row for row in await outbox.lease("b", 5, 60.0, now=NOW)] == [dead.row]
            await outbox.bury(dead.row, error="never")
            assert await outbox.reclaim("b") == 0
            assert await outbox.discard([dead.row]) == 1
            assert await outbox.list() == []

        backend.run(scenario, durable_hooks=frozenset({"delivered"}))

    def test_mailbox_events_say_what_happened(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            await db.spool.accept(intake(user, id="EVENT", message_id="<m@x>"))
            await append(db, inbox, flags=Flags.SEEN, keywords="k")
            [row, _] = await rows(db, inbox)
            await db.store.set_flags(inbox.id, [row.uid], "add", Flags.DELETED, frozenset())
            await db.store.expunge(inbox.id)
            payloads = [row.payload for row in await db.outbox.lease("me", 10, 60.0, now=NOW)]
            assert [p["event"] for p in payloads] == ["MessageNew", "MessageAppend", "MessageTrash", "MessageExpunge"]
            assert {(p["user"], p["mailbox"]) for p in payloads} == {("alice@example.test", "INBOX")}
            assert [p["uids"] for p in payloads] == [[1], [2], [1], [1]]
            assert (payloads[0]["queue_id"], payloads[0]["message_id"]) == ("EVENT", "<m@x>")
            assert payloads[1]["flags"] == ["\\Seen", "k"]

        backend.run(scenario, durable_hooks=frozenset({"mailbox_event"}))

    def test_flag_events_have_the_names_of_rfc_5423(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            _, inbox = await arrive(db)
            uids = [*await append(db, inbox), *await append(db, inbox, keywords="k")]
            await events(db)
            everything = Flags.SEEN | Flags.DELETED | Flags.FLAGGED
            await db.store.set_flags(inbox.id, uids, "add", everything, frozenset({"k"}))
            assert sorted((e, u, c) for e, _, u, c in await events(db)) == [
                ("FlagsSet", [1], ["\\Flagged", "k"]),
                ("FlagsSet", [2], ["\\Flagged"]),
                ("MessageRead", [1, 2], ["\\Seen"]),
                ("MessageTrash", [1, 2], ["\\Deleted"]),
            ]
            await db.store.set_flags(inbox.id, uids, "set", Flags.SEEN | Flags.DRAFT, frozenset())
            assert sorted((e, u, c) for e, _, u, c in await events(db)) == [
                ("FlagsClear", [1, 2], ["\\Flagged", "\\Deleted", "k"]),
                ("FlagsSet", [1, 2], ["\\Draft"]),
            ]
            await db.store.set_flags(inbox.id, uids, "add", Flags.SEEN, frozenset())
            assert await events(db) == []  # nothing changed

        backend.run(scenario, durable_hooks=frozenset({"mailbox_event"}))

    def test_mailbox_events_name_every_mailbox(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            assert await events(db) == []  # an account comes with its mailboxes
            await db.store.create(user.id, "a/b")
            await db.spool.accept(intake(user, placement=Placement("c/d")))
            assert [(e, m) for e, m, _, _ in await events(db)] == [
                ("MailboxCreate", "a"),
                ("MailboxCreate", "a/b"),
                ("MailboxCreate", "c"),
                ("MailboxCreate", "c/d"),
                ("MessageNew", "c/d"),
            ]
            for subscribed in (True, True, False, False):
                await db.store.subscribe(user.id, "a/b", subscribed)
            await db.store.rename(user.id, "a", "x/y")
            await db.store.delete(user.id, "x/y/b")
            assert [(e, m) for e, m, _, _ in await events(db)] == [
                ("MailboxSubscribe", "a/b"),
                ("MailboxUnSubscribe", "a/b"),
                ("MailboxCreate", "x"),
                ("MailboxRename", "x/y"),
                ("MailboxRename", "x/y/b"),
                ("MailboxDelete", "x/y/b"),
            ]
            there = {info.name for info in await db.store.mailboxes(user.id)}
            await db.directory.delete_user(user.id)
            gone = await events(db)
            assert {m for e, m, _, _ in gone if e == "MailboxDelete"} == there
            assert len(gone) == len(there)

        backend.run(scenario, durable_hooks=frozenset({"mailbox_event"}))

    # ---- traces

    def test_traces_are_found_by_id_message_id_and_addresses(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            steps = ({"at": NOW, "stage": "check", "plugin": "p", "verdict": "accept"},)
            more: dict[str, Any] = {"message_id": "<100%_x@y>", "client": "192.0.2.1", "user": "u@x.test", "trace": steps}
            await db.spool.accept(intake(user, queued=["Far_Away@example.org"], id="ONE", **more))
            await db.spool.accept(intake(user, id="TWO", sender=Address("other", "example.net"), received_at=NOW + 1))
            [one] = await db.traces.find("ONE")
            assert (one.id, one.at, one.origin, one.sender) == ("ONE", NOW, "smtp", "sender@example.net")
            assert (one.message_id, one.client, one.user, one.steps) == ("<100%_x@y>", "192.0.2.1", "u@x.test", list(steps))
            for text in ("<100%_x@y>", "100%_x@y", "sender@example.net", "far_away@example.org"):
                assert [record.id for record in await db.traces.find(text)] == ["ONE"]
            assert [record.id for record in await db.traces.find("Alice@example.test")] == ["TWO", "ONE"]
            assert [record.id for record in await db.traces.find("alice@example.test", limit=1)] == ["TWO"]
            for text in ("lice@example.test", "far%away@example.org", "farxaway@example.org", "nobody@x"):
                assert await db.traces.find(text) == []

        backend.run(scenario)

    def test_text_from_the_wire_is_taken_whatever_it_is(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            odd = "\udc80\x00ü'\"; DROP TABLE messages; --"
            await db.spool.accept(intake(user, message_id=odd, client=odd, user=odd, trace=({"x": odd},), id="ODD"))
            assert len(await rows(db, inbox)) == 1
            [record] = await db.traces.find("ODD")
            assert "DROP TABLE" in record.message_id
            assert (await db.store.changes(inbox.id, ModSeq(0))).rows

        backend.run(scenario)

    # ---- key-value state

    def test_values_are_private_to_a_plugin_and_expire(self, backend: Backend) -> None:
        async def write(db: Database) -> None:
            await db.kv.set("a", "k", b"\x00one", expires=None)
            await db.kv.set("b", "k", b"two", expires=NOW + 10)

        async def read(db: Database) -> None:
            assert await db.kv.get("a", "k", now=NOW + 10**9) == b"\x00one"
            assert await db.kv.get("b", "k", now=NOW + 9) == b"two"
            assert await db.kv.get("b", "k", now=NOW + 10) is None
            assert await db.kv.get("c", "k", now=NOW) is None
            await db.kv.set("a", "k", b"three", expires=None)
            assert await db.kv.get("a", "k", now=NOW) == b"three"
            await db.kv.delete("a", "k")
            await db.kv.delete("a", "k")
            assert await db.kv.get("a", "k", now=NOW) is None
            await db.housekeep(now=NOW + 20)
            assert await db.kv.get("b", "k", now=NOW) is None

        backend.run(write, read)

    def test_notifications_may_come_alone(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            backend.told.noted = 0
            await db.outbox.add([Notification("delivered", {"n": 1}), Notification("bounced", {"n": 2})])
            assert backend.told.noted == 1
            assert [(row.hook, row.payload) for row in await db.outbox.lease("me", 10, 60.0, now=2e9)] == [("delivered", {"n": 1})]

        backend.run(scenario, durable_hooks=frozenset({"delivered"}))
