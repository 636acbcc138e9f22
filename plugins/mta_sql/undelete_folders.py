"""The half of ``Undelete`` that is about folders: which there were, what they were called, whether they were subscribed."""
# SPDX-License-Identifier: Apache-2.0

from typing import Any, NamedTuple

from mta.model.errors import NoSuchUser
from mta.model.ids import UserId
from mta.model.restoring import Restoration
from mta_sql.core import Core
from mta_sql.dialect import Connection
from mta_sql.folder_history import folders_at
from mta_sql.mailboxes import make_mailbox, set_name, subscribe
from mta_sql.transaction import Transaction

_USER = "SELECT 1 FROM users WHERE id = ?"
_FOLDERS = "SELECT id, name FROM mailboxes WHERE user_id = ? ORDER BY name"
_NAMES = "SELECT id, name FROM mailboxes WHERE user_id = ? FOR UPDATE"
_DELETED = "SELECT id, name, special_use, gone, restored FROM deleted_mailboxes WHERE user_id = ? AND gone > ? ORDER BY gone DESC"
_FIND = "SELECT id FROM mailboxes WHERE user_id = ? AND name = ? FOR UPDATE"
_USED = "SELECT 1 FROM mailboxes WHERE user_id = ? AND special_use = ?"
_ASIDE = "UPDATE mailboxes SET name = ? WHERE id = ?"
_DONE = "UPDATE deleted_mailboxes SET restored = 1 WHERE id = ?"
_SUBSCRIBED = "SELECT 1 FROM subscriptions WHERE user_id = ? AND name = ?"
_TAKING_LEAVE = 60.0
"""Seconds before a folder went in which its subscription counts as taken away with it."""


class Source(NamedTuple):
    """A mailbox that is there, or was. ``name``: at the moment that is wanted; ``now``: today, or when it was deleted."""

    id: int
    name: str
    deleted: bool
    now: str
    special_use: str = ""
    gone: float = 0.0
    restored: bool = False


def sources_of(connection: Connection | Transaction, user: UserId, at: float | None, folder: str | None) -> list[Source]:
    """Folders that are there first: a deleted one of the same name comes back into it. Those above come before those below."""
    if connection.execute(_USER, (user,)).fetchone() is None:
        raise NoSuchUser(str(user))
    then = {} if at is None else folders_at(connection, user, at)[0]
    here: list[Any] = connection.execute(_FOLDERS, (user,)).fetchall()
    gone: list[Any] = connection.execute(_DELETED, (user, 0.0 if at is None else at)).fetchall()
    found = [Source(row[0], then.get(row[0]) or row[1], False, row[1]) for row in here]
    lost = [Source(row[0], then.get(row[0], row[1]), True, row[1], row[2], row[3], bool(row[4])) for row in gone]
    found += sorted([source for source in lost if source.name], key=lambda source: source.name)
    return [source for source in found if folder is None or folder in (source.name, source.now)]


def set_names(tx: Transaction, core: Core, user: UserId, sources: list[Source]) -> list[Restoration]:
    """Folders that are called otherwise today get their names again, unless another folder has it and keeps it."""
    names: dict[str, int] = {row[1]: row[0] for row in tx.execute(_NAMES, (user,)).fetchall()}
    movers = {s.id: s for s in sources if not s.deleted and s.name != s.now and names.get(s.now) == s.id}
    while stuck := [s.id for s in movers.values() if s.name in names and names[s.name] not in movers]:
        for number in stuck:
            del movers[number]
    for number in movers:
        tx.execute(_ASIDE, (f"//{number}", number))  # no mailbox is called so; names may change places
    for source in movers.values():
        set_name(tx, core, user, source.id, source.now, source.name)
    return [Restoration(source.name, renamed=source.now) for source in movers.values()]


def make_again(tx: Transaction, core: Core, user: UserId, source: Source) -> tuple[int, bool]:
    """The folder for what was in a deleted one, and whether it was made."""
    tx.execute(_DONE, (source.id,))
    row: Any = tx.one(_FIND, (user, source.name))
    if row is not None:
        return row[0], False
    use = source.special_use
    if use and tx.one(_USED, (user, use)) is not None:
        use = ""
    made = make_mailbox(tx, core, user, source.name, use)
    if folders_at(tx, user, source.gone - _TAKING_LEAVE)[1].get(source.name):
        subscribe(tx, core, user, source.name, subscribed=True)
    return made, True


def set_subscriptions(tx: Transaction, core: Core, user: UserId, at: float, folder: str | None) -> list[Restoration]:
    done = []
    for name, subscribed in sorted(folders_at(tx, user, at)[1].items()):
        if folder not in (None, name) or (tx.one(_SUBSCRIBED, (user, name)) is not None) is subscribed:
            continue
        subscribe(tx, core, user, name, subscribed)
        done.append(Restoration(name, subscribed=subscribed))
    return done
