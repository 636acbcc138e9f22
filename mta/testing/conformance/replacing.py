"""What IMAP asks of a store beyond ``MailStore``: ``replacing``, ``flagging``, ``numbering``, ``save_dates``, ids that stay (mta_hooks.backends)."""
# SPDX-License-Identifier: Apache-2.0

import time

import pytest

from mta.model.errors import NoSuchMailbox, OverQuota
from mta.model.ids import MailboxId, ModSeq, Uid
from mta.model.mailbox import NewMessage, Regrouped
from mta.model.message import Flags, OctetContent
from mta.testing.conformance.backend import NOW, Backend, append, arrive, deliver, intake, rows
from mta_hooks.backends import Database
from mta_hooks.backends.store import FlagChange

NOBODY: frozenset[str] = frozenset()


def message(octets: bytes = b"new") -> NewMessage:
    return NewMessage(OctetContent(octets), Flags.DRAFT, frozenset({"$x"}), int(NOW))


class ReplacingConformance:
    @pytest.mark.parametrize("folder", ["INBOX", "Drafts"])
    def test_one_message_for_another(self, backend: Backend, folder: str) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            await append(db, inbox, 2)
            target = await db.store.mailbox(user.id, folder)
            before = (await db.store.status(inbox.id)).highest_modseq
            appended, modseq = await db.store.replace(inbox.id, Uid(1), target.id, message())  # type: ignore[attr-defined]
            assert (appended.mailbox, appended.uid_validity) == (target.id, target.uid_validity)
            assert modseq == before + 1
            changes = await db.store.changes(inbox.id, before)
            assert changes.vanished == [1]
            [row] = [row for row in await rows(db, target) if row.uid == appended.uid]
            assert (row.flags, row.keywords, row.size, row.modseq) == (int(Flags.DRAFT), "$x", 3, appended.modseq)
            assert await db.store.read(row.blob) == b"new"

        backend.run(scenario)

    def test_both_or_neither(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            await append(db, inbox, octets=b"12345")
            before = await rows(db, inbox)
            replace = db.store.replace  # type: ignore[attr-defined]
            assert await replace(inbox.id, Uid(7), inbox.id, message()) is None
            with pytest.raises(NoSuchMailbox):
                await replace(inbox.id, Uid(1), MailboxId(10**6), message())
            await db.directory.set_quota(user.id, 6)
            with pytest.raises(OverQuota):
                await replace(inbox.id, Uid(1), inbox.id, message(b"1234567"))
            assert await rows(db, inbox) == before
            await replace(inbox.id, Uid(1), inbox.id, message(b"123456"))  # the old one does not count
            assert [row.size for row in await rows(db, inbox)] == [6]

        backend.run(scenario)


class NumberingConformance:
    def test_numbers_are_those_of_the_whole_mailbox(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            other = await db.store.mailbox(user.id, "Sent")
            await append(db, inbox, 9)
            await append(db, other, 3)
            await db.store.remove(inbox.id, [Uid(1), Uid(4), Uid(5)])
            numbers = db.store.numbers  # type: ignore[attr-defined]
            at = (await db.store.status(inbox.id)).highest_modseq
            assert await numbers(inbox.id, [Uid(2), Uid(6), Uid(9)]) == (at, [1, 3, 6])
            assert await numbers(inbox.id, [Uid(4), Uid(7), Uid(99)]) == (at, [4])  # what is not there has none
            assert await numbers(inbox.id, [Uid(5)]) == (at, [])
            with pytest.raises(NoSuchMailbox):
                await numbers(MailboxId(10**6), [Uid(1)])

        backend.run(scenario)


class FlaggingConformance:
    SEEN, DELETED, DRAFT = int(Flags.SEEN), int(Flags.DELETED), int(Flags.DRAFT)

    def test_it_is_what_set_flags_does(self, backend: Backend) -> None:
        """A bit in a range, a bit in a list, keywords, several at once: by both ways the mailbox looks the same."""
        steps: list[tuple[FlagChange, int, set[str], list[int], bool]] = [
            ("add", self.DELETED, set(), [1, 2, 3, 4], True),
            ("add", self.SEEN, set(), [2, 4, 6], False),
            ("remove", self.DELETED, set(), [2, 3], True),
            ("add", self.DRAFT, {"k"}, [1, 2, 3], True),
            ("set", self.SEEN, set(), [1, 2, 3, 4, 5, 6], True),
            ("remove", self.SEEN, {"none"}, [5], True),
        ]

        async def scenario(db: Database) -> None:
            user, one = await arrive(db)
            other = await db.store.mailbox(user.id, "Sent")
            for box in (one, other):
                await append(db, box, 6)
            for change, flags, words, uids, whole in steps:
                named = [Uid(uid) for uid in uids]
                await db.store.set_flags(other.id, named, change, flags, frozenset(words))
                known = {row.uid: row for row in await rows(db, one)}
                after = {row.uid: (row.flags, row.keywords) for row in await rows(db, other)}
                kinds = {(row.flags, row.keywords): after[row.uid] for row in map(known.__getitem__, named)}
                groups = [
                    Regrouped(old, new, members, sum(known[uid].size for uid in members))
                    for old, new in kinds.items()
                    if old != new and (members := [u for u in named if (known[u].flags, known[u].keywords) == old])
                ]
                at = (await db.store.status(one.id)).highest_modseq
                span = (named[0], named[-1]) if whole else None
                modseq = await db.store.regroup(one.id, at, groups, span)  # type: ignore[attr-defined]
                assert modseq == at + 1
                changes = await db.store.changes(one.id, at)
                assert [row.uid for row in changes.rows] == sorted(uid for group in groups for uid in group.uids)
                assert {row.uid: (row.flags, row.keywords) for row in await rows(db, one)} == after
                here, there = await db.store.status(one.id), await db.store.status(other.id)
                assert (here.unseen, here.deleted, here.deleted_size) == (there.unseen, there.deleted, there.deleted_size)
            await db.verify(lambda _done, _all: None)

        backend.run(scenario)

    def test_what_changed_meanwhile_is_left_alone(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            _, inbox = await arrive(db)
            await append(db, inbox, 2)
            at = (await db.store.status(inbox.id)).highest_modseq
            await db.store.set_flags(inbox.id, [Uid(2)], "add", self.SEEN, frozenset())
            before = await rows(db, inbox)
            group = Regrouped((0, ""), (self.DRAFT, ""), [Uid(1), Uid(2)], 0)
            assert await db.store.regroup(inbox.id, at, [group], (Uid(1), Uid(2))) is None  # type: ignore[attr-defined]
            assert await rows(db, inbox) == before
            with pytest.raises(NoSuchMailbox):
                await db.store.regroup(MailboxId(10**6), at, [group], None)  # type: ignore[attr-defined]

        backend.run(scenario)

    def test_thousands_at_once(self, backend: Backend) -> None:
        """Whatever way their modseqs are kept: they are told, compared and outlived as if each had its own."""

        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            many = 1100
            await db.store.append(inbox.id, [message()] * many)
            uids = [Uid(uid) for uid in range(1, many + 1)]
            kind, start = (int(Flags.DRAFT), "$x"), (await db.store.status(inbox.id)).highest_modseq

            async def regroup(new: int, named: list[Uid]) -> ModSeq:
                nonlocal kind
                at = (await db.store.status(inbox.id)).highest_modseq
                group = Regrouped(kind, (new, "$x"), named, 0)
                modseq: ModSeq = await db.store.regroup(inbox.id, at, [group], (named[0], named[-1]))  # type: ignore[attr-defined]
                kind = (new, "$x")
                return modseq

            first = await regroup(self.SEEN, uids)
            assert {(row.flags, row.modseq) for row in await rows(db, inbox)} == {(self.SEEN, first)}
            changes = await db.store.changes(inbox.id, start)
            assert [(row.uid, row.modseq) for row in changes.rows] == [(uid, first) for uid in uids]
            assert (await db.store.changes(inbox.id, first)).rows == []
            stored = await db.store.set_flags(inbox.id, [Uid(5)], "add", self.DRAFT, NOBODY, start)
            assert (stored.rows, stored.modified) == ([], [5])
            one = await db.store.set_flags(inbox.id, [Uid(5)], "add", self.SEEN, NOBODY, first)
            assert (one.modified, [row.modseq for row in one.rows]) == ([], [first])
            await db.store.remove(inbox.id, uids[1050:])
            last = await regroup(self.DRAFT, uids[:1050])
            assert {row.modseq for row in await rows(db, inbox)} == {last}
            one = await db.store.set_flags(inbox.id, [Uid(9)], "add", self.SEEN, NOBODY, last)
            changes = await db.store.changes(inbox.id, first)
            assert {row.uid: row.modseq for row in changes.rows} == dict.fromkeys(uids[:1050], last) | {9: one.modseq}
            assert changes.vanished == uids[1050:]
            assert [(row.uid, row.flags) for row in (await db.store.changes(inbox.id, last)).rows] == [(9, self.DRAFT | self.SEEN)]
            sent = await db.store.mailbox(user.id, "Sent")
            copied = await db.store.copy(inbox.id, [Uid(1)], sent.id)
            assert [row.modseq for row in await rows(db, sent)] == [(await db.store.status(sent.id)).highest_modseq]
            assert copied.target == [1]

        backend.run(scenario)

    @pytest.mark.parametrize("span", [(Uid(1), Uid(3)), None])
    def test_a_caller_that_is_wrong_changes_nothing(self, backend: Backend, span: tuple[Uid, Uid] | None) -> None:
        async def scenario(db: Database) -> None:
            _, inbox = await arrive(db)
            await append(db, inbox, 2)
            before, at = await rows(db, inbox), (await db.store.status(inbox.id)).highest_modseq
            group = Regrouped((0, ""), (self.DRAFT, ""), [Uid(1), Uid(2), Uid(3)], 0)  # there is no third
            assert await db.store.regroup(inbox.id, at, [group], span) is None  # type: ignore[attr-defined]
            assert await rows(db, inbox) == before
            assert (await db.store.status(inbox.id)).highest_modseq == at

        backend.run(scenario)


class StableIdsConformance:
    def test_a_blob_keeps_its_id_in_copy_and_move(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            assert db.store.stable_ids is True  # type: ignore[attr-defined]
            user, inbox = await arrive(db)
            await append(db, inbox)
            sent = await db.store.mailbox(user.id, "Sent")
            [blob] = [row.blob for row in await rows(db, inbox)]
            await db.store.copy(inbox.id, [Uid(1)], sent.id)
            await db.store.move(inbox.id, [Uid(1)], sent.id)
            await db.store.rename(user.id, "Sent", "Gone")
            assert [row.blob for row in await rows(db, sent)] == [blob, blob]
            assert (await db.store.mailbox(user.id, "Gone")).id == sent.id

        backend.run(scenario)


class SaveDatesConformance:
    def test_the_moment_at_which_it_came_here(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            saved = db.store.save_dates.saved  # type: ignore[attr-defined]
            user, inbox = await arrive(db)
            start = int(time.time())
            await append(db, inbox, 2)
            await deliver(db, intake(user))
            sent = await db.store.mailbox(user.id, "Sent")
            await db.store.copy(inbox.id, [Uid(1)], sent.id)
            await db.store.move(inbox.id, [Uid(2)], sent.id)
            here, there = await saved(inbox.id, [Uid(1), Uid(2), Uid(3)]), await saved(sent.id, [Uid(1), Uid(2)])
            assert (here.keys(), there.keys()) == ({1, 3}, {1, 2})
            assert all(start <= at <= time.time() for at in (*here.values(), *there.values()))

        backend.run(scenario)
