"""``MailStore``: mailboxes as such."""
# SPDX-License-Identifier: Apache-2.0

import pytest

from mta.model.errors import MailboxExists, MailboxNotAllowed, NoSuchMailbox
from mta.model.ids import MailboxId, ModSeq
from mta.model.mailbox import MailboxInfo
from mta.testing.conformance.backend import Backend, append, arrive, rows
from mta_hooks.backends import Database


def _names(infos: list[MailboxInfo]) -> list[str]:
    return [info.name for info in infos]


class MailboxesConformance:
    def test_a_new_account_has_the_standard_mailboxes_inbox_first(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            infos = await db.store.mailboxes(user.id)
            assert _names(infos) == ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"]
            assert [info.special_use for info in infos] == ["", "\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash"]
            assert all(info.exists and info.subscribed and info.user == user.id for info in infos)
            assert len({info.uid_validity for info in infos}) == len(infos)
            assert infos[0] == inbox

        backend.run(scenario)

    def test_inbox_is_found_in_any_case_other_names_are_not(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            assert await db.store.mailbox(user.id, "iNbOx") == inbox
            for name in ("sent", "Nowhere", "", "a//b", "a/%"):
                with pytest.raises(NoSuchMailbox):
                    await db.store.mailbox(user.id, name)

        backend.run(scenario)

    def test_create_makes_parents_and_keeps_special_use(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            made = await db.store.create(user.id, "a/b/Ente\u0301e", "\\Flagged")  # decomposed; kept composed
            assert made.name == "a/b/Ent\u00e9e"
            assert made.special_use == "\\Flagged"
            assert await db.store.mailbox(user.id, "a/b/Ent\u00e9e") == made
            assert {"a", "a/b"} <= set(_names(await db.store.mailboxes(user.id)))
            with pytest.raises(MailboxExists):
                await db.store.create(user.id, "a/b")
            with pytest.raises(MailboxExists):
                await db.store.create(user.id, "inbox")
            assert (await db.store.create(user.id, "inbox/x")).name == "INBOX/x"

        backend.run(scenario)

    @pytest.mark.parametrize(
        "name", ["", "/", "a/", "/a", "a//b", "a*", "a%b", "x" * 256, "/".join("abcdefghijklmnopqrstu"), "a\x00b", "a\nb"]
    )
    def test_names_that_no_client_could_use_are_refused(self, backend: Backend, name: str) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            with pytest.raises(MailboxNotAllowed):
                await db.store.create(user.id, name)
            assert len(await db.store.mailboxes(user.id)) == 6

        backend.run(scenario)

    def test_delete_removes_the_messages_and_leaves_children(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            await db.store.create(user.id, "a/b")
            parent = await db.store.mailbox(user.id, "a")
            await append(db, parent)
            await db.store.delete(user.id, "a")
            for call in (db.store.status, lambda m: db.store.changes(m, ModSeq(0)), db.store.expunge):
                with pytest.raises(NoSuchMailbox):
                    await call(parent.id)
            with pytest.raises(NoSuchMailbox):
                await append(db, parent)
            [hole] = [info for info in await db.store.mailboxes(user.id) if info.name == "a"]
            assert not hole.exists
            assert (await db.store.mailbox(user.id, "a/b")).exists
            with pytest.raises(NoSuchMailbox):
                await db.store.delete(user.id, "a")
            with pytest.raises(MailboxNotAllowed):
                await db.store.delete(user.id, "Inbox")

        backend.run(scenario)

    def test_a_name_used_again_has_a_greater_uid_validity(self, backend: Backend) -> None:
        seen: list[int] = []

        async def again(db: Database) -> None:
            user, _ = await arrive(db)
            for _ in range(3):
                seen.append((await db.store.create(user.id, "again")).uid_validity)
                await db.store.delete(user.id, "again")

        backend.run(again, again)
        assert seen == sorted(set(seen))
        assert all(0 < value < 2**32 for value in seen)

    def test_mailbox_ids_are_never_given_twice(self, backend: Backend) -> None:
        seen: list[MailboxId] = []

        async def again(db: Database) -> None:
            user, _ = await arrive(db)
            for _ in range(2):
                seen.append((await db.store.create(user.id, "again")).id)
                await db.store.delete(user.id, "again")

        backend.run(again, again)
        assert len(set(seen)) == 4

    def test_those_that_begin_in_some_way_are_found_alone(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            await db.store.create(user.id, "work/a/b")
            await db.store.create(user.id, "wo_rk")
            await db.store.subscribe(user.id, "work/gone", True)
            await db.store.delete(user.id, "work/a")
            found = await db.store.mailboxes(user.id, "work/")
            assert [(info.name, info.exists) for info in found] == [("work/a", False), ("work/a/b", True), ("work/gone", False)]
            assert _names(await db.store.mailboxes(user.id, "wo_")) == ["wo_rk"]
            assert _names(await db.store.mailboxes(user.id, "I")) == ["INBOX"]
            assert await db.store.mailboxes(user.id, "nothing") == []

        backend.run(scenario)

    def test_rename_takes_children_along_and_keeps_the_messages(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            child = await db.store.create(user.id, "a/b")
            await append(db, child, 2)
            before = await rows(db, child)
            await db.store.create(user.id, "ab")
            await db.store.rename(user.id, "a", "x/y")
            moved = await db.store.mailbox(user.id, "x/y/b")
            assert (moved.id, moved.uid_validity) == (child.id, child.uid_validity)
            assert await rows(db, moved) == before
            names = set(_names(await db.store.mailboxes(user.id)))
            assert {"x", "x/y", "x/y/b", "ab"} <= names
            assert not {"a", "a/b"} & names

        backend.run(scenario)

    def test_rename_refuses_what_cannot_be(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            await db.store.create(user.id, "a/b")
            await db.store.create(user.id, "c/b")
            await db.store.delete(user.id, "c")
            with pytest.raises(NoSuchMailbox):
                await db.store.rename(user.id, "nowhere", "x")
            with pytest.raises(MailboxExists):
                await db.store.rename(user.id, "a", "Sent")
            with pytest.raises(MailboxExists):
                await db.store.rename(user.id, "a", "c")  # its child would meet another
            with pytest.raises(MailboxNotAllowed):
                await db.store.rename(user.id, "a", "a/b/c")
            with pytest.raises(MailboxNotAllowed):
                await db.store.rename(user.id, "a", "x%")
            assert (await db.store.mailbox(user.id, "a/b")).exists

        backend.run(scenario)

    def test_renaming_inbox_moves_its_messages_and_leaves_it_empty(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            uids = await append(db, inbox, 3, keywords="k")
            await db.store.rename(user.id, "INBOX", "old/mail")
            assert await db.store.mailbox(user.id, "INBOX") == inbox
            changes = await db.store.changes(inbox.id, ModSeq(1))
            assert (changes.rows, changes.vanished) == ([], uids)
            assert changes.uid_next == uids[-1] + 1
            moved = await rows(db, await db.store.mailbox(user.id, "old/mail"))
            assert [row.keywords for row in moved] == ["k"] * 3
            assert await append(db, inbox) == [uids[-1] + 1]

        backend.run(scenario)

    def test_subscriptions_live_apart_from_mailboxes(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            await db.store.create(user.id, "a")
            assert not (await db.store.mailbox(user.id, "a")).subscribed
            for name in ("a", "not/there", "a"):
                await db.store.subscribe(user.id, name, True)
            await db.store.delete(user.id, "a")
            shown = {info.name: info for info in await db.store.mailboxes(user.id) if info.name in ("a", "not/there", "not")}
            assert {name: (info.exists, info.subscribed) for name, info in shown.items()} == {
                "a": (False, True),
                "not/there": (False, True),
            }
            await db.store.subscribe(user.id, "not/there", False)
            await db.store.subscribe(user.id, "a", False)
            assert len(await db.store.mailboxes(user.id)) == 6

        backend.run(scenario)

    def test_accounts_do_not_see_each_other(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            alice, inbox = await arrive(db)
            bob, other = await arrive(db, "bob")
            await db.store.create(alice.id, "mine")
            with pytest.raises(NoSuchMailbox):
                await db.store.mailbox(bob.id, "mine")
            await append(db, inbox)
            assert await rows(db, other) == []

        backend.run(scenario)
