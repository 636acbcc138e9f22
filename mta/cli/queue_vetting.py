"""Commands that change the queue: the ``queue_admin`` hooks of the config's plugins and drop-in hooks are asked for which rows.

They are asked about all rows, a page at a time, before anything is done; what is kept meanwhile is the number of each row.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import time
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import click

from mta.app.bus import tell
from mta.app.places import Places
from mta.cli.access import database, host_of, loaded
from mta.model.address import Address
from mta.model.delivery import QUARANTINE, RESOLVE, QueueRow
from mta.model.ids import QueueId
from mta.model.message import QueuedRecipient
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.pluginhost.dropin import DropIns
from mta.pluginhost.host import HookHost
from mta_hooks.backends.queue import Queue, QueueFilter
from mta_hooks.views import Envelope

T = TypeVar("T")
Work = Callable[[QueueFilter], Awaitable[int]]

PAGE = 1000
"""Rows that plugins are shown at a time."""
AT_ONCE = 2000
"""Rows named in one filter."""


class VettedQueue:
    """The operations of ``Queue`` that commands use; each is done for the rows that plugins leave. ``dry``: only counted."""

    def __init__(self, queue: Queue, host: HookHost, *, dry: bool = False) -> None:
        self._queue = queue
        self._host = host
        self._dry = dry

    async def flush(self, wanted: QueueFilter, *, now: float) -> int:
        return await self._each("retry", wanted, {}, lambda one: self._queue.flush(one, now=now))

    async def hold(self, wanted: QueueFilter, reason: str) -> int:
        return await self._each("hold", wanted, {"reason": reason}, lambda one: self._queue.hold(one, reason))

    async def release(self, wanted: QueueFilter, *, now: float) -> int:
        return await self._each("release", wanted, {}, lambda one: self._queue.release(one, now=now))

    async def delete(self, wanted: QueueFilter) -> int:
        return await self._each("delete", wanted, {}, self._queue.delete)

    async def reroute(self, wanted: QueueFilter, route: str, *, now: float) -> int:
        action = "requeue" if route == RESOLVE else "reroute"
        return await self._each(action, wanted, {"route": route}, lambda one: self._queue.reroute(one, route, now=now))

    async def count(self, wanted: QueueFilter) -> int:
        return await self._queue.count(wanted, now=time.time())

    async def edit(
        self, id: QueueId, add: Sequence[Address], remove: Sequence[Address], put: Mapping[Address, Address]
    ) -> tuple[int, int]:
        """How many recipients were taken out of the message and put into it. ``put``: others in place of some. Raises UsageError."""
        rows = [row async for page in self._pages(QueueFilter(ids=(id,))) for row in page]
        found = {_address(row.recipient): row for row in rows}
        if missing := [str(who) for who in (*remove, *put) if who not in found]:
            raise click.UsageError(f"{', '.join(missing)}: no recipient of {id} that waits")
        gone = [*remove, *put]
        data = {"add": " ".join(map(str, [*add, *put.values()])), "remove": " ".join(map(str, gone))}
        if self._host.queue_admin is not None and len(await self._vet("edit", rows, data)) < len(rows):
            return 0, 0
        new = [_anew(who) for who in add] + [_anew(new, found[old]) for old, new in put.items()]
        if not self._dry:
            remaining = tuple(row.row for row in rows if _address(row.recipient) in gone)
            if not await self._queue.edit(id, remove=remaining, add=new, now=time.time()):
                raise click.UsageError(f"{id} is being delivered at this moment, or is gone: look again")
        return len(gone), len(new)

    async def _each(self, action: str, wanted: QueueFilter, data: dict[str, str], work: Work) -> int:
        """Raises what a plugin raised instead of an answer: Refused, TemporaryFailure."""
        if self._host.queue_admin is None:
            return await self._counted(action, wanted) if self._dry else await work(wanted)
        chosen = array("q")
        async for page in self._pages(wanted):
            chosen.extend(await self._vet(action, [row for row in page if concerns(action, row)], data))
        if self._dry:
            return len(chosen)
        done = 0
        for start in range(0, len(chosen), AT_ONCE):
            some = tuple(chosen[start : start + AT_ONCE])
            done += await work(QueueFilter(rows=some, state=wanted.state))
        return done

    async def _counted(self, action: str, wanted: QueueFilter) -> int:
        now = time.time()
        states = CONCERNED.get(action)
        if states is None:
            return await self._queue.count(wanted, now=now)
        if wanted.state:
            return await self._queue.count(wanted, now=now) if wanted.state in states else 0
        return sum([await self._queue.count(replace(wanted, state=state), now=now) for state in states])

    async def _pages(self, wanted: QueueFilter) -> AsyncIterator[list[QueueRow]]:
        after = 0
        while page := await self._queue.list(wanted, limit=PAGE, now=time.time(), after=after):
            after = page[-1].row
            yield page

    async def _vet(self, action: str, rows: Sequence[QueueRow], data: dict[str, str]) -> list[int]:
        suspects = [row for row in rows if action == "release" and row.hold.startswith(QUARANTINE)]
        left = await self._asked(action, [row for row in rows if row not in suspects] if suspects else rows, data)
        return left + await self._asked("release_quarantine", suspects, data)

    async def _asked(self, action: str, rows: Sequence[QueueRow], data: dict[str, str]) -> list[int]:
        plan = self._host.queue_admin
        if not rows or plan is None:
            return []
        answer: Sequence[Envelope] = await plan.pipeline(
            "envelopes", action=action, envelopes=_envelopes(rows), data={"by": "command", **data}
        )
        chosen = {(one.id, one.hold, who) for one in answer for who in one.recipients}
        return [row.row for row in rows if (row.id, row.hold, _address(row.recipient)) in chosen]


CONCERNED: Mapping[str, tuple[str, ...]] = {
    "retry": ("due", "waiting"),
    "hold": ("due", "waiting", "leased"),
    "release": ("held", "error", "quarantine"),
    "reroute": ("due", "waiting", "held", "error", "quarantine"),
    "requeue": ("due", "waiting", "held", "error", "quarantine"),
}
"""States of the rows that an action is for; others: any."""


def concerns(action: str, row: QueueRow) -> bool:
    states = CONCERNED.get(action)
    return states is None or row.state in states or (action == "retry" and row.state == "leased")


def _anew(who: Address, old: QueueRow | None = None) -> QueuedRecipient:
    """To be looked up when its turn comes; with what the sender asked for the recipient before it."""
    if old is None:
        return QueuedRecipient(who, "remote", route=RESOLVE)
    orcpt = old.orcpt or f"rfc822;{old.recipient}"
    return QueuedRecipient(who, "remote", orcpt=orcpt, notify=frozenset(old.notify), hold=old.hold, route=RESOLVE)


def _envelopes(rows: Sequence[QueueRow]) -> tuple[Envelope, ...]:
    """One for each message and reason to be held."""
    found: dict[tuple[QueueId, str], list[QueueRow]] = {}
    for row in rows:
        found.setdefault((row.id, row.hold), []).append(row)
    return tuple(
        Envelope(
            id=id,
            sender=_address(ones[0].sender) if ones[0].sender else None,
            recipients=tuple(dict.fromkeys(_address(one.recipient) for one in ones)),
            origin=ones[0].origin,
            received_at=ones[0].received_at,
            attempts=max(one.attempts for one in ones),
            user=ones[0].user,
            hold=hold,
        )
        for (id, hold), ones in found.items()
    )


def _address(text: str) -> Address:
    return Address.parse(text) if "@" in text else Address(text, "")


class Vetted:
    """What a command's work is given in place of the database."""

    def __init__(self, queue: VettedQueue) -> None:
        self.queue = queue


def change_queue(ctx: click.Context, work: Callable[[Vetted], Awaitable[T]], *, dry: bool = False, flush: bool = False) -> T:
    """Run ``work`` over the vetted queue of the open database; then wake the running server. ``flush``: sites that were down are dialed."""
    config = loaded(ctx)
    host = host_of(config)
    if config.config.hooks_dir:
        DropIns(host, config.config.hooks_dir).scan()
    bus = Places(config.config.data_dir).bus

    async def run() -> T:
        tasks = Tasks(Log())
        async with database(config, host) as opened:
            host.services.kv = opened.kv
            host.start(tasks, jobs=False)
            try:
                return await work(Vetted(VettedQueue(opened.queue, host, dry=dry)))
            finally:
                host.stop()
                await tasks.close()

    if flush and not dry:
        tell(bus, "flush")  # before the first row is due: it would be put off again
    result = asyncio.run(run())
    if not dry:
        tell(bus, "flush" if flush else "queue")
    return result
