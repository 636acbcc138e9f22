"""Commands that change the queue: the ``queue_admin`` hooks of the config's plugins and drop-in hooks are asked for which rows."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import click

from mta.app.bus import tell
from mta.app.places import Places
from mta.cli.access import database, host_of, loaded
from mta.model.address import Address
from mta.model.delivery import QueueRow
from mta.model.ids import QueueId
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.pluginhost.dropin import DropIns
from mta.pluginhost.host import HookHost
from mta_hooks.backends.queue import Queue, QueueFilter
from mta_hooks.views import Envelope

T = TypeVar("T")

MOST = 1_000_000
"""Rows of one command that plugins are shown."""
QUARANTINE = "quarantine: "


class VettedQueue:
    """The operations of ``Queue`` that commands use; each is done for the rows that plugins leave."""

    def __init__(self, queue: Queue, host: HookHost) -> None:
        self._queue = queue
        self._host = host

    async def flush(self, wanted: QueueFilter, *, now: float) -> int:
        return await self._each("retry", wanted, {}, lambda one: self._queue.flush(one, now=now))

    async def hold(self, wanted: QueueFilter, reason: str) -> int:
        return await self._each("hold", wanted, {"reason": reason}, lambda one: self._queue.hold(one, reason))

    async def release(self, wanted: QueueFilter, *, now: float) -> int:
        return await self._each("release", wanted, {}, lambda one: self._queue.release(one, now=now))

    async def delete(self, wanted: QueueFilter) -> int:
        return await self._each("delete", wanted, {}, self._queue.delete)

    async def _each(
        self, action: str, wanted: QueueFilter, data: dict[str, str], work: Callable[[QueueFilter], Awaitable[int]]
    ) -> int:
        """Raises what a plugin raised instead of an answer: Refused, TemporaryFailure."""
        if self._host.queue_admin is None:
            return await work(wanted)
        rows = [row for row in await self._queue.list(wanted, limit=MOST, now=time.time()) if _concerns(action, row)]
        suspects = [row for row in rows if action == "release" and row.hold.startswith(QUARANTINE)]
        chosen = await self._asked(action, [row for row in rows if row not in suspects], data)
        chosen += await self._asked("release_quarantine", suspects, data)
        done = 0
        for one in chosen:
            for who in one.recipients:
                done += await work(replace(QueueFilter(), ids=(QueueId(one.id),), recipient=str(who), state=wanted.state))
        return done

    async def _asked(self, action: str, rows: Sequence[QueueRow], data: dict[str, str]) -> list[Envelope]:
        plan = self._host.queue_admin
        if not rows or plan is None:
            return []
        answer = await plan.pipeline("envelopes", action=action, envelopes=_envelopes(rows), data={"by": "command", **data})
        return list(answer)


def _concerns(action: str, row: QueueRow) -> bool:
    held = row.state in ("held", "error", "quarantine")
    return {"retry": not held, "hold": not held, "release": held}.get(action, True)


def _envelopes(rows: Sequence[QueueRow]) -> tuple[Envelope, ...]:
    """One for each message and reason to be held."""
    found: dict[tuple[QueueId, str], list[QueueRow]] = {}
    for row in rows:
        found.setdefault((row.id, row.hold), []).append(row)
    return tuple(
        Envelope(
            id=id,
            sender=_address(ones[0].sender) if ones[0].sender else None,
            recipients=tuple(_address(one.recipient) for one in ones),
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


def change_queue(ctx: click.Context, work: Callable[[Vetted], Awaitable[T]]) -> T:
    """Run ``work`` over the vetted queue of the open database; then wake the running server."""
    config = loaded(ctx)
    host = host_of(config)
    if config.config.hooks_dir:
        DropIns(host, config.config.hooks_dir).scan()

    async def run() -> T:
        tasks = Tasks(Log())
        async with database(config, host) as opened:
            host.services.kv = opened.kv
            host.start(tasks, jobs=False)
            try:
                return await work(Vetted(VettedQueue(opened.queue, host)))
            finally:
                host.stop()
                await tasks.close()

    result = asyncio.run(run())
    tell(Places(config.config.data_dir).bus, "queue")
    return result
