"""``Undelete``: what tombstones and the history of flags say a mailbox held, made true again.

Each folder is one transaction. A restored message is a new row on the same octets; its tombstone stays for QRESYNC without them, so
that nothing comes back twice.
"""
# SPDX-License-Identifier: Apache-2.0

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from mta.model.errors import MailboxNotAllowed, NoSuchMailbox, NoSuchUser
from mta.model.ids import MailboxId, Uid, UserId
from mta.model.mailbox_events import Kind
from mta.model.mailbox_name import normalise_name
from mta.model.message import Flags
from mta.model.restoring import Restoration
from mta_sql import quotas
from mta_sql.core import Core
from mta_sql.dialect import Connection
from mta_sql.events import record
from mta_sql.flag_history import flags_at, remember_flags
from mta_sql.mailboxes import make_mailbox
from mta_sql.transaction import Transaction

_USER = "SELECT 1 FROM users WHERE id = ?"
_FOLDERS = "SELECT id, name FROM mailboxes WHERE user_id = ? ORDER BY name"
_DELETED = "SELECT id, name FROM deleted_mailboxes WHERE user_id = ? AND gone > ? ORDER BY gone DESC"
_FIND = "SELECT id FROM mailboxes WHERE user_id = ? AND name = ? FOR UPDATE"
_LOCK = "SELECT uid_next FROM mailboxes WHERE id = ? FOR UPDATE"
_KEPT = "SELECT uid, flags, keywords, date, size, blob_id FROM tombstones WHERE mailbox_id = ? AND blob_id IS NOT NULL"
_EXPUNGED = _KEPT + " AND moved = 0 ORDER BY uid"
_THERE_AT = _KEPT + " AND gone > ? AND coalesce(saved, date) <= ? ORDER BY uid"
_ALIVE = (
    "SELECT DISTINCT m.blob_id FROM messages m JOIN mailboxes b ON b.id = m.mailbox_id WHERE b.user_id = ? AND m.blob_id IN ARRAY ?"
)
_COUNT = (
    "UPDATE mailboxes SET uid_next = uid_next + ?, highest_modseq = highest_modseq + 1, messages = messages + ?,"
    " size = size + ?, unseen = unseen + ? WHERE id = ? RETURNING highest_modseq"
)
_INSERT = (
    "INSERT INTO messages (mailbox_id, uid, modseq, flags, keywords, date, size, blob_id, saved) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_RESTORED = "UPDATE tombstones SET blob_id = NULL WHERE mailbox_id = ? AND uid IN ARRAY ?"
_STAYED = "SELECT uid, flags, keywords, size FROM messages WHERE mailbox_id = ? AND coalesce(saved, date) <= ? AND uid IN ARRAY ?"
_FLAG = "UPDATE messages SET flags = ?, keywords = ?, modseq = ? WHERE mailbox_id = ? AND uid IN ARRAY ?"
_COUNT_FLAGS = (
    "UPDATE mailboxes SET highest_modseq = highest_modseq + 1, unseen = unseen + ?, deleted = deleted + ?,"
    " deleted_size = deleted_size + ? WHERE id = ? RETURNING highest_modseq"
)


class _Gone(NamedTuple):
    uid: int
    flags: int
    keywords: str
    date: int
    size: int
    blob: int


class _Source(NamedTuple):
    """A mailbox that is there, or was."""

    id: int
    name: str
    deleted: bool


class SqlUndelete:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def restore(
        self, user: UserId, *, at: float | None = None, folder: str | None = None, dry_run: bool = False
    ) -> list[Restoration]:
        wanted = None if folder is None else _named(folder)
        sources = await self._core.read(lambda connection: _sources(connection, user, at, wanted), big=True)
        if wanted is not None and not sources:
            raise NoSuchMailbox(wanted)
        by_folder: dict[str, Restoration] = {}
        for source in sources:
            done = await self._one(user, source, at, dry_run)
            known = by_folder.get(done.folder)
            by_folder[done.folder] = done if known is None else _sum(known, done)
        return [one for _, one in sorted(by_folder.items()) if one.messages or one.flags or one.made or one.elsewhere]

    async def _one(self, user: UserId, source: _Source, at: float | None, dry_run: bool) -> Restoration:
        def run(tx: Transaction) -> Restoration:
            done = _restore(tx, self._core, user, source, at)
            if dry_run:
                raise _Tried(done)
            return done

        try:
            return await self._core.write(run)
        except _Tried as tried:
            return tried.what


class _Tried(Exception):
    """Undoes what was only tried."""

    def __init__(self, what: Restoration) -> None:
        super().__init__()
        self.what = what


def _named(folder: str) -> str:
    try:
        return normalise_name(folder)
    except MailboxNotAllowed as exc:
        raise NoSuchMailbox(folder) from exc


def _sum(one: Restoration, other: Restoration) -> Restoration:
    return replace(
        one,
        messages=one.messages + other.messages,
        flags=one.flags + other.flags,
        size=one.size + other.size,
        made=one.made or other.made,
        elsewhere=one.elsewhere + other.elsewhere,
    )


def _sources(connection: Connection, user: UserId, at: float | None, folder: str | None) -> list[_Source]:
    """Folders that are there first: a deleted one of the same name comes back into it."""
    if connection.execute(_USER, (user,)).fetchone() is None:
        raise NoSuchUser(str(user))
    here: list[Any] = connection.execute(_FOLDERS, (user,)).fetchall()
    gone: list[Any] = connection.execute(_DELETED, (user, 0.0 if at is None else at)).fetchall()
    found = [_Source(row[0], row[1], False) for row in here] + [_Source(row[0], row[1], True) for row in gone]
    return [source for source in found if folder is None or source.name == folder]


def _restore(tx: Transaction, core: Core, user: UserId, source: _Source, at: float | None) -> Restoration:
    if at is None:
        rows: list[Any] = tx.execute(_EXPUNGED, (source.id,)).fetchall()
    else:
        rows = tx.execute(_THERE_AT, (source.id, at, int(at))).fetchall()
    gone = [_Gone(*row) for row in rows]
    alive = {row[0] for row in tx.execute(_ALIVE, (user, tx.array({one.blob for one in gone}))).fetchall()} if gone else set()
    back = [one for one in gone if one.blob not in alive]
    then = {} if at is None else flags_at(tx, source.id, at)
    target, made = _target(tx, core, user, source, needed=bool(back) or (at is not None and source.deleted))
    if target and back:
        _put_back(tx, core, user, source.id, target, back, then)
    changed = 0
    if at is not None and then and not source.deleted:
        changed = _set_flags(tx, source.id, then, at)
    return Restoration(source.name, len(back), changed, sum(one.size for one in back), made, len(gone) - len(back))


def _target(tx: Transaction, core: Core, user: UserId, source: _Source, *, needed: bool) -> tuple[int, bool]:
    """Where it comes back, and whether that was made; (0, False): nothing to do."""
    if not source.deleted:
        return source.id, False
    if not needed:
        return 0, False
    row: Any = tx.one(_FIND, (user, source.name))
    if row is not None:
        return row[0], False
    return make_mailbox(tx, core, user, source.name), True


def _put_back(
    tx: Transaction, core: Core, user: UserId, source: int, target: int, back: Sequence[_Gone], then: dict[int, Kind]
) -> None:
    first: Any = tx.one(_LOCK, (target,))
    if first is None:
        raise NoSuchMailbox(str(target))
    kinds = [then.get(one.uid, (one.flags, one.keywords)) for one in back]
    kinds = [(flags & ~int(Flags.DELETED), keywords) for flags, keywords in kinds]
    unseen = sum(not flags & Flags.SEEN for flags, _ in kinds)
    size = sum(one.size for one in back)
    modseq: Any = tx.execute(_COUNT, (len(back), len(back), size, unseen, target)).fetchone()[0]
    now = int(time.time())
    tx.executemany(
        _INSERT,
        [
            (target, first[0] + at, modseq, flags, keywords, one.date, one.size, one.blob, now)
            for at, (one, (flags, keywords)) in enumerate(zip(back, kinds, strict=True))
        ],
    )
    tx.execute(_RESTORED, (source, tx.array([one.uid for one in back])))
    quotas.check(tx, core, user, size, len(back))
    tx.changed(target)
    if core.events:
        record(tx, core, "MessageAppend", target, range(first[0], first[0] + len(back)), details={"restored": True})


def _set_flags(tx: Transaction, mailbox: int, then: dict[int, Kind], at: float) -> int:
    """Messages that stayed have the flags of that moment again; what came later is left alone."""
    rows: Iterable[Any] = tx.execute(_STAYED, (mailbox, int(at), tx.array(then))).fetchall()
    groups: dict[Kind, list[int]] = {}
    before: dict[Kind, list[Uid]] = {}
    unseen = deleted = deleted_size = 0
    for uid, flags, keywords, size in rows:
        new = then[uid]
        if new != (flags, keywords):
            groups.setdefault(new, []).append(uid)
            before.setdefault((flags, keywords), []).append(uid)
            unseen += (not new[0] & Flags.SEEN) - (not flags & Flags.SEEN)
            marked = bool(new[0] & Flags.DELETED) - bool(flags & Flags.DELETED)
            deleted, deleted_size = deleted + marked, deleted_size + marked * size
    if not groups:
        return 0
    modseq: Any = tx.execute(_COUNT_FLAGS, (unseen, deleted, deleted_size, mailbox)).fetchone()[0]
    remember_flags(tx, mailbox, before)
    for (flags, keywords), uids in groups.items():
        tx.execute(_FLAG, (flags, keywords, modseq, mailbox, tx.array(uids)))
    tx.changed(MailboxId(mailbox))
    return sum(map(len, groups.values()))
