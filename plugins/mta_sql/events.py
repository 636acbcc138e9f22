"""Rows of the outbox: notifications, and mailbox events (RFC 5423) for those who implement ``mailbox_event``."""
# SPDX-License-Identifier: Apache-2.0

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mta.model.message import Flags, Notification
from mta_sql.core import Core
from mta_sql.text import to_json
from mta_sql.transaction import Transaction

_INSERT = "INSERT INTO outbox (hook, payload, ready) VALUES (?, ?, ?)"
_PLACE = (
    "SELECT users.local, users.domain, mailboxes.name FROM mailboxes JOIN users ON users.id = mailboxes.user_id"
    " WHERE mailboxes.id = ?"
)
_NAMES = {
    Flags.SEEN: "\\Seen",
    Flags.ANSWERED: "\\Answered",
    Flags.FLAGGED: "\\Flagged",
    Flags.DELETED: "\\Deleted",
    Flags.DRAFT: "\\Draft",
}


def notify(tx: Transaction, core: Core, notifications: Iterable[Notification]) -> None:
    """Write those that somebody implements."""
    rows = [(n.hook, to_json(n.payload), 0.0) for n in notifications if n.hook in core.options.durable_hooks]
    if rows:
        tx.executemany(_INSERT, rows)
        tx.effects.outbox = True


def record(
    tx: Transaction,
    event: str,
    mailbox: int,
    uids: Sequence[int] = (),
    *,
    flags: int = 0,
    keywords: str = "",
    message_id: str = "",
    queue_id: str = "",
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write one mailbox event; called only when ``core.events``. The payload has the fields of MailboxEvent."""
    row: Any = tx.execute(_PLACE, (mailbox,)).fetchone()
    if row is None:
        return
    local, domain, name = row
    payload = {
        "event": event,
        "user": f"{local}@{domain}",
        "mailbox": name,
        "at": time.time(),
        "uids": list(uids),
        "flags": flag_names(flags) + keywords.split(),
        "message_id": message_id,
        "queue_id": queue_id,
        "details": dict(details or {}),
    }
    tx.execute(_INSERT, ("mailbox_event", to_json(payload), 0.0))
    tx.effects.outbox = True


def flag_names(flags: int) -> list[str]:
    return [name for flag, name in _NAMES.items() if flags & flag]
