"""What is remembered: triplets, and who need not wait."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from typing import Any, Literal

import sqlalchemy as sa

from mta.model.errors import AlreadyExists
from mta_greylist.decide import Decision, Seen, Triplet
from mta_greylist.tables import ALLOWED, TRIPLETS
from mta_hooks.services import PluginDatabase

By = Literal["operator", "passes", "mail"]

PIECE = 1000
"""Rows deleted in one transaction: everybody waits for it."""
FRESH = 86400.0
"""Seconds for which an entry is not written again."""


class Memory:
    def __init__(self, db: PluginDatabase) -> None:
        self._db = db

    # ---- triplets

    async def seen(self, triplet: Triplet) -> Seen | None:
        t = TRIPLETS.c
        rows = await self._db.read(sa.select(t.first, t.last, t.passes).where(_is(triplet)))
        return Seen(*rows[0]) if rows else None

    async def is_crowded(self, network: str, most: int) -> bool:
        """Does the network have so many strangers waiting?"""
        t = TRIPLETS.c
        waiting = sa.select(t.id).where(t.client == network, t.passes == 0).limit(most).subquery()
        [row] = await self._db.read(sa.select(sa.func.count()).select_from(waiting))
        return bool(row[0] >= most)

    async def note(self, triplet: Triplet, decision: Decision, now: float) -> None:
        match decision.reason:
            case "new":
                values = {"client": triplet.client, "sender": triplet.sender, "recipient": triplet.recipient}
                try:
                    await self._db.write(TRIPLETS.insert().values(**values, first=now, last=now, passes=0))
                except AlreadyExists:  # two connections at once
                    return
            case "too late":
                await self._db.write(TRIPLETS.update().where(_is(triplet)).values(first=now, last=now))
            case "came back" | "known":
                await self._db.write(TRIPLETS.update().where(_is(triplet)).values(last=now, passes=TRIPLETS.c.passes + 1))
            case "too early":
                return

    async def passed(self, network: str) -> int:
        """Triplets of the network that came back."""
        t = TRIPLETS.c
        [row] = await self._db.read(sa.select(sa.func.count()).where(t.client == network, t.passes > 0))
        return int(row[0])

    async def triplets(self, text: str, limit: int) -> Sequence[Any]:
        """Newest first; ``text``: part of network, sender or recipient."""
        t = TRIPLETS.c
        found = TRIPLETS.select().order_by(t.last.desc(), t.id.desc()).limit(limit)
        if text:
            found = found.where(
                sa.or_(*(column.contains(text.lower(), autoescape=True) for column in (t.client, t.sender, t.recipient)))
            )
        return await self._db.read(found)

    # ---- who need not wait

    async def is_allowed(self, entries: Sequence[str]) -> bool:
        return bool(await self._db.read(sa.select(ALLOWED.c.entry).where(ALLOWED.c.entry.in_(entries)).limit(1)))

    async def allow(self, entry: str, by: By, now: float) -> None:
        """An entry of the operator stays his."""
        if by == "operator":
            await self._db.write(ALLOWED.delete().where(ALLOWED.c.entry == entry), _row(entry, by, now))
            return
        [touched] = await self._db.write(ALLOWED.update().where(ALLOWED.c.entry == entry).values(last=now))
        if not touched:
            try:
                await self._db.write(_row(entry, by, now))
            except AlreadyExists:
                return

    async def remember(self, senders: Sequence[str], now: float) -> None:
        """Those whom somebody of ours writes to; what was written within a day is not written again."""
        for start in range(0, len(senders), 100):
            piece = senders[start : start + 100]
            fresh = sa.select(ALLOWED.c.entry).where(ALLOWED.c.entry.in_(piece), ALLOWED.c.last > now - FRESH)
            known = {row.entry for row in await self._db.read(fresh)}
            for sender in piece:
                if sender not in known:
                    await self.allow(sender, "mail", now)

    async def allowed(self, text: str, limit: int) -> Sequence[Any]:
        found = ALLOWED.select().order_by(ALLOWED.c.entry).limit(limit)
        return await self._db.read(found.where(ALLOWED.c.entry.contains(text.lower(), autoescape=True)) if text else found)

    # ---- the end

    async def forget(self, entry: str) -> int:
        """An entry of either list: a network, a sender, or a recipient. Returns how many rows."""
        t = TRIPLETS.c
        triplets = TRIPLETS.delete().where(sa.or_(t.client == entry, t.sender == entry, t.recipient == entry))
        return sum(await self._db.write(ALLOWED.delete().where(ALLOWED.c.entry == entry), triplets))

    async def expire(self, now: float, *, window: float, keep: float) -> int:
        t, a = TRIPLETS.c, ALLOWED.c
        gone = 0
        for table, key, old in (
            (TRIPLETS, t.id, sa.and_(t.passes == 0, t.last < now - window)),
            (TRIPLETS, t.id, sa.and_(t.passes > 0, t.last < now - keep)),
            (ALLOWED, a.entry, sa.and_(a.made_by != "operator", a.last < now - keep)),
        ):
            while True:
                [count] = await self._db.write(table.delete().where(key.in_(sa.select(key).where(old).limit(PIECE))))
                gone += count
                if count < PIECE:
                    break
        return gone


def _is(triplet: Triplet) -> sa.ColumnElement[bool]:
    t = TRIPLETS.c
    return sa.and_(t.client == triplet.client, t.sender == triplet.sender, t.recipient == triplet.recipient)


def _row(entry: str, by: By, now: float) -> sa.Insert:
    return ALLOWED.insert().values(entry=entry, made_by=by, last=now)
