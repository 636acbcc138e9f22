"""Folding SQLite's log back into the file, without making anybody wait for it.

Two steps. The long one runs in a thread of its own on a connection of its own, beside the writers: it copies what is in the log
and syncs the file. Writers append meanwhile, so the log would never be empty; the short one follows within the turn,
copies the little that came since, and lets the log start again from its beginning.

SQLite before 3.51.3 can lose data when a checkpoint and a writer meet (the WAL-reset bug): there both are done within the turn.
"""
# SPDX-License-Identifier: Apache-2.0

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from mta.model.errors import StorageDead
from mta_sql.dialect import Connection

_log = logging.getLogger("mta.sql")
_COPY = "PRAGMA wal_checkpoint(PASSIVE)"

OCTETS = 8 * 2**20
"""Written to the log before it is folded back; about the size the log keeps."""


class Turn(Protocol):
    def take(self) -> None: ...
    def give(self) -> None: ...


class Checkpoint:
    """Used by the writer's thread. ``meaning`` translates an error of the driver."""

    def __init__(
        self,
        turn: Turn,
        own: Connection,
        connect: Callable[[], Connection],
        meaning: Callable[[BaseException], Exception | None],
        *,
        beside: bool,
    ) -> None:
        self._turn = turn
        self._own = own
        self._connect = connect
        self._meaning = meaning
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mta-sql-checkpoint") if beside else None
        self._other: Connection | None = None
        self._running: Future[None] | None = None
        self._written = 0

    def wrote(self, octets: int) -> None:
        self._written += octets

    def run(self) -> None:
        """Take the next step when it is time. Raises StorageDead when an fsync failed."""
        if self._running is not None:
            if self._running.done():
                running, self._running = self._running, None
                self._guard(running.result)
                self._within_the_turn()
        elif self._written >= OCTETS:
            self._written = 0
            if self._thread is None:
                self._within_the_turn()
            else:
                self._running = self._thread.submit(self._beside)

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown()
        if self._other is not None:
            self._other.raw.close()

    def _beside(self) -> None:
        if self._other is None:
            self._other = self._connect()
        self._other.execute(_COPY).fetchall()

    def _within_the_turn(self) -> None:
        self._turn.take()
        try:
            self._guard(lambda: self._own.execute(_COPY).fetchall())
        finally:
            self._turn.give()

    def _guard(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except Exception as exc:
            failure = self._meaning(exc)
            if isinstance(failure, StorageDead):
                raise failure from exc
            if failure is None:
                raise
            _log.warning("sql.checkpoint_failed", extra={"fields": {"error": str(exc)}})
