"""Policies that were fetched: one row for each domain, kept until it expires (RFC 8461 §3.3, §10.2)."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from mta_hooks.services import PluginDatabase
from mta_mtasts.policy import Policy, read_policy

METADATA = sa.MetaData()

POLICIES = sa.Table(
    "mtasts_policies",
    METADATA,
    sa.Column("domain", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),  # of the TXT record it was fetched for
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("fetched", sa.Float, nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
    sa.Column("used", sa.Float, nullable=False),
    sa.Index("mtasts_policies_expires", "expires"),
)


@dataclass(frozen=True, slots=True)
class Kept:
    """``fetched``, ``expires`` and ``used`` are wall clock."""

    domain: str
    id: str
    policy: Policy
    fetched: float
    expires: float
    used: float


class Cache:
    def __init__(self, db: PluginDatabase) -> None:
        self._db = db

    async def find(self, domain: str, now: float) -> Kept | None:
        """What is kept and has not expired."""
        p = POLICIES.c
        rows = await self._db.read(POLICIES.select().where(p.domain == domain, p.expires > now, p.fetched <= now + 3600))
        return _kept(rows[0]) if rows else None

    async def keep(self, domain: str, id: str, policy: Policy, now: float) -> Kept:
        kept = Kept(domain, id, policy, now, now + policy.max_age, now)
        row = {
            "domain": domain,
            "id": id,
            "policy": "\n".join(policy.lines()),
            "fetched": now,
            "expires": kept.expires,
            "used": now,
        }
        await self._db.write(POLICIES.delete().where(POLICIES.c.domain == domain), POLICIES.insert().values(**row))
        return kept

    async def note_use(self, domain: str, now: float) -> None:
        await self._db.write(POLICIES.update().where(POLICIES.c.domain == domain).values(used=now))

    async def stale(self, *, fetched_before: float, used_after: float, limit: int) -> list[str]:
        """Domains whose policy should be looked at again, the oldest first."""
        p = POLICIES.c
        found = sa.select(p.domain).where(p.fetched < fetched_before, p.used > used_after).order_by(p.fetched).limit(limit)
        return [row.domain for row in await self._db.read(found)]

    async def expire(self, now: float) -> int:
        [count] = await self._db.write(POLICIES.delete().where(POLICIES.c.expires <= now))
        return count

    async def forget(self, domain: str) -> int:
        [count] = await self._db.write(POLICIES.delete().where(POLICIES.c.domain == domain))
        return count

    async def list(self, text: str, limit: int) -> Sequence[Kept]:
        found = POLICIES.select().order_by(POLICIES.c.domain).limit(limit)
        if text:
            found = found.where(POLICIES.c.domain.contains(text.lower(), autoescape=True))
        return [_kept(row) for row in await self._db.read(found)]


def _kept(row: Any) -> Kept:
    return Kept(row.domain, row.id, read_policy(row.policy.encode()), row.fetched, row.expires, row.used)
