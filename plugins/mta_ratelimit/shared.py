"""What workers tell each other, through a table: each its own numbers, every few seconds, and only those that are worth it."""
# SPDX-License-Identifier: Apache-2.0

import sqlalchemy as sa

from mta_hooks.services import PluginDatabase
from mta_ratelimit.counts import Count, Counts

METADATA = sa.MetaData()
COUNTS = sa.Table(
    "ratelimit_counts",
    METADATA,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("slot", sa.BigInteger, primary_key=True),
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("until", sa.Float, nullable=False),  # wall clock from which it counts for nothing
    sa.Index("ratelimit_counts_until", "until"),
)
AT_ONCE = 500
"""Keys told in one transaction; the others wait for the next round."""
HEARD = 10_000


async def tell(db: PluginDatabase, worker: str, counts: Counts) -> None:
    told: list[tuple[str, Count, int]] = []
    statements: list[sa.Executable] = []
    for key, count in counts.news():
        row = sa.and_(COUNTS.c.key == key, COUNTS.c.slot == count.slot, COUNTS.c.worker == worker)
        until = (count.slot + 2) * count.period
        statements.append(COUNTS.delete().where(row))
        statements.append(COUNTS.insert().values(key=key, slot=count.slot, worker=worker, count=count.current, until=until))
        told.append((key, count, count.current))
        if len(told) >= AT_ONCE:
            break
    if statements:
        await db.write(*statements)
        for _key, count, number in told:
            count.told = number


async def hear(db: PluginDatabase, worker: str, counts: Counts, now: float) -> None:
    c = COUNTS.c
    found = (
        sa.select(c.key, c.slot, sa.func.sum(c.count)).where(c.worker != worker, c.until > now).group_by(c.key, c.slot).limit(HEARD)
    )
    counts.learn((row[0], int(row[1]), int(row[2])) for row in await db.read(found))


async def forget(db: PluginDatabase, now: float) -> None:
    await db.write(COUNTS.delete().where(COUNTS.c.until <= now))
