"""What is counted: by day, domain, policy and kind of failure."""
# SPDX-License-Identifier: Apache-2.0

import json
import zlib
from collections import Counter as Counts
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from mta.model.tls import TlsResult
from mta_hooks.services import PluginDatabase

DAY = 86400
SPREAD = 4 * 3600
MAX_KEYS = 10_000
"""Counted between two writings at most: bounds what a hostile domain with many hosts can grow."""
MAX_REASON = 200

METADATA = sa.MetaData()

RESULTS = sa.Table(
    "tlsrpt_results",
    METADATA,
    sa.Column("row", sa.Integer, primary_key=True),
    sa.Column("day", sa.Integer, nullable=False),  # since 1970, UTC
    sa.Column("domain", sa.Text, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),  # JSON: type, lines, mx
    sa.Column("failure", sa.Text, nullable=False),  # "" for sessions that went well
    sa.Column("detail", sa.Text, nullable=False),  # JSON: our address, host, its address, reason
    sa.Column("sessions", sa.Integer, nullable=False),
    sa.Index("tlsrpt_results_day", "day", "domain"),
)


class Key(NamedTuple):
    day: int
    domain: str
    policy: str
    failure: str
    detail: str


class Counter:
    def __init__(self) -> None:
        self._counts: Counts[Key] = Counts()

    def add(self, result: TlsResult, now: float) -> None:
        policy = result.policy
        kind = policy.source or "no-policy-found"
        text = json.dumps([kind, list(policy.policy), list(policy.mx)])
        failure = policy.failure or result.failure
        detail = json.dumps([result.local, result.mx, result.address, result.reason[:MAX_REASON]]) if failure else ""
        key = Key(int(now // DAY), result.domain, text, failure, detail)
        if key in self._counts or len(self._counts) < MAX_KEYS:
            self._counts[key] += 1

    def take(self) -> Mapping[Key, int]:
        taken, self._counts = self._counts, Counts()
        return taken


class Results:
    def __init__(self, db: PluginDatabase) -> None:
        self._db = db

    async def add(self, counts: Mapping[Key, int]) -> None:
        r = RESULTS.c
        for key, count in counts.items():
            same = sa.and_(*(r[name] == value for name, value in key._asdict().items()))
            [touched] = await self._db.write(RESULTS.update().where(same).values(sessions=r.sessions + count))
            if not touched:
                await self._db.write(RESULTS.insert().values(**key._asdict(), sessions=count))

    async def waiting(self, today: int) -> list[tuple[int, str]]:
        r = RESULTS.c
        found = sa.select(r.day, r.domain).where(r.day < today).distinct().order_by(r.day, r.domain).limit(10_000)
        return [(row.day, row.domain) for row in await self._db.read(found)]

    async def of(self, day: int, domain: str) -> Sequence[tuple[Key, int]]:
        r = RESULTS.c
        found = RESULTS.select().where(r.day == day, r.domain == domain).order_by(r.row).limit(10_000)
        return [(Key(row.day, row.domain, row.policy, row.failure, row.detail), row.sessions) for row in await self._db.read(found)]

    async def forget(self, day: int, domain: str) -> None:
        await self._db.write(RESULTS.delete().where(RESULTS.c.day == day, RESULTS.c.domain == domain))


def is_over(day: int, domain: str, now: float) -> bool:
    return now >= (day + 1) * DAY + zlib.crc32(domain.encode()) % SPREAD
