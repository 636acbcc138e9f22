"""What a worker had in hand when it died in a hook: counted, and put aside the second time, so that it cannot go on killing workers.

Queue rows go to the error hold, outbox rows become dead letters, files of the maildrop are set aside; each names the plugin. Work whose
hook only waited may be innocent (a thread of another hook, the operator's kill): it needs more deaths.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable, Sequence
from dataclasses import replace

from mta.dispatch.conclude import reason_of
from mta.model.delivery import QueueRow, Trouble
from mta.model.ids import QueueId
from mta.obs.log import Log
from mta.pluginhost.flight import Suspect
from mta_hooks.backends.database import Database
from mta_hooks.backends.queue import QueueFilter
from mta_hooks.services import Clock

CRASHES, WAITED = 2, 5
"""Deaths in a row that are too many: of work whose hook was on the processor, and of work whose hook waited."""
DIED = "the worker died"
_REMEMBERED = 7 * 86400.0
_AGAIN = 2.0
_ROWS = 1000
KEYS = "mta/crashes"
"""Whose keys count crashes of outbox rows and maildrop files: no plugin has such a name."""


class Blame:
    """``set_aside(name, problem)`` takes a file out of the maildrop."""

    def __init__(self, database: Database, clock: Clock, log: Log, set_aside: Callable[[str, str], None]) -> None:
        self._database, self._clock, self._log, self._set_aside = database, clock, log, set_aside

    async def settle(self, suspects: Sequence[Suspect]) -> None:
        """Raises TemporaryFailure: nothing is lost, call it again."""
        for one in suspects:
            self._log.error(
                "queue.worker_died", what=one.kind, id=one.key, plugin=one.plugin, hook=one.hook, file=one.file, certain=one.certain
            )
            if one.kind == "queue":
                await self._rows(one)
            elif one.kind == "outbox":
                await self._note(one)
            else:
                await self._file(one)

    async def _rows(self, one: Suspect) -> None:
        found = await self._database.queue.list(QueueFilter(ids=(QueueId(one.key),)), limit=_ROWS, now=self._clock.now())
        for row in found:
            if (not one.rows or row.row in one.rows) and row.state not in ("held", "error", "quarantine"):
                await self._row(row, one)

    async def _row(self, row: QueueRow, one: Suspect) -> None:
        trouble = Trouble(one.plugin, one.hook, DIED, one.file, one.line, at=self._clock.now(), crashes=1)
        if row.trouble is not None and row.trouble.crashes:
            trouble = replace(trouble, crashes=row.trouble.crashes + 1)
        hold = reason_of(trouble) if _too_many(trouble.crashes, one) else ""
        await self._database.queue.blame(row.row, trouble, hold)
        if hold:
            self._log.error(
                "queue.error_hold",
                id=row.id,
                recipient=row.recipient,
                plugin=one.plugin,
                hook=one.hook,
                file=one.file,
                line=one.line,
                error=DIED,
                times=trouble.crashes,
            )

    async def _note(self, one: Suspect) -> None:
        outbox = self._database.outbox
        crashes, error = await self._counted(one)
        for row in await outbox.list(rows=(int(one.key),)):
            if row.due is not None and _too_many(crashes, one):
                await outbox.bury(row.row, error=error)
                self._log.error("outbox.buried", row=row.row, hook=row.hook, attempts=row.attempts + 1, error=error)
            elif row.due is not None:
                await outbox.retry(row.row, due=self._clock.now() + _AGAIN, error=error)

    async def _file(self, one: Suspect) -> None:
        crashes, error = await self._counted(one)
        if _too_many(crashes, one):
            self._set_aside(one.key, error)

    async def _counted(self, one: Suspect) -> tuple[int, str]:
        """How often it was, this time included; and that in words."""
        kv, now, key = self._database.kv, self._clock.now(), f"{one.kind}/{one.key}"
        known = await kv.get(KEYS, key, now=now)
        crashes = 1 + (int(known) if known else 0)
        await kv.set(KEYS, key, str(crashes).encode(), expires=now + _REMEMBERED)
        return crashes, f"{DIED} {crashes} times in {one.hook} of plugin {one.plugin} ({one.file}:{one.line})"


def _too_many(crashes: int, one: Suspect) -> bool:
    return crashes >= (CRASHES if one.certain else WAITED)
