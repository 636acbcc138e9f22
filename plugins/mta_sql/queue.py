"""The queue: lease, settle, look.

``ready`` is the one column that says when anybody may take a row: its due time, the end of its lease, or NULL while held.
So one index answers lease and ``next_due``, whatever waits for later: a million deferred rows are never touched.
"""
# SPDX-License-Identifier: Apache-2.0

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mta.model.address import Address
from mta.model.delivery import Leased, Outcome, QueuedMessage, QueueRow, Trouble
from mta.model.errors import TemporaryFailure
from mta.model.ids import BlobId, QueueId, UserId
from mta.model.message import Intake, QueuedRecipient
from mta_hooks.backends.queue import QueueFilter, Shape
from mta_sql import queue_admin, queue_edit
from mta_sql.core import Core
from mta_sql.dialect import Connection
from mta_sql.queue_settle import blame, settle
from mta_sql.spool import mailboxes_of
from mta_sql.text import to_address, to_placement, to_trouble
from mta_sql.transaction import Transaction

SCAN = 2000
"""Due rows looked at one by one before going site by site, when some sites are excluded."""

_DUE = "SELECT id, site FROM queue WHERE ready <= ? ORDER BY ready, id LIMIT ?"
_DUE_AT = "SELECT id FROM queue WHERE site = ? AND ready <= ? ORDER BY ready, id LIMIT ?"
# Every site with rows, by skipping from one to the next in the index.
_SITES = (
    "WITH RECURSIVE sites (site) AS (SELECT min(site) FROM queue WHERE ready IS NOT NULL UNION ALL"
    " SELECT (SELECT min(q.site) FROM queue q WHERE q.site > sites.site AND q.ready IS NOT NULL) FROM sites WHERE sites.site IS NOT NULL)"
    " SELECT site, (SELECT min(q.ready) FROM queue q WHERE q.site = sites.site) AS first FROM sites WHERE site IS NOT NULL"
)
_STILL_DUE = "SELECT id FROM queue WHERE id IN ARRAY ? AND ready <= ? FOR UPDATE SKIP LOCKED"
_TAKE = "UPDATE queue SET ready = ?, owner = ? WHERE id IN ARRAY ?"
_RECLAIM = "UPDATE queue SET ready = CASE WHEN hold = '' THEN due END, owner = '' WHERE owner = ? AND owner <> ''"
_LEASED = (
    "SELECT q.id, q.local, q.domain, q.transport, q.site, q.user_id, q.orcpt, q.notify, q.attempts, q.due, q.last_reply, q.warned,"
    " m.id, m.queue_id, m.origin, m.sender, m.blob_id, m.size, m.skip, m.received_at, m.envid, m.ret, m.smtputf8, m.eightbit,"
    " m.message_id, m.login, q.trouble, q.placement, q.route, m.priority, m.deliver_by, m.by_mode, m.requiretls FROM queue q JOIN queue_messages m ON m.id = q.message_id WHERE q.id IN ARRAY ? ORDER BY q.due, q.id"
)
_NEXT = "SELECT min(ready) FROM queue"
_ANY_DUE = "SELECT 1 FROM queue WHERE ready <= ? LIMIT 1"


class SqlQueue:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def lease(
        self, owner: str, limit: int, seconds: float, *, now: float, exclude: Collection[str] = (), sites: Collection[str] = ()
    ) -> list[Leased]:
        def due(connection: Connection) -> Any:
            return connection.execute(_ANY_DUE, (now,)).fetchone()

        def chosen(connection: Connection) -> list[int]:
            return _chosen(connection, limit, now, exclude, sites)

        if limit <= 0 or await self._core.read(due) is None:  # an idle queue costs no commit
            return []
        ids: list[int] | None = None
        if exclude or sites:  # may look at much: neither while others wait to write, nor in the loop
            ids = await self._core.read(chosen, big=True)
            if not ids:
                return []
        return await self._core.write(lambda tx: _lease(tx, owner, limit, now + seconds, now, ids))

    async def reclaim(self, owner: str) -> int:
        return await self._core.write(lambda tx: _reclaim(tx, owner))

    async def settle(self, outcomes: Sequence[Outcome], submissions: Sequence[Intake] = ()) -> None:
        bodies = [(intake, await self._core.body(intake.content)) for intake in submissions]
        deliveries = [outcome.delivery for outcome in outcomes if outcome.delivery is not None]
        deliveries += [delivery for intake in submissions for delivery in intake.deliveries]
        mailboxes = mailboxes_of(self._core, deliveries)
        await self._core.write(lambda tx: settle(tx, self._core, outcomes, bodies), mailboxes)

    async def blame(self, row: int, trouble: Trouble, hold: str = "") -> None:
        await self._core.write(lambda tx: blame(tx, row, trouble, hold))

    async def next_due(self, *, now: float) -> float | None:
        def read(connection: Connection) -> float | None:
            return connection.execute(_NEXT).fetchone()[0]  # type: ignore[no-any-return]

        return await self._core.read(read)

    async def content(self, blob: BlobId, start: int = 0, length: int | None = None) -> bytes:
        try:
            return await self._core.octets(blob, start, length)
        except OSError as exc:
            raise TemporaryFailure(str(exc)) from exc

    async def count(self, wanted: QueueFilter | None = None, *, now: float = 0.0) -> int:
        return await self._core.read(lambda connection: queue_admin.count(connection, wanted, now), big=True)

    async def list(self, wanted: QueueFilter, *, limit: int = 1000, now: float, after: int = 0) -> list[QueueRow]:
        return await self._core.read(lambda connection: queue_admin.rows(connection, wanted, limit, now, after), big=True)

    async def flush(self, wanted: QueueFilter, *, now: float) -> int:
        return await self._change(wanted, now, queue_admin.flush(now))

    async def hold(self, wanted: QueueFilter, reason: str) -> int:
        return await self._change(wanted, time.time(), queue_admin.hold(reason))

    async def release(self, wanted: QueueFilter, *, now: float) -> int:
        return await self._change(wanted, now, queue_admin.release(now))

    async def delete(self, wanted: QueueFilter) -> int:
        return await self._change(wanted, time.time(), queue_admin.delete())

    async def reroute(self, wanted: QueueFilter, route: str, *, now: float) -> int:
        return await self._change(wanted, now, queue_admin.reroute(route, now))

    async def edit(self, id: QueueId, *, remove: Sequence[int] = (), add: Sequence[QueuedRecipient] = (), now: float) -> bool:
        return await self._core.write(lambda tx: queue_edit.edit(tx, id, remove, add, now))

    async def stats(self, *, now: float) -> Mapping[str, int]:
        return await self._core.read(lambda connection: queue_admin.stats(connection, now), big=True)

    async def shape(self, *, now: float, limit: int = 100) -> Sequence[Shape]:
        return await self._core.read(lambda connection: queue_admin.shape(connection, now, limit), big=True)

    async def _change(self, wanted: QueueFilter, now: float, change: queue_admin.Change) -> int:
        """A piece at a time, so that others commit between them and memory stays bounded."""
        total, after = 0, 0
        while True:

            def choose(connection: Connection, after: int = after) -> list[int]:
                return queue_admin.choose(connection, wanted, now, after, change)

            if not (chosen := await self._core.read(choose, big=True)):
                return total
            for start in range(0, len(chosen), queue_admin.PIECE):
                some = chosen[start : start + queue_admin.PIECE]
                total += await self._core.write(lambda tx, some=some: queue_admin.piece(tx, wanted, now, some, change))  # type: ignore[misc]
            after = chosen[-1]


