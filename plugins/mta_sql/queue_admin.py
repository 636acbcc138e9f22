"""What operators do with the queue: list, count, flush, hold, release, re-route, delete by filter; what waits, and for whom.

Rows are looked at in the order of their ids. For a change of many, rows are chosen by a read, behind the last one of the read before,
then changed in pieces, each a transaction, as far as they are still what is wanted. So a million rows are neither in memory at once nor
locked at once, and nobody who writes waits while they are looked through.
"""
# SPDX-License-Identifier: Apache-2.0

import heapq
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from mta.model.address import Address
from mta.model.delivery import ERROR_HOLD, QUARANTINE, RESOLVE, QueueRow, State
from mta.model.ids import QueueId
from mta_hooks.backends.queue import LEASE, SHAPE_AGES, QueueFilter, Shape
from mta_sql.dialect import Connection
from mta_sql.queue_settle import remove_messages
from mta_sql.text import clean, to_json, to_trouble
from mta_sql.transaction import Transaction

PIECE = 2000
"""Rows of one transaction: it takes some ten milliseconds, which those who accept mail wait for."""
CHOSEN = 100_000
"""Rows chosen by one read, some 4 MiB of ids: PostgreSQL looks through the whole table for each."""
FEW = 2000
"""Rows of a domain up to which they are found by the index on sites; more fill a page as quickly among all."""
STRETCH = 50_000
"""Rows whose ages are counted at once: what SQLite sorts is in memory."""

_FROM = " FROM queue q JOIN queue_messages m ON m.id = q.message_id"
_LIST = (
    "SELECT q.id, m.queue_id, m.sender, q.local, q.domain, q.attempts, m.received_at, q.due, m.size, q.last_reply, q.hold, q.owner, q.ready, q.trouble, "
    "m.origin, m.login, m.priority, q.route, q.transport, q.orcpt, q.notify"
) + _FROM
_ALONE = " FROM queue q"
_AT_SITE = "q.site IN (?, 'local')"  # of rows for a domain: mailboxes' are counted apart
_MANY = f"SELECT count(*) FROM (SELECT 1 FROM queue q WHERE {_AT_SITE} LIMIT ?) AS found"  # noqa: S608
_WHICH = "SELECT q.id"
_FOUND = "SELECT q.id, q.message_id, q.local, q.domain" + _FROM
_STATES = {
    "held": ("q.ready IS NULL AND q.hold NOT LIKE 'error: %' AND q.hold NOT LIKE 'quarantine: %'", False),
    "error": ("q.ready IS NULL AND q.hold LIKE 'error: %'", False),
    "quarantine": ("q.ready IS NULL AND q.hold LIKE 'quarantine: %'", False),
    "due": ("q.ready <= ?", True),
    "leased": ("q.owner <> '' AND +q.ready > ?", True),
    "waiting": ("+q.ready > ? AND q.owner = ''", True),
}
_COUNT = "SELECT count(*) FROM queue"
# Each part is counted in an index ("+", here and above, keeps SQLite from the one on ready, by which it would go through nearly all
# rows in no order); what waits, nearly all, is what is left.
_STATS = (
    "SELECT (SELECT count(*) FROM queue), (SELECT count(*) FROM queue WHERE ready <= ?),"
    " (SELECT count(*) FROM queue WHERE owner <> '' AND +ready > ?), (SELECT count(*) FROM queue WHERE hold <> ''),"
    " (SELECT count(*) FROM queue WHERE hold <> '' AND hold LIKE 'error: %'),"
    " (SELECT count(*) FROM queue WHERE hold <> '' AND hold LIKE 'quarantine: %')"
)
_AGES = "".join(", sum(CASE WHEN m.received_at > ? THEN 1 ELSE 0 END)" for _ in SHAPE_AGES)
_STRETCH = "SELECT max(id) FROM (SELECT id FROM queue WHERE id > ? ORDER BY id LIMIT ?) AS stretch"
# The expression keeps SQLite from the index on sites, by which it would fetch rows in no order.
_SHAPE = f"SELECT q.site || '', count(*){_AGES}{_FROM} WHERE q.id > ? AND q.id <= ? GROUP BY 1"  # noqa: S608
_STEP = "INSERT INTO trace_steps (queue_id, step) SELECT queue_id, ? FROM queue_messages WHERE id = ?"
_FLUSH = "UPDATE queue SET due = ?, ready = ? WHERE id IN ARRAY ?"
# Whoever delivers a row at this moment stays its owner until the result is written: it must not be edited.
_HOLD = "UPDATE queue SET hold = ?, ready = NULL WHERE id IN ARRAY ?"
_RELEASE = "UPDATE queue SET hold = '', due = ?, ready = CASE WHEN owner = '' THEN ? ELSE ? END, trouble = NULL WHERE id IN ARRAY ?"
_REROUTE = "UPDATE queue SET route = ?, due = ?, ready = CASE WHEN hold = '' THEN ? END WHERE id IN ARRAY ?"
_DELETE = "DELETE FROM queue WHERE id IN ARRAY ?"
_FREE = "q.hold = '' AND NOT (q.owner <> '' AND q.ready > ?)"


