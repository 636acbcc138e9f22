"""What operators do with the queue: list, flush, hold, release, delete by filter."""
# SPDX-License-Identifier: Apache-2.0

import time
from collections.abc import Sequence
from typing import Any

from mta.model.address import Address
from mta.model.delivery import ERROR_HOLD, QueueRow, State
from mta.model.ids import QueueId
from mta_hooks.backends.queue import QueueFilter
from mta_sql.dialect import Connection
from mta_sql.queue_settle import remove_messages
from mta_sql.text import clean, to_json, to_trouble
from mta_sql.transaction import Transaction

_FROM = " FROM queue q JOIN queue_messages m ON m.id = q.message_id"
_LIST = (
    "SELECT q.id, m.queue_id, m.sender, q.local, q.domain, q.attempts, m.received_at, q.due, m.size, q.last_reply, q.hold, q.owner, q.ready, q.trouble, "
    "m.origin, m.login"
) + _FROM
_STATES = {
    "held": ("q.ready IS NULL AND q.hold NOT LIKE 'error: %'", False),
    "error": ("q.ready IS NULL AND q.hold LIKE 'error: %'", False),
    "due": ("q.ready <= ?", True),
    "leased": ("q.ready > ? AND q.owner <> ''", True),
    "waiting": ("q.ready > ? AND q.owner = ''", True),
}
_STATS = (
    "SELECT count(*), coalesce(sum(CASE WHEN ready <= ? THEN 1 ELSE 0 END), 0),"
    " coalesce(sum(CASE WHEN ready > ? AND owner = '' THEN 1 ELSE 0 END), 0),"
    " coalesce(sum(CASE WHEN ready > ? AND owner <> '' THEN 1 ELSE 0 END), 0),"
    " coalesce(sum(CASE WHEN ready IS NULL THEN 1 ELSE 0 END), 0),"
    " coalesce(sum(CASE WHEN ready IS NULL AND hold LIKE 'error: %' THEN 1 ELSE 0 END), 0) FROM queue"
)
_STEP = "INSERT INTO trace_steps (queue_id, step) SELECT queue_id, ? FROM queue_messages WHERE id = ?"


def _conditions(wanted: QueueFilter, now: float, array: Any) -> tuple[str, list[Any]]:
    """The WHERE clause; nothing at all is matched by an empty filter unless ``everything``."""
    parts: list[str] = []
    params: list[Any] = []

    def add(text: str, *values: Any) -> None:
        parts.append(text)
        params.extend(values)

    if wanted.ids:
        add("m.queue_id IN ARRAY ?", array(wanted.ids))
    if wanted.domain:
        add("q.domain = ?", wanted.domain.lower())
    if wanted.sender is not None:
        add("lower(coalesce(m.sender, '')) = ?", clean(wanted.sender).lower())
    if wanted.recipient:
        add("lower(q.local || '@' || q.domain) = ?", clean(wanted.recipient).lower())
    if wanted.text:
        pattern = "%" + like(wanted.text) + "%"
        add(
            "(lower(q.local || '@' || q.domain) LIKE ? ESCAPE '!' OR lower(coalesce(m.sender, '')) LIKE ? ESCAPE '!'",
            pattern,
            pattern,
        )
        parts[-1] += " OR lower(q.last_reply) LIKE ? ESCAPE '!')"
        params.append(pattern)
    if wanted.state:
        condition, timed = _STATES.get(wanted.state, ("1 = 0", False))
        add(condition, *([now] if timed else []))
    for name, value in (("plugin", wanted.plugin), ("hook", wanted.hook)):
        if value:
            add("lower(q.trouble) LIKE ? ESCAPE '!'", f'%"{name}":"{like(value)}"%')
    if wanted.older_than is not None:
        add("m.received_at < ?", wanted.older_than)
    if not parts and not wanted.everything:
        parts.append("1 = 0")
    return (" WHERE " + " AND ".join(parts) if parts else ""), params


