"""One mailbox as all sessions of this process see it: columns, kept current through ``store.changes`` (design: docs/decisions).

A view is born with counts only (``store.status``), which is all that SELECT, NOOP and IDLE on new mail need. Its columns are read
at the first command that looks at messages, or when flags changed or messages went under a session's eyes.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Container, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mta.imapd.columns import Columns, FlagTable
from mta.model.errors import NoSuchMailbox
from mta.model.ids import BlobId, MailboxId, ModSeq, Uid
from mta.model.mailbox import Changes, MailboxStatus, Regrouped, Row, Stored
from mta.model.message import Flags
from mta_hooks.backends import MailStore

# As int: "&" with a member of the enum takes a microsecond.
_SEEN = int(Flags.SEEN)

if TYPE_CHECKING:
    from mta.imapd.selected import Selected

_SLICE = 5000
"""Rows taken over between two looks at the other sessions; about 5 ms."""
_NEAR = 500
_LOG_ENTRIES = 2000
_LOG_UIDS = 50_000


class View:
    """Shared by the ``Selected`` of every session that has the mailbox open. Used in the loop's thread only."""

    def __init__(self, store: MailStore, mailbox: MailboxId, status: MailboxStatus) -> None:
        self.store = store
        self.mailbox = mailbox
        self.columns: Columns | None = None
        self.uid_validity = status.uid_validity
        self.uid_next = status.uid_next
        self.highest = status.highest_modseq
        self.sessions: set[Selected] = set()
        self.dirty = False
        self.dead = False
        self.unused_since = 0.0
        self.claimed = 0 if status.recent else int(status.uid_next)
        """Messages below this uid are recent to nobody any more (RFC 3501 §2.3.2)."""
        self.told = 0
        """Messages below this uid were told to a session that will claim them when it leaves."""
        self._messages = status.messages
        self._all_unseen = 0 < status.unseen == status.messages
        self._answer: tuple[ModSeq, Changes] | None = None
        """What the store said last, and since when: who comes back after that moment need not ask again."""
        self._older: list[Columns] = []
        self._lock = asyncio.Lock()
        self._log: deque[Sequence[Uid]] = deque()
        self._log_uids = 0
        self.log_start = 0  # number of the first entry still there

    @property
    def messages(self) -> int:
        return self._messages if self.columns is None else len(self.columns)

    def first_unseen(self) -> int:
        """Number of the first message without \\Seen, when that is known or lies near; else 0 (RFC 3501 §6.3.1: clients then search)."""
        if self.columns is None:
            return int(self._all_unseen)
        seen = [bool(flags & _SEEN) for flags in self.columns.table.flags]
        return next((number for number, which in enumerate(self.columns.sets[:_NEAR], 1) if not seen[which]), 0)

    @property
    def log_end(self) -> int:
        return self.log_start + len(self._log)

    # ---- reading

    @property
    def stale(self) -> bool:
        """Something changed that is not here yet; also while somebody else's look at the store is under way."""
        return self.dirty or self._lock.locked()

    async def refresh(self, *, force: bool = False) -> None:
        """Take over what changed, when something did (``dirty``) or ``force``. Sets ``dead`` when the mailbox is gone."""
        if force:
            self.dirty = True
        async with self._lock:
            if not self.dirty or self.dead:
                return
            self.dirty = False
            try:
                since = self.highest
                changes = await self.store.changes(self.mailbox, since)
                await self._take(changes)
                self._answer = (since, changes) if len(changes.rows) <= _SLICE else None
            except NoSuchMailbox:
                self.dead = True
            except BaseException:
                self.dirty = True
                raise

    async def changes(self, since: ModSeq) -> Changes:
        """``store.changes``, which the view may just have had."""
        if self._answer is not None and not self.stale:
            start, changes = self._answer
            if changes.highest_modseq == self.highest and (start == since or (start < since and not changes.vanished)):
                return changes if start == since else replace(changes, rows=[row for row in changes.rows if row.modseq > since])
        return await self.store.changes(self.mailbox, since)

    async def load(self) -> Columns:
        """Read the columns, unless they are here. Raises NoSuchMailbox and the store's failures."""
        if self.columns is not None:
            return self.columns
        async with self._lock:
            if self.columns is None:
                await self._load()
        assert self.columns is not None
        return self.columns

    async def _take(self, changes: Changes) -> None:
        if self.columns is None:
            if not changes.vanished and (not changes.rows or changes.rows[0].uid >= self.uid_next):
                self._messages += len(changes.rows)
                self._advance(changes)
                return
            if not self.sessions:
                status = await self.store.status(self.mailbox)  # nobody has numbers to keep
                self._messages, self.uid_next, self.highest = status.messages, status.uid_next, status.highest_modseq
                self._all_unseen = 0 < status.unseen == status.messages
                return
            await self._load()
            return
        await self._apply(changes.rows)
        if changes.vanished:
            self.remove(changes.vanished)
        self._advance(changes)

    def _advance(self, changes: Changes) -> None:
        self.uid_next = max(self.uid_next, changes.uid_next)
        self.highest = max(self.highest, changes.highest_modseq)

    async def _load(self) -> None:
        """Read all rows; rebuild beside them those that sessions count but that went since (their uids are remembered)."""
        full = await self.store.changes(self.mailbox, ModSeq(0))
        rows = full.rows
        known = bisect_left(rows, self.uid_next, key=_uid)
        gone: list[Uid] = []
        if known != self._messages:
            later = await self.store.changes(self.mailbox, self.highest)
            here = {row.uid for row in rows[:known]}
            gone = [uid for uid in later.vanished if uid < self.uid_next and uid not in here]
            rows = sorted([*rows, *(Row(uid, ModSeq(0), 0, "", 0, 0, _NO_BLOB) for uid in gone)])
        columns = Columns(FlagTable())
        for start in range(0, len(rows), _SLICE):
            columns.extend(rows[start : start + _SLICE])
            await asyncio.sleep(0)
        self.columns = columns
        for session in self.sessions:
            session.adopt(columns)
        if full.highest_modseq > self.highest:
            counted = slice(0, known + len(gone))
            pairs = zip(columns.uids[counted], columns.modseqs[counted], strict=True)
            if changed := [Uid(uid) for uid, modseq in pairs if modseq > self.highest]:
                self._note(changed)
        self.uid_next, self.highest = max(self.uid_next, full.uid_next), full.highest_modseq
        if gone:
            self.remove(gone)

    # ---- taking over

    async def _apply(self, rows: Sequence[Row]) -> None:
        for start in range(0, len(rows), _SLICE):
            if start:
                await asyncio.sleep(0)
            self.take_rows(rows[start : start + _SLICE])

    def take_rows(self, rows: Sequence[Row]) -> None:
        """Patch or append; a row older than what is here changes nothing, nor does one that was here and went since it was read."""
        columns = self.columns
        if columns is None or not rows:
            return
        last = columns.uids[-1] if columns.uids else 0
        new = bisect_left(rows, max(last + 1, self.uid_next), key=_uid)
        changed: list[Uid] = []
        for row in rows[:new]:
            if columns.patch(row):
                changed.append(row.uid)
            for older in self._older:
                older.patch(row)
        if changed:
            self._note(changed)
        columns.extend(rows[new:])
        if len(rows) > new:
            self.uid_next = max(self.uid_next, Uid(rows[-1].uid + 1))
        self._renumber(columns)

    def _renumber(self, columns: Columns) -> None:
        if len(columns.table) > 2 * len(columns) + 1000:
            self._replace(columns.renumbered())

    def took(self, stored: Stored) -> int:
        """A command of ours made these changes: take them over, and need not ask the store, if nothing lies between.

        Returns the log entry that this made, or -1.
        """
        before = self.log_end
        self.take_rows(stored.rows)
        if stored.made and stored.modseq == self.highest + 1:
            self.highest = stored.modseq
        return before if self.log_end > before else -1

    def regrouped(self, columns: Columns, positions: Sequence[int], groups: Sequence[Regrouped], modseq: ModSeq, since: int) -> int:
        """As ``took``, for a change that named what it found: groups of ``columns``, as they were at log entry ``since``."""
        before = self.log_end
        if columns is self.columns and since == before and not self._older:
            columns.regroup(positions, groups, modseq)
            self._note([uid for group in groups for uid in group.uids] if len(groups) > 1 else groups[0].uids)
            self._renumber(columns)
        else:  # somebody else's changes came here in between
            rows = [
                columns.row(at)._replace(modseq=modseq, flags=group.after[0], keywords=group.after[1])
                for group in groups
                for at in map(columns.position, group.uids)
                if self.columns is not None and self.columns.position(columns.uids[at]) >= 0
            ]
            self.take_rows(sorted(rows))
        if modseq == self.highest + 1:
            self.highest = modseq
        return before if self.log_end > before else -1

    def remove(self, uids: Sequence[Uid], modseq: ModSeq | None = None, since: int | None = None) -> None:
        """Messages went. ``modseq``: by changes of ours, the only ones after ``since`` (left out: it was one) and up to this."""
        columns = self.columns
        if columns is None:
            self.dirty = True
            return
        if positions := columns.positions(uids):
            self._replace(columns.without(positions))
        if uids and modseq is not None and (modseq - 1 if since is None else since) <= self.highest:
            self.highest = max(self.highest, modseq)

    def _replace(self, columns: Columns) -> None:
        if self.columns is not None and self.columns.holders:
            self._older.append(self.columns)
        self.columns = columns

    def released(self) -> None:
        """A session moved on: forget columns that nobody numbers by."""
        if self._older:
            self._older = [c for c in self._older if c.holders]

    # ---- what changed

    def _note(self, uids: Sequence[Uid]) -> None:
        self._log.append(uids)
        self._log_uids += len(uids)
        while self._log and (len(self._log) > _LOG_ENTRIES or self._log_uids > _LOG_UIDS):
            self._log_uids -= len(self._log.popleft())
            self.log_start += 1

    def changed_after(self, entry: int, modseq: ModSeq, but: Container[int] = ()) -> set[Uid]:
        """Uids whose flags changed since log entry ``entry``, entries ``but`` apart; when the log is too short, since ``modseq``."""
        if entry < self.log_start:
            columns = self.columns
            if columns is None:
                return set()
            return {Uid(u) for u, m in zip(columns.uids, columns.modseqs, strict=True) if m > modseq}
        uids: set[Uid] = set()
        for at in range(entry - self.log_start, len(self._log)):
            if at + self.log_start not in but:
                uids.update(self._log[at])
        return uids


def _uid(row: Row) -> Uid:
    return row.uid


_NO_BLOB = BlobId(0)  # the store gives no blob this number