class Found(NamedTuple):
    """One row that a filter chose."""

    row: int
    message: int
    local: str
    domain: str


class Change(NamedTuple):
    """``extra``: which rows it is for at all, with the values of its parameters."""

    run: Callable[[Transaction, Sequence[Found]], None]
    extra: str = "1 = 1"
    params: tuple[Any, ...] = ()


def _conditions(wanted: QueueFilter, now: float, array: Any) -> tuple[str, list[Any]]:
    """The WHERE clause; nothing at all is matched by an empty filter unless ``everything``."""
    parts: list[str] = []
    params: list[Any] = []

    def add(text: str, *values: Any) -> None:
        parts.append(text)
        params.extend(values)

    if wanted.rows:
        add("q.id IN ARRAY ?", array(wanted.rows))
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
            "(lower(q.local || '@' || q.domain) LIKE ? ESCAPE '!' OR lower(coalesce(m.sender, '')) LIKE ? ESCAPE '!'"
            " OR lower(q.last_reply) LIKE ? ESCAPE '!')",
            pattern,
            pattern,
            pattern,
        )
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


def _narrow(connection: Connection, wanted: QueueFilter) -> tuple[str, tuple[str, ...], str]:
    """One more condition, its values, and ``q.id`` as it leaves the choice of an index to that."""
    domain = (wanted.domain or wanted.recipient.rpartition("@")[2]).lower()
    if not domain or connection.execute(_MANY, (clean(domain), FEW + 1)).fetchone()[0] > FEW:
        return "", (), "q.id"
    return " AND " + _AT_SITE, (clean(domain),), "+q.id"


def like(text: str) -> str:
    """The text in lower case, as part of a LIKE pattern with ``ESCAPE '!'``."""
    for special in "!%_":
        text = text.replace(special, "!" + special)
    return clean(text).lower()


def rows(connection: Connection, wanted: QueueFilter, limit: int, now: float, after: int = 0) -> list[QueueRow]:
    where, params = _conditions(wanted, now, connection.array)
    narrow, domain, id = _narrow(connection, wanted)
    where += (" AND " if where else " WHERE ") + f"{id} > ?" + narrow
    found = connection.execute(_LIST + where + f" ORDER BY {id} LIMIT ?", (*params, after, *domain, limit)).fetchall()
    return [_row(row, now) for row in found]


def count(connection: Connection, wanted: QueueFilter | None, now: float) -> int:
    if wanted is None or wanted == QueueFilter(everything=True):
        return int(connection.execute(_COUNT).fetchone()[0])
    where, params = _conditions(wanted, now, connection.array)
    narrow, domain, _ = _narrow(connection, wanted)
    return int(connection.execute("SELECT count(*)" + _source(where) + where + narrow, (*params, *domain)).fetchone()[0])


def _source(where: str) -> str:
    """The tables that the conditions need."""
    return _FROM if "m." in where else _ALONE


def _row(row: Any, now: float) -> QueueRow:
    number, queue_id, sender, local, domain, attempts, received_at, due, size, last_reply, hold, owner, ready, trouble, *of = row
    return QueueRow(
        row=number,
        id=QueueId(queue_id),
        sender=sender or "",
        recipient=str(Address(local, domain)),
        state=_state(hold, owner, ready, now),
        attempts=attempts,
        received_at=received_at,
        due=due,
        size=size,
        last_reply=last_reply,
        hold=hold,
        trouble=to_trouble(trouble),
        origin=of[0],
        user=of[1],
        priority=of[2],
        route=of[3],
        transport=of[4],
        orcpt=of[5],
        notify=tuple(of[6].split()),
    )


def _state(hold: str, owner: str, ready: float | None, now: float) -> State:
    if ready is not None:
        return "due" if ready <= now else "leased" if owner else "waiting"
    return "error" if hold.startswith(ERROR_HOLD) else "quarantine" if hold.startswith(QUARANTINE) else "held"


# ---- changes


