"""``MailStore``: messages, uids, modseqs, flags, copy and move, octets."""
# SPDX-License-Identifier: Apache-2.0

import pytest

from mta.model.errors import NoSuchMailbox, OverQuota
from mta.model.ids import BlobId, MailboxId, ModSeq, Uid
from mta.model.mailbox import Changes, NewMessage
from mta.model.message import Flags, OctetContent
from mta.testing.conformance.backend import NOW, Backend, append, arrive, deliver, intake, rows
from mta_hooks.backends import Database

SEEN, ANSWERED, FLAGGED, DELETED = Flags.SEEN, Flags.ANSWERED, Flags.FLAGGED, Flags.DELETED
NO_KEYWORDS: frozenset[str] = frozenset()


class Replica:
    """A mailbox rebuilt from ``changes`` alone, as a client with QRESYNC or a view does."""

    def __init__(self, mailbox: MailboxId) -> None:
        self.mailbox = mailbox
        self.modseq = ModSeq(0)
        self.rows: dict[Uid, tuple[int, str]] = {}

    async def follow(self, database: Database) -> Changes:
        changes = await database.store.changes(self.mailbox, self.modseq)
        assert changes.highest_modseq >= self.modseq
        assert [row.uid for row in changes.rows] == sorted({row.uid for row in changes.rows})
        assert changes.vanished == sorted(set(changes.vanished))
        assert all(self.modseq < row.modseq <= changes.highest_modseq for row in changes.rows)
        assert all(row.uid < changes.uid_next for row in changes.rows)
        for uid in changes.vanished:
            self.rows.pop(uid, None)
        self.rows.update({row.uid: (row.flags, row.keywords) for row in changes.rows})
        self.modseq = changes.highest_modseq
        return changes


