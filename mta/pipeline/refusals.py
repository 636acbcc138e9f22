"""What was refused or deferred, for the trace: noted at once in memory, written later in batches, never more than the bounds allow.

An attacker decides how often this is called, so nothing here waits, and everything is bounded: what is alike within a second is
counted in one record, a record has at most 4 KiB of steps, at most ``MOST`` records wait, and new ones spend from an allowance
that fills at ``RATE`` a second. What is above it is counted by stage in one record without names; what one client has too much of,
in one with its address. What cannot be written is lost; mail is not.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mta.model.errors import MailError, StorageDead
from mta.model.ids import QueueId
from mta.model.reply import Reply
from mta.obs.log import Log
from mta.pipeline.session import MailSession
from mta.pipeline.transaction import MailTransaction
from mta_hooks.backends.database import TraceRecord, Traces
from mta_hooks.services import Clock

RATE = 20.0
"""Records a second that one worker writes in the long run: with the records' bounds at most 7 MiB a minute."""
BURST = 500.0
MOST = 1000
MOST_OF_ONE = 50
"""Records of one client between two batches: others shall be seen beside it."""
PAUSE = 1.0
LARGEST_STEPS = 4096
_LONGEST = 500
_RECIPIENTS = 20

Key = tuple[str, ...]


class Refusals:
    """One for all doors of a worker. Also those who have no database get one (``traces`` None): then it keeps everything, for a look."""

    def __init__(self, traces: Traces | None, clock: Clock, log: Log) -> None:
        self._traces, self._clock, self._log = traces, clock, log
        self._pending: dict[Key, TraceRecord] = {}
        self._clients: dict[str, int] = {}
        self._allowance, self._filled = BURST, clock.monotonic()
        self._woken = asyncio.Event()

    def add(
        self,
        stage: str,
        reply: Reply,
        session: MailSession,
        *,
        transaction: MailTransaction | None = None,
        recipients: Sequence[str] = (),
        steps: Sequence[Mapping[str, Any]] = (),
        plugin: str = "",
        size: int = 0,
        message_id: str = "",
    ) -> None:
        sender = str(transaction.sender or "") if transaction is not None else ""
        single = transaction.id if stage in ("data", "message") and transaction is not None else ""
        key = (
            stage,
            session.client_ip,
            str(reply.code),
            reply.enhanced,
            plugin,
            sender,
            recipients[0] if recipients else "",
            single,
        )
        now = self._clock.now()
        if (known := self._pending.get(key)) is not None:
            self._pending[key] = replace(known, count=known.count + 1, until=now)
            return
        client = session.client_ip
        mine = self._clients.get(client, 0)
        if mine >= MOST_OF_ONE and self._traces is not None:
            self._overflow(stage, reply, now, client)
            return
        if not self._may():
            self._overflow(stage, reply, now, "")
            return
        self._clients[client] = mine + 1
        self._pending[key] = TraceRecord(
            id=transaction.id if transaction is not None else QueueId(""),
            at=now,
            origin=transaction.origin if transaction is not None else session.protocol,
            sender=sender[:_LONGEST],
            message_id=message_id[:_LONGEST],
            size=size,
            client=session.client_ip,
            user=session.user[:_LONGEST],
            steps=bounded(steps),
            recipients=tuple(who[:_LONGEST] for who in recipients[:_RECIPIENTS]),
            state="deferred" if reply.temporary else "refused",
            stage=stage,
            reply=str(reply)[:_LONGEST],
            until=now,
        )
        self._woken.set()

    def _may(self) -> bool:
        if self._traces is None:
            return True
        if len(self._pending) >= MOST:
            return False
        now = self._clock.monotonic()
        self._allowance = min(self._allowance + (now - self._filled) * RATE, BURST)
        self._filled = now
        if self._allowance < 1.0:
            return False
        self._allowance -= 1.0
        return True

    def _overflow(self, stage: str, reply: Reply, now: float, client: str) -> None:
        state = "deferred" if reply.temporary else "refused"
        known = self._pending.get((stage, state, client))
        if known is None:
            about = {"state": state, "stage": stage, "reply": "more than is kept", "count": 0}
            known = TraceRecord(QueueId(""), now, "", "", "", 0, client, "", **about)  # type: ignore[arg-type]
            self._woken.set()
        self._pending[stage, state, client] = replace(known, count=known.count + 1, until=now)

    def take(self) -> list[TraceRecord]:
        """What was noted since the last call."""
        records = list(self._pending.values())
        self._pending = {}
        self._clients = {}
        return records

    async def run(self) -> None:
        """Write, until cancelled."""
        while True:
            await self._woken.wait()
            await asyncio.sleep(PAUSE)
            self._woken.clear()
            await self.flush()

    async def flush(self) -> None:
        records = self.take()
        if not records or self._traces is None:
            return
        try:
            await self._traces.keep_refused(records)
        except StorageDead:
            return  # the worker is on its way out, told by the database itself
        except MailError as exc:
            self._log.warning("trace.refused_lost", records=len(records), reason=str(exc))


def bounded(steps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The last steps, those that decided, as far as there is room."""
    room = LARGEST_STEPS
    kept: list[Mapping[str, Any]] = []
    for step in reversed(steps):
        room -= len(json.dumps(step, default=str))
        if room < 0:
            break
        kept.append(step)
    return kept[::-1]
