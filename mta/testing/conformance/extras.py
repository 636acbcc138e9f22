"""Quotas with messages, access lists, annotations: ``mta_hooks.backends.extras``."""
# SPDX-License-Identifier: Apache-2.0

import pytest

from mta.model.errors import NoSuchMailbox, NoSuchUser, OverQuota
from mta.model.ids import MailboxId, UserId
from mta.testing.conformance.backend import Backend, append, arrive, deliver, intake, rows
from mta_hooks.backends import Database, extras_of

WHO = ("bob@example.test", "authenticated", "anyone")


class QuotasConformance:
    def test_usage_counts_all_mailboxes(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            quotas = extras_of(db.store).quotas
            assert quotas is not None
            user, inbox = await arrive(db)
            await append(db, inbox, 2, octets=b"12345")
            await append(db, await db.store.mailbox(user.id, "Sent"), octets=b"1")
            usage = await quotas.usage(user.id)
            assert (usage.octets, usage.octets_limit, usage.messages, usage.messages_limit) == (11, 0, 3, 0)
            assert not usage.limited
            await quotas.set_message_limit(user.id, 4)
            await db.directory.set_quota(user.id, 100)
            usage = await quotas.usage(user.id)
            assert (usage.octets_limit, usage.messages_limit, usage.limited) == (100, 4, True)
            with pytest.raises(NoSuchUser):
                await quotas.usage(UserId(10**6))
            with pytest.raises(NoSuchUser):
                await quotas.set_message_limit(UserId(10**6), 1)

        backend.run(scenario)

    def test_a_limit_of_messages_holds_for_append_copy_and_delivery(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            quotas = extras_of(db.store).quotas
            assert quotas is not None
            user, inbox = await arrive(db)
            sent = await db.store.mailbox(user.id, "Sent")
            await quotas.set_message_limit(user.id, 2)
            uids = await append(db, inbox, 2)
            with pytest.raises(OverQuota):
                await append(db, inbox)
            with pytest.raises(OverQuota):
                await db.store.copy(inbox.id, uids[:1], sent.id)
            with pytest.raises(OverQuota) as caught:
                await deliver(db, intake(user))
            assert caught.value.users == (user.id,)
            await db.store.move(inbox.id, uids[:1], sent.id)  # takes no room
            await db.store.remove(sent.id, [(await rows(db, sent))[0].uid])
            await deliver(db, intake(user))
            assert (await quotas.usage(user.id)).messages == 2

        backend.run(scenario)

    def test_a_level_is_told_once_when_it_is_reached(self, backend: Backend) -> None:
        told: list[tuple[UserId, int]] = []

        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            await db.directory.set_quota(user.id, 100)
            for size in (49, 1, 20, 20, 1):
                await append(db, inbox, octets=b"x" * size)
            assert told == [(user.id, 50), (user.id, 90)]
            told.clear()
            _, other = await arrive(db, "bob")
            await append(db, other, octets=b"x" * 1000)  # without a quota there are no levels
            assert told == []

        backend.run(scenario, quota_levels=(50, 90), quota_reached=lambda user, level: told.append((user, level)))


class SharingConformance:
    def test_lists_are_kept_found_and_told(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            sharing = extras_of(db.store).sharing
            assert sharing is not None
            alice, inbox = await arrive(db)
            bob, _ = await arrive(db, "bob")
            assert await sharing.account("ALICE@example.test") == (alice.id, "alice@example.test")
            assert await sharing.account("nobody@example.test") is None
            assert await sharing.shared_with(WHO, but=bob.id) == []
            backend.told.mailboxes.clear()
            await sharing.set_entry(inbox.id, "bob@example.test", "lr")
            assert backend.told.mailboxes == [inbox.id]
            await sharing.set_entry(inbox.id, "-anyone", "w")
            sent = await db.store.mailbox(alice.id, "Sent")
            await sharing.set_entry(sent.id, "anyone", "l")
            found = await sharing.shared_with(WHO, but=bob.id)
            assert [(one.owner, one.mailbox.id) for one in found] == [
                ("alice@example.test", inbox.id),
                ("alice@example.test", sent.id),
            ]
            assert found[0].entries == await sharing.entries(inbox.id) == {"bob@example.test": "lr", "-anyone": "w"}
            assert await sharing.shared_with(WHO, but=alice.id) == []
            await sharing.set_entry(inbox.id, "bob@example.test", "")
            assert await sharing.entries(inbox.id) == {"-anyone": "w"}
            with pytest.raises(NoSuchMailbox):
                await sharing.set_entry(MailboxId(10**6), "anyone", "l")

        backend.run(scenario)

    def test_a_mailbox_made_below_begins_with_the_list_above(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            sharing = extras_of(db.store).sharing
            assert sharing is not None
            user, _ = await arrive(db)
            top = await db.store.create(user.id, "work")
            await sharing.set_entry(top.id, "anyone", "lr")
            below = await db.store.create(user.id, "work/a/b")
            assert await sharing.entries(below.id) == {"anyone": "lr"}
            await db.store.rename(user.id, "work", "play")
            assert await sharing.entries((await db.store.mailbox(user.id, "play/a")).id) == {"anyone": "lr"}
            await db.store.delete(user.id, "play/a/b")
            assert await sharing.entries(below.id) == {}

        backend.run(scenario)

    def test_a_new_account_of_an_old_name_inherits_nothing(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            sharing = extras_of(db.store).sharing
            assert sharing is not None
            _, inbox = await arrive(db)
            bob, _ = await arrive(db, "bob")
            await sharing.set_entry(inbox.id, "bob@example.test", "lr")
            await sharing.set_entry(inbox.id, "-bob@example.test", "r")
            await db.directory.delete_user(bob.id)
            await arrive(db, "bob")
            assert await sharing.entries(inbox.id) == {}

        backend.run(scenario)


class AnnotationsConformance:
    def test_values_are_apart_by_mailbox_and_account(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            notes = extras_of(db.store).annotations
            assert notes is not None
            user, inbox = await arrive(db)
            assert await notes.annotate(inbox.id, None, {"/comment": b"all\x00\xff", "/x": b""}, most=10)
            assert await notes.annotate(inbox.id, user.id, {"/comment": b"mine"}, most=10)
            assert await notes.annotate(None, user.id, {"/comment": b"server"}, most=10)
            assert await notes.annotations(inbox.id, None) == {"/comment": b"all\x00\xff", "/x": b""}
            assert await notes.annotations(inbox.id, user.id) == {"/comment": b"mine"}
            assert await notes.annotations(None, user.id) == {"/comment": b"server"}
            assert await notes.annotations(None, None) == {}
            with pytest.raises(NoSuchMailbox):
                await notes.annotate(MailboxId(10**6), None, {"/x": b"y"}, most=10)

        backend.run(scenario)

    def test_all_or_none_and_never_too_many(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            notes = extras_of(db.store).annotations
            assert notes is not None
            user, inbox = await arrive(db)
            assert await notes.annotate(inbox.id, None, {"/a": b"1", "/b": b"2"}, most=2)
            assert not await notes.annotate(inbox.id, None, {"/a": b"9", "/c": b"3"}, most=2)
            assert await notes.annotations(inbox.id, None) == {"/a": b"1", "/b": b"2"}
            assert await notes.annotate(inbox.id, None, {"/a": None, "/c": b"3", "/never": None}, most=2)
            assert await notes.annotations(inbox.id, None) == {"/b": b"2", "/c": b"3"}
            made = await db.store.create(user.id, "gone")
            assert await notes.annotate(made.id, None, {"/a": b"1"}, most=2)
            await db.store.delete(user.id, "gone")
            assert await notes.annotations(made.id, None) == {}

        backend.run(scenario)
