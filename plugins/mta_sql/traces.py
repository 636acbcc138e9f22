"""``Traces``: what became of each message, found by queue id, Message-ID, address or time.

Accepted mail costs its acceptance one row: the words by which it is found (``trace_terms``) are written later, by
housekeeping, in order of ids up to a mark. Until then a search reads what lies above the mark. Refusals come in batches, at a
bounded rate, and bring their words along. Steps of later events are rows of their own (``trace_steps``).
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from mta.model.ids import QueueId
from mta_hooks.backends.database import TraceRecord
from mta_sql.core import Core
from mta_sql.dialect import Connection
from mta_sql.key_values import SqlKeyValues
from mta_sql.queue_admin import like
from mta_sql.text import clean, from_json, to_json
from mta_sql.transaction import Transaction

__all__ = ["SqlKeyValues", "SqlTraces"]

ACCEPTED, REFUSED = 0, 1
SETTLED = 60.0
"""Seconds after which no row with a smaller id appears any more: a transaction that inserted it is long over."""
_LONGEST = 400

_TAKEN = "SELECT queue_id, made, origin, sender, message_id, size, client, login, steps, recipients, id FROM traces"
_NOT_TAKEN = "SELECT queue_id, made, origin, sender, message_id, size, client, login, steps, recipients, id, state, stage, reply, count, last FROM refusals"
_WITHIN = " made >= ? AND made <= ?"
_BY_PLUGIN = " AND steps LIKE ? ESCAPE '!'"
_BY_PLUGIN_LATER = " AND (steps LIKE ? ESCAPE '!' OR EXISTS (SELECT 1 FROM trace_steps s WHERE s.queue_id = traces.queue_id AND s.step LIKE ? ESCAPE '!'))"
_LATEST = " ORDER BY made DESC, id DESC LIMIT ?"
_TERMS = "SELECT row_id FROM trace_terms WHERE term = ? AND kind = ? ORDER BY row_id DESC LIMIT ?"
_TAIL = (
    "SELECT id FROM traces WHERE id > (SELECT coalesce(max(value), 0) FROM counters WHERE name = 'traces_indexed') AND (lower(message_id) = ?"
    " OR lower(message_id) = ? OR lower(sender) = ? OR client = ? OR recipients LIKE ? ESCAPE '!') ORDER BY id DESC LIMIT ?"
)
_STEPS = "SELECT queue_id, step FROM trace_steps WHERE queue_id IN ARRAY ? ORDER BY id"
_REFUSE = (
    "INSERT INTO refusals (queue_id, made, last, count, state, stage, origin, sender, recipients, message_id, size, client, login, reply, steps)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"
)
_TERM = "INSERT INTO trace_terms (term, kind, row_id) VALUES (?, ?, ?) ON CONFLICT (term, kind, row_id) DO NOTHING"
_NO_TERM = "DELETE FROM trace_terms WHERE term = ? AND kind = ? AND row_id = ?"
_WORDS = "queue_id, sender, recipients, message_id, client"
_UNINDEXED = f"SELECT id, {_WORDS} FROM traces WHERE id > ? AND made < ? ORDER BY id LIMIT ?"  # noqa: S608
_SET_MARK = (
    "INSERT INTO counters (name, value) VALUES ('traces_indexed', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_LOWER_MARK = (
    "UPDATE counters SET value = (SELECT coalesce(max(id), 0) FROM traces)"
    " WHERE name = 'traces_indexed' AND value > (SELECT coalesce(max(id), 0) FROM traces)"
)
_OLD = (
    f"SELECT id, {_WORDS} FROM traces WHERE made < ? AND NOT EXISTS"  # noqa: S608
    " (SELECT 1 FROM queue_messages q WHERE q.queue_id = traces.queue_id) ORDER BY made LIMIT ?"
)
_OLD_REFUSALS = f"SELECT id, {_WORDS} FROM refusals WHERE made < ? ORDER BY made LIMIT ?"  # noqa: S608
_NTH_REFUSAL = "SELECT id FROM refusals ORDER BY id DESC LIMIT 1 OFFSET ?"
_SPARE_REFUSALS = f"SELECT id, {_WORDS} FROM refusals WHERE id <= ? ORDER BY id LIMIT ?"  # noqa: S608


class SqlTraces:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def find(
        self,
        text: str = "",
        *,
        limit: int = 50,
        since: float = 0.0,
        until: float = float("inf"),
        accepted: bool = True,
        refused: bool = True,
        plugin: str = "",
    ) -> list[TraceRecord]:
        search = Search(clean(text), since, min(until, 1e15), plugin, limit)

        def read(connection: Connection) -> list[TraceRecord]:
            found = search.taken(connection) if accepted else []
            if refused:
                found += search.not_taken(connection)
            return sorted(found, key=lambda record: -record.at)[:limit]

        return await self._core.read(read, big=True)

    async def keep_refused(self, records: Sequence[TraceRecord]) -> None:
        rows = [(record, _refusal(record)) for record in records]

        def run(tx: Transaction) -> None:
            terms: list[tuple[str, int, int]] = []
            for record, row in rows:
                number = tx.execute(_REFUSE, row).fetchone()[0]
                words = (record.id, record.sender, "\n".join(record.recipients), record.message_id, record.client)
                terms += [(term, REFUSED, number) for term in terms_of(words)]
            tx.executemany(_TERM, sorted(terms))

        await self._core.write(run)


def _refusal(record: TraceRecord) -> tuple[Any, ...]:
    return (
        clean(record.id), record.at, record.until or record.at, record.count, record.state, record.stage, record.origin,
        clean(record.sender), clean("\n".join(["", *record.recipients, ""])), clean(record.message_id), record.size,
        clean(record.client), clean(record.user), clean(record.reply), to_json(record.steps),
    )  # fmt: skip


def terms_of(words: Sequence[str]) -> set[str]:
    """What a row is found by; ``words``: queue id, sender, recipients, one a line, Message-ID, client."""
    queue_id, sender, recipients, message_id, client = words
    found = {queue_id, sender, message_id.strip("<>"), client, *recipients.split("\n")}
    return {clean(word).lower()[:_LONGEST] for word in found if word}


class Search:
    """One question, over both tables."""

    def __init__(self, text: str, since: float, until: float, plugin: str, limit: int) -> None:
        self._text, self._since, self._until, self._limit = text, since, until, limit
        self._plugin = f'%"plugin":"{like(plugin)}"%' if plugin else ""

    def taken(self, connection: Connection) -> list[TraceRecord]:
        narrowed = [self._plugin, self._plugin] if self._plugin else []
        rows = self._rows(connection, _TAKEN, ACCEPTED, _BY_PLUGIN_LATER if self._plugin else "", narrowed)
        steps: dict[str, list[Any]] = {row[0]: from_json(row[8]) for row in rows}
        for queue_id, step in connection.execute(_STEPS, (connection.array(list(steps)),)).fetchall():
            steps[queue_id].append(from_json(step))
        return [_record(row, steps[row[0]]) for row in rows]

    def not_taken(self, connection: Connection) -> list[TraceRecord]:
        rows = self._rows(
            connection, _NOT_TAKEN, REFUSED, _BY_PLUGIN if self._plugin else "", [self._plugin] if self._plugin else []
        )
        return [
            replace(_record(row, from_json(row[8])), state=row[11], stage=row[12], reply=row[13], count=row[14], until=row[15])
            for row in rows
        ]

    def _rows(self, connection: Connection, select: str, kind: int, extra: str, narrowed: list[Any]) -> list[Any]:
        within = f"{_WITHIN}{extra}"
        params = [self._since, self._until, *narrowed, self._limit]
        if not self._text:
            return connection.execute(f"{select} WHERE{within}{_LATEST}", params).fetchall()
        if kind == ACCEPTED and (
            rows := connection.execute(f"{select} WHERE queue_id = ? AND{within}{_LATEST}", [self._text, *params]).fetchall()
        ):
            return rows
        ids = self._found(connection, kind)
        if not ids:
            return []
        return connection.execute(f"{select} WHERE id IN ARRAY ? AND{within}{_LATEST}", [connection.array(ids), *params]).fetchall()

    def _found(self, connection: Connection, kind: int) -> list[int]:
        """Ids of rows that have the word, newest first; more than asked for, since time and plugin narrow them."""
        bare = self._text.strip("<>").lower()[:_LONGEST]
        most = max(self._limit * 20, 10_000)
        ids = [row[0] for row in connection.execute(_TERMS, (bare, kind, most)).fetchall()]
        if kind == ACCEPTED:
            tail = (bare, f"<{bare}>", bare, bare, f"%\n{like(bare)}\n%", most)
            ids += [row[0] for row in connection.execute(_TAIL, tail).fetchall()]
        return ids


def _record(row: Any, steps: list[Any]) -> TraceRecord:
    queue_id, at, origin, sender, message_id, size, client, login = row[:8]
    return TraceRecord(QueueId(queue_id), at, origin, sender, message_id, size, client, login, steps, _lines(row[9]))


def _lines(recipients: str) -> tuple[str, ...]:
    return tuple(line for line in recipients.split("\n") if line)


# ---- housekeeping, in pieces: each returns how many rows it saw


def index(tx: Transaction, before: float, piece: int) -> int:
    """Write the words of the next rows that arrived ``before``."""
    mark: Any = tx.execute("SELECT value FROM counters WHERE name = 'traces_indexed'").fetchone()
    rows: list[Any] = tx.execute(_UNINDEXED, (0 if mark is None else mark[0], before, piece)).fetchall()
    if rows:
        tx.executemany(_TERM, sorted((term, ACCEPTED, row[0]) for row in rows for term in terms_of(row[1:])))
        tx.execute(_SET_MARK, (rows[-1][0],))
    return len(rows)


def drop_traces(tx: Transaction, before: float, piece: int) -> int:
    rows: list[Any] = tx.execute(_OLD, (before, piece)).fetchall()
    tx.execute("DELETE FROM trace_steps WHERE queue_id IN ARRAY ?", (tx.array([row[1] for row in rows]),))
    _drop(tx, "traces", ACCEPTED, rows)
    tx.execute(_LOWER_MARK)  # an id may be given again when the newest row is gone
    return len(rows)


def drop_refusals(tx: Transaction, before: float, most: int, piece: int) -> int:
    rows: list[Any] = tx.execute(_OLD_REFUSALS, (before, piece)).fetchall()
    if not rows:
        last: Any = tx.execute(_NTH_REFUSAL, (most,)).fetchone()
        rows = tx.execute(_SPARE_REFUSALS, (last[0], piece)).fetchall() if last is not None else []
    _drop(tx, "refusals", REFUSED, rows)
    return len(rows)


def _drop(tx: Transaction, table: str, kind: int, rows: Iterable[Any]) -> None:
    rows = list(rows)
    tx.executemany(_NO_TERM, sorted((term, kind, row[0]) for row in rows for term in terms_of(row[1:])))
    tx.execute(f"DELETE FROM {table} WHERE id IN ARRAY ?", (tx.array([row[0] for row in rows]),))  # noqa: S608
