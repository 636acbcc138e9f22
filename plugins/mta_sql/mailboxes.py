"""Mailboxes as such: find, make, rename, delete, subscribe (RFC 9051 §6.3)."""
# SPDX-License-Identifier: Apache-2.0

import time
from itertools import chain
from typing import Any

from mta.model.errors import MailboxExists, MailboxNotAllowed, NoSuchMailbox
from mta.model.ids import MailboxId, ModSeq, UserId
from mta.model.mailbox import DELIMITER, MAX_NAME, MailboxInfo
from mta.model.mailbox_name import INBOX, normalise_name, parents
from mta_sql.core import Core
from mta_sql.dialect import Connection
from mta_sql.events import record, record_subscription
from mta_sql.folder_history import remember_name, remember_subscription
from mta_sql.transaction import Transaction

INFO = "SELECT id, user_id, name, uid_validity, special_use, EXISTS (SELECT 1 FROM subscriptions s WHERE s.user_id = mailboxes.user_id AND s.name = mailboxes.name) FROM mailboxes"
_ALL = INFO + " WHERE user_id = ?"
_BY_NAME = INFO.replace(" FROM mailboxes", ", highest_modseq FROM mailboxes") + " WHERE user_id = ? AND name = ?"
_STARTS = " AND substr(name, 1, ?) = ?"
_MANY = "SELECT count(*) FROM (SELECT 1 FROM mailboxes WHERE user_id = ? LIMIT ?) AS counted"
MANY = 1000
PIECE = 2000
_SUBSCRIBED = "SELECT name FROM subscriptions WHERE user_id = ?"
_NEXT_VALIDITY = "UPDATE counters SET value = value + 1 WHERE name = 'uid_validity' RETURNING value"
_INSERT = "INSERT INTO mailboxes (user_id, name, uid_validity, special_use) VALUES (?, ?, ?, ?) RETURNING id"
_SUBSCRIBE = "INSERT INTO subscriptions (user_id, name) VALUES (?, ?) ON CONFLICT DO NOTHING"
_UNSUBSCRIBE = "DELETE FROM subscriptions WHERE user_id = ? AND name = ?"
_INBOX = "SELECT id FROM mailboxes WHERE user_id = ? AND name = 'INBOX'"
_FIND = "SELECT id FROM mailboxes WHERE user_id = ? AND name = ? FOR UPDATE"
_BURY_ALL = (
    "INSERT INTO tombstones (mailbox_id, uid, modseq, flags, keywords, date, size, blob_id, gone, saved)"
    " SELECT mailbox_id, uid, modseq, flags, keywords, date, size, blob_id, ?, saved FROM messages WHERE mailbox_id = ?"
)
_DELETE_MESSAGES = "DELETE FROM messages WHERE mailbox_id = ?"
_DELETE = "DELETE FROM mailboxes WHERE id = ?"
_REMEMBER = (
    "INSERT INTO deleted_mailboxes (id, owner, name, gone, user_id, special_use)"
    " SELECT mailboxes.id, users.local || '@' || users.domain, mailboxes.name, ?, users.id, mailboxes.special_use"
    " FROM mailboxes JOIN users ON users.id = mailboxes.user_id WHERE mailboxes.id = ?"
)
_CHILDREN = "SELECT id, name FROM mailboxes WHERE user_id = ? AND substr(name, 1, ?) = ? ORDER BY name"
_INHERIT = "INSERT INTO acl (mailbox_id, identifier, rights) SELECT ?, identifier, rights FROM acl WHERE mailbox_id = ?"
_BESIDE = tuple(f"DELETE FROM {table} WHERE mailbox_id = ?" for table in ("acl", "annotations", "together"))  # noqa: S608
_RENAME = "UPDATE mailboxes SET name = ? WHERE id = ?"


def mailbox_info(row: Any, highest_modseq: int = 0) -> MailboxInfo:
    return MailboxInfo(MailboxId(row[0]), UserId(row[1]), row[2], row[3], row[4], bool(row[5]), True, ModSeq(highest_modseq))


def has_many(connection: Connection, user: UserId) -> bool:
    """More than can be listed inline."""
    return bool(connection.execute(_MANY, (user, MANY)).fetchone()[0] == MANY)


def list_mailboxes(connection: Connection, user: UserId, starts: str = "") -> list[MailboxInfo]:
    """A hundred thousand in a second, in a thread; those that begin in some way in as long as the database looks at all names."""
    some, params = (_STARTS, (user, len(starts), starts)) if starts else ("", (user,))
    found: dict[str, MailboxInfo] = {}
    cursor = connection.execute(_ALL + some, params)
    while rows := cursor.fetchmany(PIECE):  # in pieces: no single step keeps the interpreter from the event loop
        found.update((row[2], mailbox_info(row)) for row in rows)
    names: set[str] = set()
    cursor = connection.execute(_SUBSCRIBED + some, params)
    while rows := cursor.fetchmany(PIECE):
        names.update(row[0] for row in rows)
    above: set[str] = set()
    for name in found:
        while (cut := name.rfind(DELIMITER)) > 0 and (name := name[:cut]) not in above:
            above.add(name)
    for name in chain(names, above):
        if name not in found and name.startswith(starts):
            found[name] = MailboxInfo(MailboxId(0), user, name, 0, "", name in names, exists=False)
    inbox = found.pop(INBOX, None)
    others = [found[name] for name in sorted(found)]
    return others if inbox is None else [inbox, *others]


