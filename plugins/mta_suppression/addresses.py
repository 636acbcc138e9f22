"""What is known of addresses that bounced."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from mta.model.errors import AlreadyExists
from mta_hooks import Address
from mta_hooks.services import PluginDatabase
from mta_suppression.config import SuppressionConfig

DAY = 86400.0
PIECE = 1000
"""Rows deleted in one transaction: everybody waits for it."""

METADATA = sa.MetaData()

TABLE = sa.Table(
    "suppression_addresses",
    METADATA,
    sa.Column("address", sa.Text, primary_key=True),  # in lower case
    sa.Column("bounces", sa.Integer, nullable=False),  # days with one
    sa.Column("first", sa.Float, nullable=False),
    sa.Column("last", sa.Float, nullable=False),
    sa.Column("until", sa.Float, nullable=False),  # 0: not left out; what the operator adds has no end
    sa.Column("made_by", sa.Text, nullable=False),  # bounces, operator
    sa.Column("reason", sa.Text, nullable=False),
    sa.Index("suppression_addresses_last", "last"),
)
FOREVER = 1e12


class Addresses:
    def __init__(self, db: PluginDatabase) -> None:
        self._db = db

    async def suppressed(self, addresses: Sequence[Address], now: float) -> list[str]:
        """Those of them that are left out."""
        found: list[str] = []
        keys = sorted({str(one).lower() for one in addresses})
        for start in range(0, len(keys), 100):
            wanted = sa.select(TABLE.c.address).where(TABLE.c.address.in_(keys[start : start + 100]), TABLE.c.until > now)
            found += [row.address for row in await self._db.read(wanted)]
        return found

    async def bounced(self, address: str, reply: str, now: float, config: SuppressionConfig) -> bool:
        """Count it; True when the address is left out from now on. Bounces of one day are one."""
        rows = await self._db.read(TABLE.select().where(TABLE.c.address == address))
        if not rows:
            until = now + config.keep if config.after == 1 else 0.0
            values = {"bounces": 1, "first": now, "last": now, "until": until, "made_by": "bounces", "reason": reply[:500]}
            try:
                await self._db.write(TABLE.insert().values(address=address, **values))
            except AlreadyExists:  # two at once are one
                return False
            return until > 0.0
        [row] = rows
        if row.until > now or now - row.last < DAY:
            return False
        bounces, first = (row.bounces + 1, row.first) if now - row.first <= config.within else (1, now)
        until = now + config.keep if bounces >= config.after else 0.0
        change = TABLE.update().where(TABLE.c.address == address, TABLE.c.last == row.last)
        await self._db.write(change.values(bounces=bounces, first=first, last=now, until=until, reason=reply[:500]))
        return until > 0.0

    async def add(self, address: str, reason: str, now: float) -> None:
        values = {"bounces": 0, "first": now, "last": now, "until": FOREVER, "made_by": "operator", "reason": reason}
        await self._db.write(TABLE.delete().where(TABLE.c.address == address), TABLE.insert().values(address=address, **values))

    async def remove(self, address: str) -> int:
        [count] = await self._db.write(TABLE.delete().where(TABLE.c.address == address))
        return count

    async def list(self, text: str, now: float, limit: int) -> Sequence[Any]:
        """Left out, newest first; ``text``: part of the address."""
        found = TABLE.select().where(TABLE.c.until > now).order_by(TABLE.c.last.desc()).limit(limit)
        return await self._db.read(found.where(TABLE.c.address.contains(text.lower(), autoescape=True)) if text else found)

    async def expire(self, now: float, config: SuppressionConfig) -> int:
        """Those whose time is over, and those that were not counted again."""
        old = sa.and_(TABLE.c.until <= now, TABLE.c.last < now - config.within)
        gone = 0
        while True:
            some = sa.select(TABLE.c.address).where(old).limit(PIECE)
            [count] = await self._db.write(TABLE.delete().where(TABLE.c.address.in_(some)))
            gone += count
            if count < PIECE:
                return gone
