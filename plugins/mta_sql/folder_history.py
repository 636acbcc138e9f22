"""Folders as they were: one row for each rename, each folder made, each change of a subscription, kept for ``undelete``."""
# SPDX-License-Identifier: Apache-2.0

import time
from typing import Any

from mta_sql.dialect import Connection
from mta_sql.transaction import Transaction

_INSERT = "INSERT INTO folder_changes (user_id, mailbox_id, at, name, subscribed) VALUES (?, ?, ?, ?, ?)"
_AFTER = "SELECT mailbox_id, name, subscribed FROM folder_changes WHERE user_id = ? AND at > ? ORDER BY id DESC"
_OLD = "SELECT id, at FROM folder_changes ORDER BY id LIMIT ?"
_FORGET = "DELETE FROM folder_changes WHERE id IN ARRAY ?"


def remember_name(tx: Transaction, user: int, mailbox: int, name: str) -> None:
    """What it was called until now; "": it was not there."""
    tx.execute(_INSERT, (user, mailbox, time.time(), name, 0))


def remember_subscription(tx: Transaction, user: int, name: str, subscribed: bool) -> None:
    """Whether this name was subscribed until now."""
    tx.execute(_INSERT, (user, 0, time.time(), name, int(subscribed)))


def folders_at(connection: Connection | Transaction, user: int, at: float) -> tuple[dict[int, str], dict[str, bool]]:
    """What differs from now: names of mailboxes, "" for those made since; subscriptions. The first change after ``at`` tells."""
    names: dict[int, str] = {}
    subscriptions: dict[str, bool] = {}
    rows: list[Any] = connection.execute(_AFTER, (user, at)).fetchall()
    for mailbox, name, subscribed in rows:
        if mailbox:
            names[mailbox] = name
        else:
            subscriptions[name] = bool(subscribed)
    return names, subscriptions


def forget(tx: Transaction, before: float, limit: int) -> int:
    rows: list[Any] = tx.execute(_OLD, (limit,)).fetchall()
    old = [row[0] for row in rows if row[1] < before]
    if old:
        tx.execute(_FORGET, (tx.array(old),))
    return len(old)
