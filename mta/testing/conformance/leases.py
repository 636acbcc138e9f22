"""Rows put into a queue and taken out of it: what the suites of the queue share."""
# SPDX-License-Identifier: Apache-2.0

from mta.model.address import Address
from mta.model.delivery import Leased
from mta.model.message import QueuedRecipient
from mta.testing.conformance.backend import NOW
from mta_hooks.backends import Database
from mta_hooks.backends.queue import QueueFilter

ALL = QueueFilter(everything=True)


def to(address: str, **more: object) -> QueuedRecipient:
    return QueuedRecipient(Address.parse(address), "remote", **more)  # type: ignore[arg-type]


async def lease(db: Database, limit: int = 100, *, now: float = NOW, owner: str = "me", **more: object) -> list[Leased]:
    return await db.queue.lease(owner, limit, 60.0, now=now, **more)  # type: ignore[arg-type]


def addresses(leased: list[Leased]) -> list[str]:
    return [str(one.address) for one in leased]
