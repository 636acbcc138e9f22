"""``MailStore`` in memory."""
# SPDX-License-Identifier: Apache-2.0

import time
from collections.abc import Mapping, Sequence

from mta.model.errors import MailboxExists, MailboxNotAllowed, NoSuchMailbox
from mta.model.ids import BlobId, MailboxId, ModSeq, Uid, UserId
from mta.model.mailbox import DELIMITER, MAX_NAME, Appended, Changes, Copied, MailboxInfo, MailboxStatus, NewMessage, Row, Stored
from mta.model.mailbox_events import Kind
from mta.model.mailbox_name import INBOX, normalise_name, parents
from mta.model.message import Flags
from mta.model.search import Backlog
from mta.testing.memory.data import Change, Data, Mailbox, Tombstone, deleted
from mta.testing.memory.extras import MemoryAnnotations, MemoryQuotas, MemorySaveDates, MemorySharing
from mta_hooks.backends.database import DatabaseOptions
from mta_hooks.backends.store import FlagChange


class MemoryStore:
    stable_ids = True

    def __init__(self, data: Data, options: DatabaseOptions) -> None:
        self._data = data
        self._options = options
        self.quotas = MemoryQuotas(data)
        self.sharing = MemorySharing(data, options)
        self.annotations = MemoryAnnotations(data, options)
        self.save_dates = MemorySaveDates(data)

    def _change(self) -> Change:
        return Change(self._data, self._options)

    def _named(self, user: UserId, name: str) -> Mailbox:
        try:
            found = self._data.find(user, normalise_name(name))
        except MailboxNotAllowed as exc:
            raise NoSuchMailbox(name) from exc
        if found is None:
            raise NoSuchMailbox(name)
        return found

    def _info(self, mailbox: Mailbox) -> MailboxInfo:
        subscribed = mailbox.name in self._data.subscriptions.get(mailbox.user, set())
        return MailboxInfo(
            mailbox.id,
            mailbox.user,
            mailbox.name,
            mailbox.uid_validity,
            mailbox.special_use,
            subscribed,
            highest_modseq=ModSeq(mailbox.modseq),
        )

    # ---- mailboxes

    async def mailboxes(self, user: UserId, starts: str = "") -> list[MailboxInfo]:
        found = {m.name: self._info(m) for m in self._data.mailboxes.values() if m.user == user}
        subscribed = self._data.subscriptions.get(user, set())
        for name in subscribed | {parent for child in found for parent in parents(child)}:
            if name not in found:
                found[name] = MailboxInfo(MailboxId(0), user, name, 0, "", name in subscribed, exists=False)
        chosen = [info for info in found.values() if info.name.startswith(starts)]
        return sorted(chosen, key=lambda info: (info.name != INBOX, info.name))

    async def mailbox(self, user: UserId, name: str) -> MailboxInfo:
        return self._info(self._named(user, name))

    async def create(self, user: UserId, name: str, special_use: str = "") -> MailboxInfo:
        name = normalise_name(name)
        if self._data.find(user, name) is not None:
            raise MailboxExists(name)
        with self._change() as change:
            mailbox = self._data.make(user, name, special_use, change)
        return self._info(mailbox)

    async def delete(self, user: UserId, name: str) -> None:
        mailbox = self._named(user, name)
        if mailbox.name == INBOX:
            raise MailboxNotAllowed("INBOX cannot be deleted")
        with self._change() as change:
            self._data.drop(mailbox, change)

    async def rename(self, user: UserId, old: str, new: str) -> None:
        mailbox = self._named(user, old)
        new = normalise_name(new)
        if self._data.find(user, new) is not None:
            raise MailboxExists(new)
        if mailbox.name == INBOX:
            with self._change() as change:
                self._move(change, mailbox, self._data.make(user, new, change=change), list(mailbox.rows.values()))
            return
        below = mailbox.name + DELIMITER
        if new.startswith(below):
            raise MailboxNotAllowed("a mailbox cannot become its own child")
        moving = {mailbox.id: new}
        for child in self._data.mailboxes.values():
            if child.user == user and child.name.startswith(below):
                moving[child.id] = new + child.name[len(mailbox.name) :]
        for target in moving.values():
            if len(target) > MAX_NAME:
                raise MailboxNotAllowed("mailbox name too long")
            if self._data.find(user, normalise_name(target)) is not None:
                raise MailboxExists(target)
        with self._change() as change:
            for parent in parents(new):
                if self._data.find(user, parent) is None:
                    self._data.make(user, parent, change=change)
            for number, target in moving.items():
                moved = self._data.mailboxes[number]
                before, moved.name = moved.name, target
                change.event("MailboxRename", moved, details={"from": before})

    async def subscribe(self, user: UserId, name: str, subscribed: bool) -> None:
        names = self._data.subscriptions.setdefault(user, set())
        name = normalise_name(name)
        if (name in names) == subscribed:
            return
        (names.add if subscribed else names.discard)(name)
        with self._change() as change:
            change.subscribed(user, name, subscribed)
            if (inbox := self._data.find(user, INBOX)) is not None:
                change.mailboxes[inbox.id] = None

    async def status(self, mailbox: MailboxId) -> MailboxStatus:
        box = self._data.get(mailbox)
        rows = box.rows.values()
        return MailboxStatus(
            messages=len(rows),
            unseen=sum(not row.flags & Flags.SEEN for row in rows),
            deleted=sum(deleted(row) for row in rows),
            size=sum(row.size for row in rows),
            deleted_size=sum(row.size for row in rows if deleted(row)),
            recent=sum(row.uid >= box.recent for row in rows),
            uid_next=Uid(box.uid_next),
            uid_validity=box.uid_validity,
            highest_modseq=ModSeq(box.modseq),
        )

    async def claim_recent(self, mailbox: MailboxId) -> Uid:
        box = self._data.get(mailbox)
        first, box.recent = box.recent, box.uid_next
        return Uid(first)

    # ---- messages

    async def changes(self, mailbox: MailboxId, since: ModSeq) -> Changes:
        box = self._data.get(mailbox)
        rows = [row for row in box.rows.values() if row.modseq > since]
        vanished = sorted(uid for uid, stone in box.vanished.items() if stone.modseq > since) if since > 0 else []
        return Changes(box.uid_validity, Uid(box.uid_next), ModSeq(box.modseq), sorted(rows), vanished)

    async def numbers(self, mailbox: MailboxId, uids: Sequence[Uid]) -> tuple[ModSeq, list[int]]:
        box = self._data.get(mailbox)
        wanted = set(uids)
        return ModSeq(box.modseq), [number for number, uid in enumerate(sorted(box.rows), 1) if uid in wanted]

    async def append(self, mailbox: MailboxId, messages: Sequence[NewMessage]) -> list[Appended]:
        box = self._data.get(mailbox)
        self._data.check_room({box.user: sum(message.content.size for message in messages)}, len(messages))
        appended = []
        with self._change() as change:
            modseq = box.next_modseq()
            for message in messages:
                keywords = " ".join(sorted(message.keywords))
                blob = self._data.new_blob(message.content.raw())
                uid = box.put(int(message.flags), keywords, message.date, message.content.size, blob, modseq)
                change.event("MessageAppend", box, [uid], int(message.flags), keywords)
                appended.append(Appended(mailbox, box.uid_validity, uid, modseq))
            change.grown(box.user, sum(message.content.size for message in messages), len(messages))
        return appended

    async def set_flags(
        self,
        mailbox: MailboxId,
        uids: Sequence[Uid],
        change: FlagChange,
        flags: int,
        keywords: frozenset[str],
        unchanged_since: ModSeq | None = None,
    ) -> Stored:
        box = self._data.get(mailbox)
        rows = _rows(box, uids)
        modified = [row.uid for row in rows if unchanged_since is not None and row.modseq > unchanged_since]
        rows = [row for row in rows if row.uid not in set(modified)]
        after = [_flagged(row, change, int(flags), keywords) for row in rows]
        if after == rows:
            return Stored(rows, modified, ModSeq(box.modseq))
        with self._change() as changed:
            modseq = box.next_modseq()
            told: dict[tuple[Kind, Kind], list[Uid]] = {}
            for i, (old, new) in enumerate(zip(rows, after, strict=True)):
                if new != old:
                    after[i] = box.rows[new.uid] = new._replace(modseq=modseq)
                    told.setdefault(((old.flags, old.keywords), (new.flags, new.keywords)), []).append(new.uid)
            changed.flags_changed(box, told)
        return Stored(after, modified, modseq, made=True)

    async def copy(self, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
        box, to = self._data.get(mailbox), self._data.get(target)
        rows = _rows(box, uids)
        self._data.check_room({to.user: sum(row.size for row in rows)}, len(rows))
        with self._change() as change:
            uids_there = self._copy(change, rows, to)
        return Copied(to.uid_validity, [row.uid for row in rows], uids_there, ModSeq(box.modseq))

    async def move(self, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
        box, to = self._data.get(mailbox), self._data.get(target)
        rows = _rows(box, uids)
        if box.user != to.user:
            self._data.check_room({to.user: sum(row.size for row in rows)}, len(rows))
        with self._change() as change:
            uids_there = self._move(change, box, to, rows)
        return Copied(to.uid_validity, [row.uid for row in rows], uids_there, ModSeq(box.modseq))

    async def replace(self, mailbox: MailboxId, uid: Uid, target: MailboxId, message: NewMessage) -> tuple[Appended, ModSeq] | None:
        box, to = self._data.get(mailbox), self._data.get(target)
        rows = _rows(box, [uid])
        if not rows:
            return None
        replaced = rows[0].size if box.user == to.user else 0
        self._data.check_room({to.user: message.content.size - replaced}, int(box.user != to.user))
        with self._change() as change:
            self._bury(change, box, rows, keep=True)
            modseq, keywords = to.next_modseq(), " ".join(sorted(message.keywords))
            blob = self._data.new_blob(message.content.raw())
            made = to.put(int(message.flags), keywords, message.date, message.content.size, blob, modseq)
            change.event("MessageAppend", to, [made], int(message.flags), keywords)
        return Appended(target, to.uid_validity, made, modseq), ModSeq(modseq - 1 if box is to else box.modseq)

    def _copy(self, change: Change, rows: Sequence[Row], to: Mailbox) -> list[Uid]:
        if not rows:
            return []
        modseq = to.next_modseq()
        uids = [to.put(row.flags, row.keywords, row.date, row.size, row.blob, modseq) for row in rows]
        change.event("MessageAppend", to, uids, details={"copied": True})
        return uids

    def _move(self, change: Change, box: Mailbox, to: Mailbox, rows: Sequence[Row]) -> list[Uid]:
        uids = self._copy(change, rows, to)
        self._bury(change, box, rows, keep=False)
        return uids

    def _bury(self, change: Change, box: Mailbox, rows: Sequence[Row], *, keep: bool) -> None:
        if rows:
            modseq = box.next_modseq()
            for row in rows:
                del box.rows[row.uid]
                box.vanished[row.uid] = Tombstone(modseq, row.blob if keep else None, time.time())
            change.event("MessageExpunge", box, [row.uid for row in rows])

    async def expunge(self, mailbox: MailboxId, uids: Sequence[Uid] | None = None) -> tuple[list[Uid], ModSeq]:
        box = self._data.get(mailbox)
        return self._remove(box, [row for row in _rows(box, uids) if deleted(row)])

    async def remove(self, mailbox: MailboxId, uids: Sequence[Uid]) -> tuple[list[Uid], ModSeq]:
        box = self._data.get(mailbox)
        return self._remove(box, _rows(box, uids))

    def _remove(self, box: Mailbox, rows: Sequence[Row]) -> tuple[list[Uid], ModSeq]:
        with self._change() as change:
            self._bury(change, box, rows, keep=True)
        return [row.uid for row in rows], ModSeq(box.modseq)

    # ---- octets

    async def read(self, blob: BlobId, start: int = 0, length: int | None = None) -> bytes:
        return self._data.blobs[blob][start : None if length is None else start + length]

    async def read_many(self, blobs: Sequence[BlobId]) -> list[bytes]:
        return [self._data.blobs[blob] for blob in blobs]

    async def parsed(self, blobs: Sequence[BlobId]) -> list[bytes | None]:
        return [self._data.parsed.get(blob) for blob in blobs]

    async def remember_parsed(self, parsed: Mapping[BlobId, bytes]) -> None:
        self._data.parsed.update({blob: octets for blob, octets in parsed.items() if blob in self._data.blobs})

    # ---- for the search index

    async def backlog(self, after: int, limit: int) -> Backlog:
        newest = max(self._data.blobs, default=0)
        blobs = [blob for blob in sorted(self._data.blobs) if blob > after][:limit]
        held = self._held()
        upto = blobs[-1] if len(blobs) == limit else max(after, newest)
        return Backlog(
            [(b, len(self._data.blobs[b])) for b in blobs if b in held], [b for b in blobs if b not in held], upto, newest
        )

    async def holding(self, blobs: Sequence[BlobId]) -> tuple[list[tuple[BlobId, int]], list[BlobId]]:
        held, there = self._held(), self._data.blobs
        return [(b, len(there[b])) for b in blobs if b in held and b in there], [b for b in blobs if b not in there]

    def _held(self) -> set[BlobId]:
        return {row.blob for mailbox in self._data.mailboxes.values() for row in mailbox.rows.values()}


def _rows(box: Mailbox, uids: Sequence[Uid] | None) -> list[Row]:
    """Those that are there, ascending."""
    return [box.rows[uid] for uid in sorted(box.rows if uids is None else set(uids) & box.rows.keys())]


def _flagged(row: Row, change: FlagChange, flags: int, keywords: frozenset[str]) -> Row:
    before = frozenset(row.keywords.split())
    if change == "set":
        after = keywords
    elif change == "add":
        flags, after = row.flags | flags, before | keywords
    else:
        flags, after = row.flags & ~flags, before - keywords
    return row._replace(flags=flags, keywords=" ".join(sorted(after)))
