"""``Undelete``: what tombstones and the history of flags say a mailbox held, made true again.

One transaction for the names, one for each folder, one for subscriptions. A restored message is a new row on the same octets; its
tombstone stays for QRESYNC without them, so that nothing comes back twice.
"""
# SPDX-License-Identifier: Apache-2.0

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from mta.model.errors import MailboxNotAllowed, NoSuchMailbox
from mta.model.ids import MailboxId, Uid, UserId
from mta.model.mailbox_events import Kind
from mta.model.mailbox_name import normalise_name
from mta.model.message import Flags
from mta.model.restoring import Restoration
from mta_sql import quotas
from mta_sql.core import Core
from mta_sql.events import record
from mta_sql.flag_history import flags_at, remember_flags
from mta_sql.transaction import Run, Transaction
from mta_sql.undelete_folders import Source, make_again, set_names, set_subscriptions, sources_of

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


class SqlUndelete:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def restore(
        self, user: UserId, *, at: float | None = None, folder: str | None = None, dry_run: bool = False
    ) -> list[Restoration]:
        wanted = None if folder is None else _named(folder)
        sources = await self._core.read(lambda connection: sources_of(connection, user, at, wanted), big=True)
        if wanted is not None and not sources:
            raise NoSuchMailbox(wanted)
        core, moment = self._core, at

        def rename(tx: Transaction) -> list[Restoration]:
            return set_names(tx, core, user, sources)

        def refill(source: Source) -> Run[list[Restoration]]:
            return lambda tx: [_restore(tx, core, user, source, at)]

        def subscriptions(tx: Transaction) -> list[Restoration]:
            return [] if moment is None else set_subscriptions(tx, core, user, moment, wanted)

        runs: list[Run[list[Restoration]]] = [rename, *map(refill, sources), subscriptions]
        if dry_run:  # what is tried is not there for the next; with other names it has to be
            together = any(source.name != source.now for source in sources)
            runs = [_trial(runs)] if together else [_trial([run]) for run in runs]
        done: list[Restoration] = []
        for run in runs:
            try:
                done += await core.write(run)
            except _Tried as tried:
                done += tried.what
        by_folder: dict[str, Restoration] = {}
        for one in done:
            known = by_folder.get(one.folder)
            by_folder[one.folder] = one if known is None else _sum(known, one)
        return [one for folder, one in sorted(by_folder.items()) if one != Restoration(folder)]


def _trial(runs: Sequence[Run[list[Restoration]]]) -> Run[list[Restoration]]:
    def run(tx: Transaction) -> list[Restoration]:
        raise _Tried([one for each in runs for one in each(tx)])

    return run


class _Tried(Exception):
    """Undoes what was only tried."""

    def __init__(self, what: list[Restoration]) -> None:
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
        renamed=one.renamed or other.renamed,
        subscribed=one.subscribed if other.subscribed is None else other.subscribed,
    )


def _restore(tx: Transaction, core: Core, user: UserId, source: Source, at: float | None) -> Restoration:
    if at is None:
        rows: list[Any] = tx.execute(_EXPUNGED, (source.id,)).fetchall()
    else:
        rows = tx.execute(_THERE_AT, (source.id, at, int(at))).fetchall()
    gone = [_Gone(*row) for row in rows]
    alive = {row[0] for row in tx.execute(_ALIVE, (user, tx.array({one.blob for one in gone}))).fetchall()} if gone else set()
    back = [one for one in gone if one.blob not in alive]
    then = {} if at is None else flags_at(tx, source.id, at)
    target, made = source.id, False
    if source.deleted:
        needed = bool(back) or at is not None or not source.restored
        target, made = make_again(tx, core, user, source) if needed else (0, False)
    if target and back:
        _put_back(tx, core, user, source.id, target, back, then)
    changed = 0
    if at is not None and then and not source.deleted:
        changed = _set_flags(tx, source.id, then, at)
    return Restoration(source.name, len(back), changed, sum(one.size for one in back), made, len(gone) - len(back))


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
