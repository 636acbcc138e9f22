"""Rows of the outbox: notifications, and mailbox events (RFC 5423) for those who implement ``mailbox_event``."""
# SPDX-License-Identifier: Apache-2.0

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mta.model.mailbox_events import Kind, flag_events, flag_names
from mta.model.message import Notification
from mta_sql.core import Core
from mta_sql.text import to_json
from mta_sql.transaction import Transaction

_INSERT = "INSERT INTO outbox (hook, payload, made, ready) VALUES (?, ?, ?, ?)"
_PLACE = (
    "SELECT users.local, users.domain, mailboxes.name FROM mailboxes JOIN users ON users.id = mailboxes.user_id"
    " WHERE mailboxes.id = ?"
)
_OWNER = "SELECT local, domain FROM users WHERE id = ?"


def notify(tx: Transaction, core: Core, notifications: Iterable[Notification]) -> None:
    """Write those that somebody implements."""
    now = time.time()
    rows = [(n.hook, to_json(n.payload), now, 0.0) for n in notifications if n.hook in core.options.durable_hooks]
    if rows:
        tx.executemany(_INSERT, rows)
        tx.effects.outbox = True


def record(
    tx: Transaction,
    core: Core,
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
    _write(tx, core, event, f"{local}@{domain}", name, uids, flag_names(flags, keywords), message_id, queue_id, details)


def record_subscription(tx: Transaction, core: Core, user: int, name: str, subscribed: bool) -> None:
    """MailboxSubscribe, MailboxUnSubscribe: of a name, which need not be a mailbox."""
    row: Any = tx.execute(_OWNER, (user,)).fetchone()
    if row is not None:
        _write(tx, core, "MailboxSubscribe" if subscribed else "MailboxUnSubscribe", f"{row[0]}@{row[1]}", name)


def record_flags(tx: Transaction, core: Core, mailbox: int, changes: Mapping[tuple[Kind, Kind], Sequence[int]]) -> None:
    """What changes of flags are called; ``changes``: (old, new) -> uids."""
    told: dict[tuple[str, tuple[str, ...], Kind], list[int]] = {}
    for (old, new), uids in changes.items():
        for event, names in flag_events(old, new):
            told.setdefault((event, names, new), []).extend(uids)
    for (event, names, (flags, keywords)), uids in told.items():
        record(tx, core, event, mailbox, sorted(uids), flags=flags, keywords=keywords, details={"changed": names})


def _write(
    tx: Transaction,
    core: Core,
    event: str,
    user: str,
    mailbox: str,
    uids: Sequence[int] = (),
    flags: Sequence[str] = (),
    message_id: str = "",
    queue_id: str = "",
    details: Mapping[str, Any] | None = None,
) -> None:
    wanted = core.options.mailbox_events
    if wanted is not None and event not in wanted:
        return
    payload = {
        "event": event,
        "user": user,
        "mailbox": mailbox,
        "at": time.time(),
        "uids": list(uids),
        "flags": list(flags),
        "message_id": message_id,
        "queue_id": queue_id,
        "details": dict(details or {}),
    }
    tx.execute(_INSERT, ("mailbox_event", to_json(payload), payload["at"], 0.0))
    tx.effects.outbox = True
