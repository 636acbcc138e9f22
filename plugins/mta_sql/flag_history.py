"""Flags as they were: one row for each command that changed some, kept for ``undelete``."""
# SPDX-License-Identifier: Apache-2.0

import time
from collections.abc import Mapping, Sequence
from typing import Any

from mta.model.ids import Uid
from mta.model.mailbox_events import Kind
from mta.wire.imap.sequence import encode_numbers
from mta_sql.transaction import Transaction

_INSERT = "INSERT INTO flag_changes (mailbox_id, at, flags, keywords, uids) VALUES (?, ?, ?, ?, ?)"
_AFTER = "SELECT flags, keywords, uids FROM flag_changes WHERE mailbox_id = ? AND at > ? ORDER BY id"
_OLD = "SELECT id, at FROM flag_changes ORDER BY id LIMIT ?"
_FORGET = "DELETE FROM flag_changes WHERE id IN ARRAY ?"


def remember_flags(tx: Transaction, mailbox: int, before: Mapping[Kind, Sequence[Uid]]) -> None:
    """What these messages had until now."""
    now = time.time()
    for (flags, keywords), uids in before.items():
        tx.execute(_INSERT, (mailbox, now, flags, keywords, encode_numbers(uids).decode("ascii")))


def flags_at(tx: Transaction, mailbox: int, at: float) -> dict[int, Kind]:
    """What messages whose flags changed since had at that moment: the first change after it tells."""
    found: dict[int, Kind] = {}
    rows: list[Any] = tx.execute(_AFTER, (mailbox, at)).fetchall()
    for flags, keywords, text in reversed(rows):
        for part in text.split(","):
            first, _, last = part.partition(":")
            found.update(dict.fromkeys(range(int(first), int(last or first) + 1), (flags, keywords)))
    return found


def forget(tx: Transaction, before: float, limit: int) -> int:
    rows: list[Any] = tx.execute(_OLD, (limit,)).fetchall()
    old = [row[0] for row in rows if row[1] < before]
    if old:
        tx.execute(_FORGET, (tx.array(old),))
    return len(old)
