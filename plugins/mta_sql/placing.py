"""Put one message into mailboxes: the hot half of acceptance and local delivery.

Mailboxes are found through ``core.inboxes`` and checked by the UPDATE that gives the uid: it returns whose mailbox it
touched. When that is not who was meant (renamed, deleted, rolled back), the memory is dropped and the operation runs again.
Any number of mailboxes with equal flags take two statements.
"""
# SPDX-License-Identifier: Apache-2.0

import time
from collections.abc import Iterable
from typing import Any

from mta.model.errors import MailboxNotAllowed, NoSuchUser, OverQuota
from mta.model.ids import UserId
from mta.model.mailbox_name import INBOX, normalise_name
from mta.model.message import Flags, LocalDelivery
from mta_sql.core import Core
from mta_sql.events import record
from mta_sql.mailboxes import make_mailbox
from mta_sql.quotas import LIMITED, fits
from mta_sql.transaction import Stale, Transaction

# As int: "&" with a member of the enum takes a microsecond.
_SEEN = int(Flags.SEEN)
_DELETED = int(Flags.DELETED)

_SET = (
    "UPDATE mailboxes SET uid_next = uid_next + 1, highest_modseq = highest_modseq + 1, messages = messages + 1,"
    " size = size + ?, unseen = unseen + ?, deleted = deleted + ?, deleted_size = deleted_size + ?"
)
_RETURNING = " RETURNING id, uid_next - 1, highest_modseq, user_id, name, " + LIMITED
_TAKE_ONE = _SET + " WHERE id = ?" + _RETURNING
_TAKE_MANY = _SET + " WHERE id IN ARRAY ?" + _RETURNING
_COLUMNS = "INSERT INTO messages (mailbox_id, uid, modseq, flags, keywords, date, size, blob_id, saved)"
_PUT_ONE = _COLUMNS + " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_MANY = _COLUMNS + " SELECT id, uid_next - 1, highest_modseq, ?, ?, ?, ?, ?, ? FROM mailboxes WHERE id IN ARRAY ?"  # noqa: S608
_FIND = "SELECT id FROM mailboxes WHERE user_id = ? AND name = ?"
_FIND_INBOXES = "SELECT user_id, id FROM mailboxes WHERE user_id IN ARRAY ? AND name = 'INBOX'"
_USER = "SELECT 1 FROM users WHERE id = ?"

Kind = tuple[int, str]
"""Flags and keywords, as stored."""


def place(
    tx: Transaction,
    core: Core,
    deliveries: Iterable[LocalDelivery],
    blob: int,
    size: int,
    date: int,
    message_id: str = "",
    queue_id: str = "",
) -> int:
    """Return how many mailboxes received it. Raises OverQuota with all users that are full, NoSuchUser."""
    placed = 0
    full: list[int] = []
    for kind, mailboxes in _targets(tx, core, deliveries).items():
        placed += len(mailboxes)
        rows = _put(tx, kind, mailboxes, blob, size, date)
        if len(rows) != len(mailboxes) or any(mailboxes.get(row[0]) != (row[3], row[4]) for row in rows):
            for target in mailboxes.values():
                core.inboxes.pop(target, None)
            raise Stale
        for mailbox, uid, _, user, _, limited in rows:
            tx.changed(mailbox)
            if limited and not fits(tx, core, user, size, 1):
                full.append(user)
            if core.events:
                flags, keywords = kind
                record(
                    tx,
                    core,
                    "MessageNew",
                    mailbox,
                    (uid,),
                    flags=flags,
                    keywords=keywords,
                    message_id=message_id,
                    queue_id=queue_id,
                )
    if full:
        raise OverQuota(f"accounts over quota: {full}", tuple(UserId(user) for user in full))
    return placed


def _put(
    tx: Transaction, kind: Kind, mailboxes: dict[int, tuple[int, str]], blob: int, size: int, date: int
) -> list[tuple[int, int, int, int, str, int]]:
    """Take a uid in each mailbox and insert the rows; returns (id, uid, modseq, user, name, what is limited)."""
    flags, keywords = kind
    saved = int(time.time())
    deleted = 1 if flags & _DELETED else 0
    counts = (size, 0 if flags & _SEEN else 1, deleted, size * deleted)
    if len(mailboxes) == 1:
        [mailbox] = mailboxes
        rows: list[Any] = tx.execute(_TAKE_ONE, (*counts, mailbox)).fetchall()
        if rows:
            tx.execute(_PUT_ONE, (mailbox, rows[0][1], rows[0][2], flags, keywords, date, size, blob, saved))
    else:
        ids = tx.array(mailboxes)
        rows = tx.execute(_TAKE_MANY, (*counts, ids)).fetchall()
        tx.execute(_PUT_MANY, (flags, keywords, date, size, blob, saved, ids))
    return rows


def _targets(tx: Transaction, core: Core, deliveries: Iterable[LocalDelivery]) -> dict[Kind, dict[int, tuple[int, str]]]:
    """Mailboxes by what is set in them; a mailbox gets the message once, however many addresses lead to it."""
    kinds: dict[Kind, dict[int, tuple[int, str]]] = {}
    seen: set[int] = set()
    deliveries = tuple(deliveries)
    if len(deliveries) > 2:
        _learn_inboxes(tx, core, deliveries)
    for delivery in deliveries:
        placement = delivery.placement
        if placement.drop:
            continue
        keywords = " ".join(sorted(placement.keywords)) if placement.keywords else ""
        mailboxes = kinds.setdefault((int(placement.flags), keywords), {})
        for folder in (placement.folder, *placement.copies):
            target = (int(delivery.user), folder)
            mailbox = core.inboxes.get(target)
            if mailbox is None:
                target, mailbox = _find(tx, core, target)
            if mailbox not in seen:
                seen.add(mailbox)
                mailboxes[mailbox] = target
    return {kind: mailboxes for kind, mailboxes in kinds.items() if mailboxes}


def _learn_inboxes(tx: Transaction, core: Core, deliveries: tuple[LocalDelivery, ...]) -> None:
    """One statement for all users seen for the first time."""
    missing = {int(d.user) for d in deliveries if d.placement.folder == INBOX and (int(d.user), INBOX) not in core.inboxes}
    if missing:
        for user, mailbox in tx.execute(_FIND_INBOXES, (tx.array(missing),)).fetchall():
            core.remember(user, INBOX, mailbox)


def _find(tx: Transaction, core: Core, target: tuple[int, str]) -> tuple[tuple[int, str], int]:
    """Look the mailbox up, make it when missing. A name that cannot be a mailbox means INBOX: mail is never lost to a bad name."""
    user, folder = target
    try:
        name = normalise_name(folder)
    except MailboxNotAllowed:
        name = INBOX
    row: Any = tx.execute(_FIND, (user, name)).fetchone()
    if row is None:
        if tx.one(_USER, (user,)) is None:
            raise NoSuchUser(f"account {user} is gone")
        mailbox = make_mailbox(tx, core, user, name)
    else:
        mailbox = row[0]
    core.remember(user, name, mailbox)
    return (user, name), mailbox