def like(text: str) -> str:
    """The text in lower case, as part of a LIKE pattern with ``ESCAPE '!'``."""
    for special in "!%_":
        text = text.replace(special, "!" + special)
    return clean(text).lower()


def rows(connection: Connection, wanted: QueueFilter, limit: int, now: float) -> list[QueueRow]:
    where, params = _conditions(wanted, now, connection.array)
    found = connection.execute(_LIST + where + " ORDER BY q.id LIMIT ?", (*params, limit)).fetchall()
    return [_row(row, now) for row in found]


def _row(row: Any, now: float) -> QueueRow:
    number, queue_id, sender, local, domain, attempts, received_at, due, size, last_reply, hold, owner, ready, trouble, *of = row
    free: State = "due" if ready is not None and ready <= now else "leased" if owner else "waiting"
    state: State = free if ready is not None else "error" if hold.startswith(ERROR_HOLD) else "held"
    return QueueRow(
        row=number,
        id=QueueId(queue_id),
        sender=sender or "",
        recipient=str(Address(local, domain)),
        state=state,
        attempts=attempts,
        received_at=received_at,
        due=due,
        size=size,
        last_reply=last_reply,
        hold=hold,
        trouble=to_trouble(trouble),
        origin=of[0],
        user=of[1],
    )


def _matching(tx: Transaction, wanted: QueueFilter, now: float, extra: str = "1 = 1", *extra_params: Any) -> list[tuple[int, int]]:
    where, params = _conditions(wanted, now, tx.array)
    where += (" AND " if where else " WHERE ") + extra
    found = tx.execute("SELECT q.id, q.message_id" + _FROM + where, (*params, *extra_params)).fetchall()
    return [(row[0], row[1]) for row in found]


def flush(tx: Transaction, wanted: QueueFilter, now: float) -> int:
    """Rows that wait; held ones and those in somebody's hands stay as they are."""
    found = _matching(tx, wanted, now, "q.ready IS NOT NULL AND NOT (q.owner <> '' AND q.ready > ?)", now)
    tx.execute("UPDATE queue SET due = ?, ready = ? WHERE id IN ARRAY ?", (now, now, tx.array([row for row, _ in found])))
    tx.effects.queued |= bool(found)
    return len(found)


def hold(tx: Transaction, wanted: QueueFilter, reason: str) -> int:
    found = _matching(tx, wanted, time.time(), "q.hold = ''")
    _note(tx, found, "held", reason)
    tx.execute(
        "UPDATE queue SET hold = ?, ready = NULL, owner = '' WHERE id IN ARRAY ?",
        (clean(reason) or "held", tx.array([row for row, _ in found])),
    )
    return len(found)


def release(tx: Transaction, wanted: QueueFilter, now: float) -> int:
    found = _matching(tx, wanted, now, "q.hold <> ''")
    _note(tx, found, "released")
    tx.execute(
        "UPDATE queue SET hold = '', due = ?, ready = ?, owner = '', trouble = NULL WHERE id IN ARRAY ?",
        (now, now, tx.array([row for row, _ in found])),
    )
    tx.effects.queued |= bool(found)
    return len(found)


def delete(tx: Transaction, wanted: QueueFilter) -> int:
    found = _matching(tx, wanted, time.time())
    messages = _note(tx, found, "deleted")
    tx.execute("DELETE FROM queue WHERE id IN ARRAY ?", (tx.array([row for row, _ in found]),))
    remove_messages(tx, messages)
    return len(found)


def _note(tx: Transaction, found: Sequence[tuple[int, int]], result: str, reason: str = "") -> list[int]:
    """A step of the trace for each message; returns the messages."""
    messages = sorted({message for _, message in found})
    step = to_json({"at": time.time(), "stage": "operator", "result": result, **({"reason": clean(reason)} if reason else {})})
    tx.executemany(_STEP, [(step, message) for message in messages])
    return messages


def stats(connection: Connection, now: float) -> dict[str, int]:
    row = connection.execute(_STATS, (now, now, now)).fetchone()
    return dict(zip(("total", "due", "waiting", "leased", "held", "error"), map(int, row), strict=True))