def choose(connection: Connection, wanted: QueueFilter, now: float, after: int, change: Change) -> list[int]:
    """The next ``CHOSEN`` rows behind ``after`` that would be changed."""
    where, params = _conditions(wanted, now, connection.array)
    narrow, domain, id = _narrow(connection, wanted)
    where += (" AND " if where else " WHERE ") + f"{change.extra} AND {id} > ?" + narrow
    sql = _WHICH + _source(where) + where + f" ORDER BY {id} LIMIT ?"
    return [row[0] for row in connection.execute(sql, (*params, *change.params, after, *domain, CHOSEN)).fetchall()]


def piece(tx: Transaction, wanted: QueueFilter, now: float, chosen: Sequence[int], change: Change) -> int:
    """Change those of the chosen rows that are still wanted; how many these were."""
    where, params = _conditions(wanted, now, tx.array)
    where += (" AND " if where else " WHERE ") + f"{change.extra} AND q.id IN ARRAY ?"
    sql = _FOUND + where + " ORDER BY q.id FOR UPDATE"
    found = [Found(*row) for row in tx.execute(sql, (*params, *change.params, tx.array(chosen))).fetchall()]
    if found:
        change.run(tx, found)
    return len(found)


def flush(now: float) -> Change:
    """Rows that wait; held ones and those in somebody's hands stay as they are."""

    def run(tx: Transaction, found: Sequence[Found]) -> None:
        tx.execute(_FLUSH, (now, now, ids(tx, found)))
        tx.effects.queued = True

    return Change(run, _FREE, (now,))


def hold(reason: str) -> Change:
    def run(tx: Transaction, found: Sequence[Found]) -> None:
        note(tx, found, "held", reason=reason)
        tx.execute(_HOLD, (clean(reason) or "held", ids(tx, found)))

    return Change(run, "q.hold = ''")


def release(now: float) -> Change:
    def run(tx: Transaction, found: Sequence[Found]) -> None:
        note(tx, found, "released")
        tx.execute(_RELEASE, (now, now, now + LEASE, ids(tx, found)))
        tx.effects.queued = True

    return Change(run, "q.hold <> ''")


def reroute(route: str, now: float) -> Change:
    """Not those in somebody's hands; mailboxes have no next hop, but any address can be looked up again."""
    which = "1 = 1" if route == RESOLVE else "q.transport = 'remote'"

    def run(tx: Transaction, found: Sequence[Found]) -> None:
        note(tx, found, "rerouted", route=route)
        tx.execute(_REROUTE, (clean(route), now, now, ids(tx, found)))
        tx.effects.queued = True

    return Change(run, which + " AND NOT (q.hold = '' AND q.owner <> '' AND q.ready > ?)", (now,))


def delete() -> Change:
    def run(tx: Transaction, found: Sequence[Found]) -> None:
        messages = note(tx, found, "deleted")
        tx.execute(_DELETE, (ids(tx, found),))
        remove_messages(tx, messages)

    return Change(run)


def ids(tx: Transaction, found: Sequence[Found]) -> Any:
    return tx.array([one.row for one in found])


def note(tx: Transaction, found: Sequence[Found], result: str, **more: str) -> list[int]:
    """A step of the trace for each message: what was done to whom; returns the messages."""
    messages: dict[int, list[str]] = {}
    for one in found:
        messages.setdefault(one.message, []).append(str(Address(one.local, one.domain)))
    said = {name: clean(value) for name, value in more.items() if value}
    step = {"at": time.time(), "stage": "operator", "result": result, **said}
    tx.executemany(_STEP, [(to_json({**step, "recipients": who[:100]}), message) for message, who in messages.items()])
    return sorted(messages)


# ---- figures


def stats(connection: Connection, now: float) -> dict[str, int]:
    total, due, leased, held, error, quarantine = map(int, connection.execute(_STATS, (now, now)).fetchone())
    waiting = total - due - leased - held
    return {
        "total": total,
        "due": due,
        "waiting": waiting,
        "leased": leased,
        "held": held,
        "error": error,
        "quarantine": quarantine,
    }


def shape(connection: Connection, now: float, limit: int) -> list[Shape]:
    sites: dict[str, list[int]] = {}
    borders, after = [now - age for age in SHAPE_AGES], 0
    while (last := connection.execute(_STRETCH, (after, STRETCH)).fetchone()[0]) is not None:
        for site, *counts in connection.execute(_SHAPE, (*borders, after, last)).fetchall():
            known = sites.get(site)
            sites[site] = (
                [int(n) for n in counts] if known is None else [old + int(n) for old, n in zip(known, counts, strict=True)]
            )
        after = last
    most = heapq.nsmallest(limit, sites.items(), key=lambda item: (-item[1][0], item[0]))
    return [Shape(site, total, tuple(b - a for a, b in pairwise([0, *younger, total]))) for site, (total, *younger) in most]
