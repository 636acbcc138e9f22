"""Changing messages: append, flags, copy, move, expunge. Each is one operation in one transaction.

The mailbox row is locked first (PostgreSQL), so that uids and modseqs become visible in their order.
"""
# SPDX-License-Identifier: Apache-2.0

import time
from collections.abc import Sequence
from typing import Any

from mta.model.errors import NoSuchMailbox
from mta.model.ids import MailboxId, ModSeq, Uid, UserId
from mta.model.mailbox import Appended, Copied, NewMessage, Regrouped, Row, Stored
from mta.model.mailbox_events import Kind
from mta.model.message import Flags
from mta_hooks.backends.store import FlagChange
from mta_sql import quotas, together
from mta_sql.core import Body, Core, insert_blob
from mta_sql.events import record, record_flags
from mta_sql.flag_history import remember_flags
from mta_sql.transaction import Transaction

# As int: "&" with a member of the enum takes a microsecond.
_SEEN = int(Flags.SEEN)
_DELETED = int(Flags.DELETED)

_LOCK = "SELECT user_id, uid_validity, uid_next, highest_modseq FROM mailboxes WHERE id = ? FOR UPDATE"
_LOCK_TWO = "SELECT id FROM mailboxes WHERE id IN ARRAY ? ORDER BY id FOR UPDATE"
_COUNT = (
    "UPDATE mailboxes SET uid_next = uid_next + ?, highest_modseq = highest_modseq + 1, messages = messages + ?, unseen = unseen + ?,"
    " deleted = deleted + ?, size = size + ?, deleted_size = deleted_size + ? WHERE id = ? RETURNING highest_modseq"
)
_INSERT = (
    "INSERT INTO messages (mailbox_id, uid, modseq, flags, keywords, date, size, blob_id, saved) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ROWS = "SELECT uid, modseq, flags, keywords, date, size, blob_id FROM messages WHERE mailbox_id = ?"
_IN_LIST, _IN_RANGE = "uid IN ARRAY ?", "uid BETWEEN ? AND ?"
_ROWS_DELETED = _ROWS + " AND flags & 8 <> 0 ORDER BY uid"
_FLAG = "UPDATE messages SET flags = ?, keywords = ?, modseq = ? WHERE mailbox_id = ? AND "
_COPY = (
    "INSERT INTO messages (mailbox_id, uid, modseq, flags, keywords, date, size, blob_id, saved)"
    " SELECT ?, ? + row_number() OVER (ORDER BY uid), ?, flags, keywords, date, size, blob_id, ? FROM messages WHERE mailbox_id = ? AND "
)
_BURY = (
    "INSERT INTO tombstones (mailbox_id, uid, modseq, flags, keywords, date, size, blob_id, gone, saved, moved)"
    " SELECT mailbox_id, uid, ?, flags, keywords, date, size, blob_id, ?, saved, ? FROM messages WHERE mailbox_id = ? AND "
)
_DELETE = "DELETE FROM messages WHERE mailbox_id = ? AND "
_RECENT = "UPDATE mailboxes SET recent_uid = uid_next WHERE id = ?"
_RECENT_UID = "SELECT recent_uid FROM mailboxes WHERE id = ? FOR UPDATE"


class Sums:
    """What a set of rows means for the counters of its mailbox."""

    __slots__ = ("deleted", "deleted_size", "messages", "size", "unseen")

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self.messages = self.unseen = self.deleted = self.size = self.deleted_size = 0
        for row in rows:
            self.add(row.flags, row.size)

    def add(self, flags: int, size: int, times: int = 1) -> None:
        self.messages += times
        self.size += size * times
        if not flags & _SEEN:
            self.unseen += times
        if flags & _DELETED:
            self.deleted += times
            self.deleted_size += size * times

    def swap(self, group: Regrouped) -> None:
        """Messages of one kind are of another now: how many there are, and their octets, stays."""
        old, new, many = group.before[0], group.after[0], len(group.uids)
        self.unseen += many * ((not new & _SEEN) - (not old & _SEEN))
        marked = bool(new & _DELETED) - bool(old & _DELETED)
        self.deleted += many * marked
        self.deleted_size += group.octets * marked


def naming(tx: Transaction, uids: Sequence[Uid]) -> tuple[str, tuple[Any, ...]]:
    """The condition that names these uids, and its parameters. A run without gaps is a range, which costs half of a list."""
    if len(uids) > 1 and list(uids) == list(range(uids[0], uids[-1] + 1)):
        return _IN_RANGE, (uids[0], uids[-1])
    return _IN_LIST, (tx.array(uids),)


def _rows_of(tx: Transaction, mailbox: int, uids: Sequence[Uid]) -> list[Row]:
    among, params = naming(tx, uids)
    return list(map(Row._make, tx.execute(f"{_ROWS} AND {among} ORDER BY uid", (mailbox, *params)).fetchall()))


def lock_mailbox(tx: Transaction, mailbox: int) -> Any:
    row = tx.one(_LOCK, (mailbox,))
    if row is None:
        raise NoSuchMailbox(str(mailbox))
    return row


def recount(tx: Transaction, mailbox: int, sums: Sums, *, uids: int = 0, sign: int = 1) -> ModSeq:
    """Take ``uids`` uids and the next modseq, apply the sums; returns the modseq."""
    row: Any = tx.one(
        _COUNT,
        (
            uids,
            sign * sums.messages,
            sign * sums.unseen,
            sign * sums.deleted,
            sign * sums.size,
            sign * sums.deleted_size,
            mailbox,
        ),
    )
    tx.changed(mailbox)
    return ModSeq(row[0])


def append(
    tx: Transaction, core: Core, mailbox: MailboxId, messages: Sequence[NewMessage], bodies: Sequence[Body]
) -> list[Appended]:
    user, uid_validity, uid_next, _ = lock_mailbox(tx, mailbox)
    sums = Sums()
    for message, body in zip(messages, bodies, strict=True):
        sums.add(message.flags, body.size)
    modseq = recount(tx, mailbox, sums, uids=len(messages))
    quotas.check(tx, core, user, sums.size, sums.messages)
    saved = int(time.time())
    rows = []
    for number, (message, body) in enumerate(zip(messages, bodies, strict=True)):
        keywords = " ".join(sorted(message.keywords))
        blob = insert_blob(tx, body)
        rows.append((mailbox, uid_next + number, modseq, int(message.flags), keywords, message.date, body.size, blob, saved))
    tx.executemany(_INSERT, rows)
    if core.events:
        for row in rows:
            record(tx, core, "MessageAppend", mailbox, (row[1],), flags=row[3], keywords=row[4])
    return [Appended(mailbox, uid_validity, Uid(row[1]), modseq) for row in rows]


def set_flags(
    tx: Transaction,
    core: Core,
    mailbox: MailboxId,
    uids: Sequence[Uid],
    change: FlagChange,
    flags: int,
    keywords: frozenset[str],
    unchanged_since: ModSeq | None,
) -> Stored:
    highest = ModSeq(lock_mailbox(tx, mailbox)[3])
    rows = together.with_modseqs(tx, mailbox, _rows_of(tx, mailbox, uids))
    modified: list[Uid] = []
    if unchanged_since is not None:
        modified = [row.uid for row in rows if row.modseq > unchanged_since]
        rows = [row for row in rows if row.modseq <= unchanged_since]
    groups: dict[Kind, list[Uid]] = {}
    before: dict[Kind, list[Uid]] = {}
    changes: dict[tuple[Kind, Kind], list[Uid]] = {}
    sums = Sums()
    after: dict[Kind, Kind] = {}
    for row in rows:
        old = (row.flags, row.keywords)
        new = after.get(old)
        if new is None:
            new = after[old] = _changed(old, change, int(flags), keywords)
        if new != old:
            groups.setdefault(new, []).append(row.uid)
            before.setdefault(old, []).append(row.uid)
            if core.events:
                changes.setdefault((old, new), []).append(row.uid)
            sums.add(new[0], row.size)
            sums.add(old[0], row.size, -1)
    if not groups:
        return Stored(rows, modified, highest)
    modseq = recount(tx, mailbox, sums)
    remember_flags(tx, mailbox, before)
    for (new_flags, new_keywords), members in groups.items():
        among, params = naming(tx, members)
        tx.execute(_FLAG + among, (new_flags, new_keywords, modseq, mailbox, *params))
    if changes:
        record_flags(tx, core, mailbox, changes)
    return Stored([_as_changed(row, after[row.flags, row.keywords], modseq) for row in rows], modified, modseq, made=True)


def _as_changed(row: Row, new: Kind, modseq: ModSeq) -> Row:
    uid, _, flags, keywords, date, size, blob = row
    return row if new == (flags, keywords) else Row(uid, modseq, new[0], new[1], date, size, blob)


def _changed(old: Kind, change: FlagChange, flags: int, keywords: frozenset[str]) -> Kind:
    before = frozenset(old[1].split())
    if change == "set":
        return flags, " ".join(sorted(keywords))
    if change == "add":
        return old[0] | flags, " ".join(sorted(before | keywords))
    return old[0] & ~flags, " ".join(sorted(before - keywords))


def copy(tx: Transaction, core: Core, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
    _source_user, source_modseq, rows = _source(tx, mailbox, uids, target)
    user, uid_validity, first, _ = lock_mailbox(tx, target)
    if not rows:
        return Copied(uid_validity, [], [], source_modseq)
    _copy_rows(tx, core, mailbox, rows, target, first)
    quotas.check(tx, core, user, sum(row.size for row in rows), len(rows))
    if target == mailbox:
        source_modseq = ModSeq(lock_mailbox(tx, mailbox)[3])
    return Copied(uid_validity, [row.uid for row in rows], [Uid(first + i) for i in range(len(rows))], source_modseq)


def move(tx: Transaction, core: Core, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
    source_user, source_modseq, rows = _source(tx, mailbox, uids, target)
    user, uid_validity, first, _ = lock_mailbox(tx, target)
    if not rows:
        return Copied(uid_validity, [], [], source_modseq)
    _copy_rows(tx, core, mailbox, rows, target, first)
    source_modseq = _bury(tx, core, mailbox, rows, moved=True)
    if user != source_user:
        quotas.check(tx, core, user, sum(row.size for row in rows), len(rows))
    return Copied(uid_validity, [row.uid for row in rows], [Uid(first + i) for i in range(len(rows))], source_modseq)


def _source(tx: Transaction, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> tuple[UserId, ModSeq, list[Row]]:
    tx.execute(_LOCK_TWO, (tx.array(sorted({mailbox, target})),)).fetchall()
    user, _, _, highest = lock_mailbox(tx, mailbox)
    return user, ModSeq(highest), _rows_of(tx, mailbox, uids)


def _copy_rows(tx: Transaction, core: Core, mailbox: MailboxId, rows: Sequence[Row], target: MailboxId, first: int) -> None:
    """Made by the database from its own rows: a third of what it costs to hand them back one by one."""
    modseq = recount(tx, target, Sums(rows), uids=len(rows))
    among, params = naming(tx, [row.uid for row in rows])
    tx.execute(_COPY + among, (target, first - 1, modseq, int(time.time()), mailbox, *params))
    if core.events:
        record(tx, core, "MessageAppend", target, range(first, first + len(rows)), details={"copied": True})


def move_all(tx: Transaction, core: Core, mailbox: MailboxId, target: MailboxId) -> None:
    """Rename of INBOX: everything moves, INBOX stays."""
    rows: list[Any] = tx.execute(_ROWS + " ORDER BY uid", (mailbox,)).fetchall()
    move(tx, core, mailbox, [Uid(row[0]) for row in rows], target)


def remove(
    tx: Transaction, core: Core, mailbox: MailboxId, uids: Sequence[Uid] | None, *, marked: bool
) -> tuple[list[Uid], ModSeq]:
    """``marked``: only those with \\Deleted."""
    highest = ModSeq(lock_mailbox(tx, mailbox)[3])
    if uids is None:
        rows = list(map(Row._make, tx.execute(_ROWS_DELETED, (mailbox,)).fetchall()))
    else:
        rows = [row for row in _rows_of(tx, mailbox, uids) if not marked or row.flags & _DELETED]
    if not rows:
        return [], highest
    return [row.uid for row in rows], _bury(tx, core, mailbox, rows)


def _bury(tx: Transaction, core: Core, mailbox: MailboxId, rows: Sequence[Row], *, moved: bool = False) -> ModSeq:
    """Rows become tombstones; ``keep`` their octets for ``undelete`` (a moved message lives on elsewhere)."""
    modseq = recount(tx, mailbox, Sums(rows), sign=-1)
    uids = [row.uid for row in rows]
    among, params = naming(tx, uids)
    tx.execute(_BURY + among, (modseq, time.time(), int(moved), mailbox, *params))
    tx.execute(_DELETE + among, (mailbox, *params))
    if core.events:
        record(tx, core, "MessageExpunge", mailbox, uids)
    return modseq


def claim_recent(tx: Transaction, mailbox: MailboxId) -> Uid:
    row: Any = tx.one(_RECENT_UID, (mailbox,))
    if row is None:
        raise NoSuchMailbox(str(mailbox))
    tx.execute(_RECENT, (mailbox,))
    return Uid(row[0])