class MailStoreConformance:
    # ---- uids and modseqs

    def test_append_gives_growing_uids_and_keeps_what_was_given(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            _, inbox = await arrive(db)
            messages = [NewMessage(OctetContent(b"m%d\r\n" % n), SEEN | FLAGGED, frozenset({"b", "a"}), 1000 + n) for n in range(3)]
            appended = await db.store.append(inbox.id, messages)
            assert [a.uid for a in appended] == [1, 2, 3]
            assert {(a.mailbox, a.uid_validity) for a in appended} == {(inbox.id, inbox.uid_validity)}
            found = await rows(db, inbox)
            assert [(r.uid, r.flags, r.keywords, r.date, r.size) for r in found] == [
                (n + 1, 5, "a b", 1000 + n, 4) for n in range(3)
            ]
            assert await db.store.read_many([r.blob for r in found]) == [b"m0\r\n", b"m1\r\n", b"m2\r\n"]
            assert backend.told.mailboxes == [inbox.id]

        backend.run(scenario)

    def test_a_uid_is_never_given_twice(self, backend: Backend) -> None:
        given: list[Uid] = []

        async def first(db: Database) -> None:
            _, inbox = await arrive(db)
            given.extend(await append(db, inbox, 3))
            await db.store.remove(inbox.id, given[-1:])  # the highest goes

        async def second(db: Database) -> None:
            _, inbox = await arrive(db)
            given.extend(await append(db, inbox, 1))
            await db.store.remove(inbox.id, [row.uid for row in await rows(db, inbox)])  # all go

        async def third(db: Database) -> None:
            user, inbox = await arrive(db)
            await deliver(db, intake(user))
            given.extend(row.uid for row in await rows(db, inbox))

        backend.run(first, second, third)
        assert given == [1, 2, 3, 4, 5]

    def test_every_change_takes_a_greater_modseq(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            sent = await db.store.mailbox(user.id, "Sent")
            seen = [(await db.store.status(inbox.id)).highest_modseq]
            await append(db, inbox, 2)
            for step in (
                lambda: append(db, inbox, 1),
                lambda: db.store.set_flags(inbox.id, [Uid(1)], "add", SEEN, NO_KEYWORDS),
                lambda: db.store.set_flags(inbox.id, [Uid(1)], "add", 0, frozenset({"k"})),
                lambda: deliver(db, intake(user)),
                lambda: db.store.copy(inbox.id, [Uid(1)], inbox.id),
                lambda: db.store.move(inbox.id, [Uid(1)], sent.id),
                lambda: db.store.remove(inbox.id, [Uid(2)]),
            ):
                await step()
                seen.append((await db.store.status(inbox.id)).highest_modseq)
            assert seen == sorted(set(seen))

        backend.run(scenario)

    def test_changes_rebuild_the_mailbox_from_any_point(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            sent = await db.store.mailbox(user.id, "Sent")
            replicas = [Replica(inbox.id)]

            async def check() -> None:
                replica = Replica(inbox.id)  # one more starts at each point
                await replica.follow(db)
                for other in replicas:
                    await other.follow(db)
                    assert other.rows == replica.rows
                    assert other.modseq == replica.modseq
                replicas.append(replica)

            await check()
            await append(db, inbox, 5)
            await check()
            await db.store.set_flags(inbox.id, [Uid(2), Uid(3)], "set", SEEN | DELETED, frozenset({"k"}))
            await check()
            await db.store.expunge(inbox.id, [Uid(2), Uid(5)])
            await check()
            await db.store.move(inbox.id, [Uid(1)], sent.id)
            await append(db, inbox, 1)
            await check()
            await db.store.expunge(inbox.id)
            await check()
            assert sorted(replicas[0].rows) == [4, 5, 6]

        backend.run(scenario)

    def test_changes_say_what_vanished_and_nothing_else(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            _, inbox = await arrive(db)
            await append(db, inbox, 4)
            before = (await db.store.status(inbox.id)).highest_modseq
            uids, modseq = await db.store.remove(inbox.id, [Uid(3), Uid(1), Uid(99)])
            assert uids == [1, 3]
            assert modseq > before
            changes = await db.store.changes(inbox.id, before)
            assert (changes.rows, changes.vanished, changes.highest_modseq) == ([], [1, 3], modseq)
            assert (await db.store.changes(inbox.id, modseq)).vanished == []
            first = await db.store.changes(inbox.id, ModSeq(0))
            assert ([row.uid for row in first.rows], first.vanished) == ([2, 4], [])

        backend.run(scenario)

    def test_big_answers_are_as_right_as_small_ones(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            _, inbox = await arrive(db)
            message = NewMessage(OctetContent(b"x\r\n"), Flags(0), NO_KEYWORDS, int(NOW))
            await db.store.append(inbox.id, [message] * 750)
            for count in (750, 1500):  # a copy is cheaper where a message is a file
                await db.store.copy(inbox.id, [Uid(uid) for uid in range(1, count + 1)], inbox.id)
            found = await db.store.changes(inbox.id, ModSeq(0))
            assert [row.uid for row in found.rows] == list(range(1, 3001))
            changed = await db.store.set_flags(inbox.id, [row.uid for row in found.rows], "add", SEEN, NO_KEYWORDS)
            assert len(changed.rows) == 3000
            since = await db.store.changes(inbox.id, found.highest_modseq)
            assert [(row.uid, row.flags) for row in since.rows] == [(uid, 1) for uid in range(1, 3001)]
            assert len(await db.store.read_many([row.blob for row in since.rows])) == 3000
            assert len((await db.store.remove(inbox.id, [Uid(uid) for uid in range(1, 2001)]))[0]) == 2000
            assert len((await db.store.changes(inbox.id, since.highest_modseq)).vanished) == 2000

        backend.run(scenario)

    # ---- flags

    def test_flags_are_set_added_and_removed(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            _, inbox = await arrive(db)
            await append(db, inbox, 2, flags=SEEN, keywords="x")
            store = db.store
            stored = await store.set_flags(inbox.id, [Uid(2), Uid(7), Uid(1)], "add", FLAGGED, frozenset({"a"}))
            assert [(r.uid, r.flags, r.keywords) for r in stored.rows] == [(1, 5, "a x"), (2, 5, "a x")]
            assert {r.modseq for r in stored.rows} == {stored.modseq}
            stored = await store.set_flags(inbox.id, [Uid(1)], "remove", SEEN | DELETED, frozenset({"x", "none"}))
            assert [(r.flags, r.keywords) for r in stored.rows] == [(4, "a")]
            stored = await store.set_flags(inbox.id, [Uid(1)], "set", ANSWERED, frozenset({"z", "y"}))
            assert [(r.flags, r.keywords) for r in stored.rows] == [(2, "y z")]
            assert stored.rows == [(await rows(db, inbox))[0]]

        backend.run(scenario)

    def test_a_store_that_changes_nothing_takes_no_modseq(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            _, inbox = await arrive(db)
            await append(db, inbox, 1, flags=SEEN)
            before = await rows(db, inbox)
            backend.told.mailboxes.clear()
            stored = await db.store.set_flags(inbox.id, [Uid(1)], "add", SEEN, NO_KEYWORDS)
            assert (stored.rows, stored.modified, stored.modseq) == (before, [], before[0].modseq)
            assert (await db.store.status(inbox.id)).highest_modseq == before[0].modseq
            assert backend.told.mailboxes == []

        backend.run(scenario)

    def test_unchanged_since_spares_what_somebody_changed(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            _, inbox = await arrive(db)
            await append(db, inbox, 3)
            known = (await db.store.status(inbox.id)).highest_modseq
            await db.store.set_flags(inbox.id, [Uid(2)], "add", FLAGGED, NO_KEYWORDS)
            stored = await db.store.set_flags(inbox.id, [Uid(1), Uid(2), Uid(3)], "add", DELETED, NO_KEYWORDS, known)
            assert stored.modified == [2]
            assert [row.uid for row in stored.rows] == [1, 3]
            assert [row.flags for row in await rows(db, inbox)] == [8, 4, 8]
            stored = await db.store.set_flags(inbox.id, [Uid(1)], "add", SEEN, NO_KEYWORDS, ModSeq(0))
            assert (stored.rows, stored.modified) == ([], [1])

        backend.run(scenario)

    def test_status_counts(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            _, inbox = await arrive(db)
            await append(db, inbox, 2)
            await append(db, inbox, 1, flags=SEEN, octets=b"12345")
            await append(db, inbox, 1, flags=SEEN | DELETED, octets=b"1234567")
            status = await db.store.status(inbox.id)
            assert (status.messages, status.unseen, status.deleted, status.size, status.deleted_size) == (4, 2, 1, 18, 7)
            assert (status.uid_next, status.uid_validity, status.recent) == (5, inbox.uid_validity, 4)
            await db.store.set_flags(inbox.id, [Uid(1), Uid(3)], "set", DELETED, NO_KEYWORDS)
            status = await db.store.status(inbox.id)
            assert (status.unseen, status.deleted, status.deleted_size) == (3, 3, 15)
            await db.store.expunge(inbox.id)
            status = await db.store.status(inbox.id)
            assert (status.messages, status.unseen, status.deleted, status.size, status.deleted_size) == (1, 1, 0, 3, 0)

        backend.run(scenario)

    def test_recent_is_claimed_once(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            _, inbox = await arrive(db)
            await append(db, inbox, 2)
            assert await db.store.claim_recent(inbox.id) == 1
            assert (await db.store.status(inbox.id)).recent == 0
            assert await db.store.claim_recent(inbox.id) == 3
            await append(db, inbox, 1)
            assert (await db.store.status(inbox.id)).recent == 1
            assert await db.store.claim_recent(inbox.id) == 3
            with pytest.raises(NoSuchMailbox):
                await db.store.claim_recent(MailboxId(10**9))

        backend.run(scenario)

    # ---- expunge

    def test_expunge_takes_deleted_ones_of_those_named(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            _, inbox = await arrive(db)
            await append(db, inbox, 4)
            await db.store.set_flags(inbox.id, [Uid(1), Uid(2), Uid(4)], "add", DELETED, NO_KEYWORDS)
            assert (await db.store.expunge(inbox.id, [Uid(2), Uid(3), Uid(9)]))[0] == [2]
            uids, modseq = await db.store.expunge(inbox.id)
            assert uids == [1, 4]
            assert await db.store.expunge(inbox.id) == ([], modseq)
            assert [row.uid for row in await rows(db, inbox)] == [3]

        backend.run(scenario)

    # ---- copy and move

    def test_copy_keeps_flags_dates_and_octets(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            sent = await db.store.mailbox(user.id, "Sent")
            await append(db, sent, 2)
            await append(db, inbox, 3, flags=SEEN, keywords="k", octets=b"octets")
            copied = await db.store.copy(inbox.id, [Uid(3), Uid(1), Uid(8)], sent.id)
            assert (copied.uid_validity, copied.source, copied.target) == (sent.uid_validity, [1, 3], [3, 4])
            source, target = await rows(db, inbox), (await rows(db, sent))[2:]
            assert [r[2:6] for r in target] == [source[0][2:6], source[2][2:6]]
            assert await db.store.read(target[0].blob) == b"octets"
            empty = await db.store.copy(inbox.id, [Uid(77)], sent.id)
            assert (empty.source, empty.target) == ([], [])

        backend.run(scenario)

    def test_copy_into_itself_gives_new_uids(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            _, inbox = await arrive(db)
            await append(db, inbox, 2)
            copied = await db.store.copy(inbox.id, [Uid(1), Uid(2)], inbox.id)
            assert copied.target == [3, 4]
            assert [row.uid for row in await rows(db, inbox)] == [1, 2, 3, 4]
            moved = await db.store.move(inbox.id, [Uid(1)], inbox.id)
            assert (moved.source, moved.target) == ([1], [5])
            assert [row.uid for row in await rows(db, inbox)] == [2, 3, 4, 5]

        backend.run(scenario)

    def test_move_is_one_step(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            trash = await db.store.mailbox(user.id, "Trash")
            await append(db, inbox, 3, keywords="k")
            before = (await db.store.status(inbox.id)).highest_modseq
            backend.told.mailboxes.clear()
            moved = await db.store.move(inbox.id, [Uid(3), Uid(1)], trash.id)
            assert (moved.source, moved.target, moved.uid_validity) == ([1, 3], [1, 2], trash.uid_validity)
            changes = await db.store.changes(inbox.id, before)
            assert (changes.vanished, changes.highest_modseq) == ([1, 3], moved.modseq)
            assert [row.keywords for row in await rows(db, trash)] == ["k", "k"]
            assert set(backend.told.mailboxes) == {inbox.id, trash.id}
            with pytest.raises(NoSuchMailbox):
                await db.store.move(inbox.id, [Uid(2)], MailboxId(10**9))
            assert [row.uid for row in await rows(db, inbox)] == [2]

        backend.run(scenario)

    # ---- quota

    def test_quota_refuses_the_whole_call(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            await db.directory.set_quota(user.id, 100)
            message = NewMessage(OctetContent(b"x" * 40), Flags(0), NO_KEYWORDS, int(NOW))
            await db.store.append(inbox.id, [message])
            with pytest.raises(OverQuota):
                await db.store.append(inbox.id, [message, message])
            assert [row.uid for row in await rows(db, inbox)] == [1]
            await db.store.copy(inbox.id, [Uid(1)], inbox.id)
            with pytest.raises(OverQuota):
                await db.store.copy(inbox.id, [Uid(1)], inbox.id)
            sent = await db.store.mailbox(user.id, "Sent")
            await db.store.move(inbox.id, [Uid(1)], sent.id)  # no more octets than before
            [found] = await db.directory.users()
            assert (found.quota, found.used) == (100, 80)
            await db.store.remove(sent.id, [Uid(1)])
            await db.store.append(inbox.id, [message])

        backend.run(scenario)

    # ---- octets

    @pytest.mark.parametrize("size", [0, 1, 5000, 300_000, 3_000_000])
    def test_octets_come_back_whole_and_in_parts(self, backend: Backend, size: int) -> None:
        octets = bytes(i * 7 % 251 for i in range(min(size, 5021))) * (size // 5021 + 1)
        octets = octets[:size]

        async def write(db: Database) -> None:
            user, inbox = await arrive(db)
            await append(db, inbox, 1, octets=octets)
            await deliver(db, intake(user, octets=octets))

        async def read(db: Database) -> None:
            _, inbox = await arrive(db)
            for row in await rows(db, inbox):
                assert row.size == size
                assert await db.store.read(row.blob) == octets
                assert await db.store.read_many([row.blob, row.blob]) == [octets, octets]
                for start, length in ((0, 10), (3, 0), (size // 2, 17), (size // 2, None), (size + 5, 3), (max(0, size - 3), 100)):
                    end = None if length is None else start + length
                    assert await db.store.read(row.blob, start, length) == octets[start:end]

        backend.run(write, read)

    def test_an_unknown_blob_is_a_key_error(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            with pytest.raises(KeyError):
                await db.store.read(BlobId(10**9))
            with pytest.raises(KeyError):
                await db.store.read_many([BlobId(10**9)])
            assert await db.store.read_many([]) == []

        backend.run(scenario)

    def test_parsed_forms_are_kept_beside_the_octets(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            _, inbox = await arrive(db)
            await append(db, inbox, 2)
            first, second = [row.blob for row in await rows(db, inbox)]
            await db.store.remember_parsed({second: b"one"})
            await db.store.remember_parsed({second: b"two", BlobId(10**9): b"nobody's"})
            assert await db.store.parsed([second, first, BlobId(10**9)]) == [b"two", None, None]
            await db.store.remember_parsed({})
            assert await db.store.parsed([]) == []

        backend.run(scenario)

    def test_what_one_process_wrote_the_other_reads(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            other = await backend.open()
            try:
                for _ in range(3):
                    await deliver(db, intake(user))
                    await deliver(other, intake(user))
                    assert await rows(db, inbox) == await rows(other, inbox)
                await other.store.rename(user.id, "Sent", "Gone")
                with pytest.raises(NoSuchMailbox):
                    await db.store.mailbox(user.id, "Sent")
            finally:
                await other.close()
            assert [row.uid for row in await rows(db, inbox)] == [1, 2, 3, 4, 5, 6]

        backend.run(scenario)