def _chosen(connection: Connection, limit: int, now: float, exclude: Collection[str], sites: Collection[str]) -> list[int]:
    if not sites:
        return _around(connection, frozenset(exclude), now, limit)
    wanted = set(sites) - set(exclude)
    return _by_site(connection, [site for site in sites if site in wanted], now, limit)


def _lease(tx: Transaction, owner: str, limit: int, until: float, now: float, chosen: Sequence[int] | None) -> list[Leased]:
    """``chosen``: just these, as far as they are still due."""
    if chosen is None:
        ids = [row[0] for row in tx.execute(_DUE + " FOR UPDATE SKIP LOCKED", (now, limit)).fetchall()]
    else:
        ids = [row[0] for row in tx.execute(_STILL_DUE, (tx.array(chosen), now)).fetchall()]
    if not ids:
        return []
    listed = tx.array(ids)
    tx.execute(_TAKE, (until, owner, listed))
    messages: dict[int, QueuedMessage] = {}
    return [_leased(row, messages) for row in tx.execute(_LEASED, (listed,)).fetchall()]


def _reclaim(tx: Transaction, owner: str) -> int:
    count = tx.execute(_RECLAIM, (owner,)).rowcount
    tx.effects.queued |= count > 0
    return count


def _around(connection: Connection, exclude: frozenset[str], now: float, limit: int) -> list[int]:
    """Oldest first, passing over excluded sites; when those fill the front of the queue, go site by site instead."""
    scanned: list[Any] = connection.execute(_DUE, (now, max(SCAN, limit))).fetchall()
    ids = [row[0] for row in scanned if row[1] not in exclude][:limit]
    if len(ids) == limit or len(scanned) < max(SCAN, limit):
        return ids
    waiting: list[Any] = [
        row for row in connection.execute(_SITES).fetchall() if row[0] not in exclude and row[1] is not None and row[1] <= now
    ]
    waiting.sort(key=lambda row: row[1])
    return _by_site(connection, [row[0] for row in waiting], now, limit)


def _by_site(connection: Connection, sites: Sequence[str], now: float, limit: int) -> list[int]:
    ids: list[int] = []
    for site in sites:
        if len(ids) >= limit:
            break
        ids += [row[0] for row in connection.execute(_DUE_AT, (site, now, limit - len(ids))).fetchall()]
    return ids


def _leased(row: Any, messages: dict[int, QueuedMessage]) -> Leased:
    message = messages.get(row[12])
    if message is None:
        message = messages[row[12]] = QueuedMessage(
            id=QueueId(row[13]),
            origin=row[14],
            sender=None if row[15] is None else to_address(row[15]),
            blob=BlobId(row[16]),
            size=row[17],
            skip=row[18],
            received_at=row[19],
            envid=row[20],
            ret=row[21],
            smtputf8=bool(row[22]),
            eightbit=bool(row[23]),
            message_id=row[24],
            user=row[25],
            priority=row[29],
            deliver_by=row[30],
            by_mode=row[31],
            requiretls=bool(row[32]),
        )
    return Leased(
        row=row[0],
        message=message,
        address=Address(row[1], row[2]),
        transport=row[3],
        site=row[4],
        user=None if row[5] is None else UserId(row[5]),
        orcpt=row[6],
        notify=frozenset(row[7].split()),
        attempts=row[8],
        due=row[9],
        last_reply=row[10],
        delay_warned=bool(row[11]),
        trouble=to_trouble(row[26]),
        placement=to_placement(row[27]),
        route=row[28],
    )