def find_mailbox(connection: Connection, user: UserId, name: str) -> MailboxInfo:
    try:
        name = normalise_name(name)
    except MailboxNotAllowed as exc:
        raise NoSuchMailbox(str(exc)) from exc
    row = connection.execute(_BY_NAME, (user, name)).fetchone()
    if row is None:
        raise NoSuchMailbox(name)
    return mailbox_info(row, row[6])


def make_mailbox(tx: Transaction, core: Core, user: int, name: str, special_use: str = "") -> int:
    """Make it and its missing parents; ``name`` is normalised and not there."""
    above: int | None = None
    for parent in parents(name):
        row: Any = tx.one(_FIND, (user, parent))
        above = row[0] if row is not None else _insert(tx, core, user, parent, "", above)
    return _insert(tx, core, user, name, special_use, above)


def _insert(tx: Transaction, core: Core, user: int, name: str, special_use: str, above: int | None) -> int:
    """``above``: the mailbox it lies below, whose access list it begins with."""
    validity: Any = tx.execute(_NEXT_VALIDITY).fetchone()
    made: int = tx.execute(_INSERT, (user, name, validity[0], special_use)).fetchone()[0]
    if above is not None:
        tx.execute(_INHERIT, (made, above))
    remember_name(tx, user, made, "")
    tx.changed(made)
    if core.events:
        record(tx, core, "MailboxCreate", made)
    return made


def create(tx: Transaction, core: Core, user: UserId, name: str, special_use: str) -> MailboxInfo:
    name = normalise_name(name)
    if tx.one(_FIND, (user, name)) is not None:
        raise MailboxExists(name)
    make_mailbox(tx, core, user, name, special_use)
    return mailbox_info(tx.one(_BY_NAME, (user, name)))


def delete(tx: Transaction, core: Core, user: UserId, name: str) -> None:
    try:
        name = normalise_name(name)
    except MailboxNotAllowed as exc:
        raise NoSuchMailbox(str(exc)) from exc
    if name == INBOX:
        raise MailboxNotAllowed("INBOX cannot be deleted")
    row: Any = tx.one(_FIND, (user, name))
    if row is None:
        raise NoSuchMailbox(name)
    drop_mailbox(tx, core, row[0])


def drop_mailbox(tx: Transaction, core: Core, mailbox: int) -> None:
    """Remove it; its messages become tombstones, so that their octets stay for ``undelete`` seconds."""
    if core.events:
        record(tx, core, "MailboxDelete", mailbox)
    now = time.time()
    tx.execute(_REMEMBER, (now, mailbox))
    tx.execute(_BURY_ALL, (now, mailbox))
    tx.execute(_DELETE_MESSAGES, (mailbox,))
    for statement in _BESIDE:
        tx.execute(statement, (mailbox,))
    tx.execute(_DELETE, (mailbox,))
    tx.changed(mailbox)


def rename(tx: Transaction, core: Core, user: UserId, old: str, new: str) -> int | None:
    """Rename with children; returns the new mailbox when ``old`` is INBOX: its messages are to be moved there."""
    old, new = normalise_name(old), normalise_name(new)
    row: Any = tx.one(_FIND, (user, old))
    if row is None:
        raise NoSuchMailbox(old)
    if tx.one(_FIND, (user, new)) is not None:
        raise MailboxExists(new)
    if old == INBOX:
        return make_mailbox(tx, core, user, new)
    below = old + DELIMITER
    if new.startswith(below):
        raise MailboxNotAllowed("a mailbox cannot become its own child")
    moving = [(row[0], old), *tx.execute(_CHILDREN, (user, len(below), below)).fetchall()]
    for _, name in moving:
        target = new + name[len(old) :]
        if len(target) > MAX_NAME:
            raise MailboxNotAllowed("mailbox name too long")
        normalise_name(target)
        if name != old and tx.one(_FIND, (user, target)) is not None:
            raise MailboxExists(target)
    for parent in parents(new):
        if tx.one(_FIND, (user, parent)) is None:
            make_mailbox(tx, core, user, parent)
    for mailbox, name in moving:
        set_name(tx, core, user, mailbox, name, new + name[len(old) :])
    return None


def set_name(tx: Transaction, core: Core, user: int, mailbox: int, old: str, new: str) -> None:
    """Nothing else is called so."""
    remember_name(tx, user, mailbox, old)
    tx.execute(_RENAME, (new, mailbox))
    tx.changed(mailbox)
    core.inboxes.pop((user, old), None)
    if core.events:
        record(tx, core, "MailboxRename", mailbox, details={"from": old})


def subscribe(tx: Transaction, core: Core, user: UserId, name: str, subscribed: bool) -> None:
    name = normalise_name(name)
    if tx.execute(_SUBSCRIBE if subscribed else _UNSUBSCRIBE, (user, name)).rowcount:
        remember_subscription(tx, user, name, not subscribed)
        tell_account(tx, user)
        if core.events:
            record_subscription(tx, core, user, name, subscribed)


def tell_account(tx: Transaction, user: int) -> None:
    """Something of the account changed that is no mailbox's: who watches its INBOX looks."""
    inbox: Any = tx.execute(_INBOX, (user,)).fetchone()
    if inbox is not None:
        tx.changed(inbox[0])
