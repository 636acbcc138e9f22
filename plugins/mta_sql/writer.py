"""Group commit: one thread that owns the write connection and commits many operations at once.

Theory of operation. Callers in the event loop ``submit`` operations; the thread waits for its turn (file lock, BEGIN), and
only then takes everything that waits: what arrives while a commit or another process is busy joins the next batch.
The batch runs without savepoints; when an operation raises, everything is rolled back and each runs again under a
savepoint of its own, so that one failure harms nobody else. One commit, then one ``call_soon_threadsafe`` resolves all
futures. A future is resolved with a result only after its commit is on stable storage.

An operation that was not begun ``PATIENCE`` seconds after it was submitted fails with TemporaryFailure: a timer in
the loop takes it out of the queue, so no lock held elsewhere, slow disk or stopped process can hang a session.

The driver gives up the interpreter lock at every statement, and a busy event loop gives it back only when made to: by default
after 5 ms, hence a batch of 50 messages would take a second. ``SWITCH`` makes that 0.1 ms for the process; measured with
a loop that is never idle and twenty callers: 99 % of acceptances within 43 ms instead of 3.0 s.

StorageDead is final: the thread fails everything that waits and everything submitted later. Nothing is tried again.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

from mta.model.errors import MailError, StorageDead, TemporaryFailure
from mta_sql.dialect import Connection
from mta_sql.measures import BATCHES, COMMITS
from mta_sql.transaction import Effects, Run, Stale, Transaction

T = TypeVar("T")

PATIENCE = 10.0
BATCH = 256
"""Operations in one transaction: bounds how long other processes wait for their turn."""
RERUNS = 5
SWITCH = 0.0001


class Busy(Exception):
    """Somebody else writes; ask again."""


class Again(Exception):
    """The database asks to run the whole transaction again (serialization failure, deadlock)."""


class WriteSide(Protocol):
    """One database's way to begin and end a transaction. All methods are called from the writer's thread.

    late  operations that arrive while ``begin`` waits may join; False: only those whose mailboxes it was told
    """

    late: bool

    def begin(self, mailboxes: Iterable[int]) -> Connection:
        """Wait for the turn and open a transaction. Raises Busy, or what ``failure`` makes of an error."""
        ...

    def restart(self, mailboxes: Iterable[int]) -> Connection:
        """Roll back and open the next transaction without giving up the turn. ``mailboxes``: more that will be changed."""
        ...

    def commit(self, effects: Effects) -> None:
        """Make it durable and give up the turn; on an exception the turn is kept until ``abandon``."""
        ...

    def abandon(self) -> None:
        """Roll back, give up the turn. Raises nothing."""
        ...

    def failure(self, exc: BaseException) -> Exception | None:
        """What a driver's error means for the whole batch; None: the operation's own failure."""
        ...

    def tidy(self) -> None:
        """Called after a commit was announced: work that nobody need wait for. May raise what ``failure`` makes of an error."""
        ...

    def close(self) -> None: ...


class Operation:
    __slots__ = ("future", "mailboxes", "run", "since")

    def __init__(self, run: Run[Any], future: "asyncio.Future[Any]", since: float, mailboxes: Iterable[int]) -> None:
        self.run, self.future, self.since, self.mailboxes = run, future, since, mailboxes


Settled = list[tuple["asyncio.Future[Any]", Any, BaseException | None]]


class Writer:
    """``told`` and ``died`` are called in the event loop: after each commit, and once when the storage is dead."""

    def __init__(self, side: WriteSide, told: Callable[[Effects], None], died: Callable[[StorageDead], None]) -> None:
        self.dead: StorageDead | None = None
        self._side = side
        self._told = told
        self._died = died
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Operation] = deque()
        self._wake = threading.Condition(threading.Lock())
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        sys.setswitchinterval(min(SWITCH, sys.getswitchinterval()))
        self._thread = threading.Thread(target=self._main, name="mta-sql-writer", daemon=True)
        self._thread.start()

    def submit(self, run: Run[T], mailboxes: Iterable[int] = ()) -> "asyncio.Future[T]":
        """Run an operation in one of the next transactions. ``mailboxes``: those it will change, as far as known."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self.dead is not None or self._closing:
            future.set_exception(_copy(self.dead) if self.dead else TemporaryFailure("the database is closed"))
            return future
        now = self._loop.time()
        with self._wake:
            self._waiting.append(Operation(run, future, now, mailboxes))
            self._wake.notify()
        if self._timer is None:
            self._timer = self._loop.call_at(now + PATIENCE, self._expire)
        return future

    def kill(self, exc: StorageDead) -> None:
        """An fsync failed elsewhere (a body's file): from now on nothing is acknowledged. Called in the loop."""
        if self.dead is None:
            self._fail([], exc)

    async def close(self) -> None:
        """Finish what waits, end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        await self._loop.run_in_executor(None, self._thread.join, PATIENCE + 5.0)
        if self._timer is not None:
            self._timer.cancel()

    # ---- in the loop

    def _expire(self) -> None:
        self._timer = None
        late = self._loop.time() - PATIENCE
        expired: list[Operation] = []
        with self._wake:
            while self._waiting and self._waiting[0].since <= late:
                expired.append(self._waiting.popleft())
            rest = self._waiting[0].since if self._waiting else None
        for operation in expired:
            if not operation.future.done():
                operation.future.set_exception(TemporaryFailure(f"the database stayed busy for {PATIENCE:.0f} s"))
        if rest is not None:
            self._timer = self._loop.call_at(rest + PATIENCE, self._expire)

    def _resolve(self, settled: Settled, effects: Effects) -> None:
        for future, result, exc in settled:
            if future.done():  # cancelled: the caller went away
                continue
            if exc is None:
                future.set_result(result)
            else:
                future.set_exception(exc)
        self._told(effects)

    # ---- in the thread

    def _main(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closing:
                    self._wake.wait()
                if not self._waiting:
                    break
                first = list(self._waiting)[:BATCH]
            mailboxes = {mailbox for operation in first for mailbox in operation.mailboxes}
            try:
                connection = self._side.begin(mailboxes)
            except Busy:
                continue
            except Exception as exc:  # noqa: BLE001  # whatever it is, nobody may wait for ever
                self._fail(self._take(len(self._waiting)), exc)
                continue
            batch = self._take(BATCH if self._side.late else len(first))
            try:
                settled, effects = self._transact(connection, batch)
            except Exception as exc:  # noqa: BLE001
                self._side.abandon()
                self._fail(batch, exc)
            else:
                self._call(self._resolve, settled, effects)
                self._tidy()
        self._side.close()

    def _tidy(self) -> None:
        try:
            self._side.tidy()
        except Exception as exc:  # noqa: BLE001  # the commit holds; what is wrong now concerns those who come next
            self._fail([], exc)

    def _take(self, most: int) -> list[Operation]:
        with self._wake:
            waiting = self._waiting
            return [waiting.popleft() for _ in range(min(most, len(waiting)))]

    def _transact(self, connection: Connection, batch: list[Operation]) -> tuple[Settled, Effects]:
        effects = Effects()
        for run in range(RERUNS):
            try:
                if run:
                    connection = self._side.restart(effects.changed)
                    effects = Effects()
                settled, effects = self._run(connection, batch, effects)
                began = time.monotonic()
                self._side.commit(effects)
                COMMITS.observe(time.monotonic() - began)
                BATCHES.observe(len(batch))
            except Exception as exc:
                failure = self._side.failure(exc)
                if not isinstance(failure, Again):
                    raise (failure or exc) from exc
            else:
                return settled, effects
        raise TemporaryFailure("the database asked too often to run the transaction again")

    def _run(self, connection: Connection, batch: list[Operation], effects: Effects) -> tuple[Settled, Effects]:
        transaction = Transaction(connection, effects)
        try:
            return [(op.future, op.run(transaction), None) for op in batch if not op.future.cancelled()], effects
        except Exception as exc:
            if self._side.failure(exc) is not None:
                raise
        return self._run_each(self._side.restart(effects.changed), batch)

    def _run_each(self, connection: Connection, batch: list[Operation]) -> tuple[Settled, Effects]:
        settled: Settled = []
        effects = Effects()
        for operation in batch:
            if operation.future.cancelled():
                continue
            for _ in range(RERUNS):
                own = Effects()
                connection.execute("SAVEPOINT operation")
                try:
                    result = operation.run(Transaction(connection, own))
                except Exception as exc:
                    if self._side.failure(exc) is not None:
                        raise
                    connection.execute("ROLLBACK TO SAVEPOINT operation")
                    connection.execute("RELEASE SAVEPOINT operation")
                    if isinstance(exc, Stale):
                        continue
                    settled.append((operation.future, None, exc))
                else:
                    connection.execute("RELEASE SAVEPOINT operation")
                    effects.merge(own)
                    settled.append((operation.future, result, None))
                break
            else:
                settled.append((operation.future, None, TemporaryFailure("the mailbox kept changing its name")))
        return settled, effects

    def _fail(self, batch: list[Operation], exc: Exception) -> None:
        if isinstance(exc, StorageDead):
            self.dead = exc  # before anything else: from here on nothing is acknowledged
            batch = batch + self._take(len(self._waiting))
            self._call(self._died, exc)
        self._call(self._resolve, [(op.future, None, _copy(exc)) for op in batch], Effects())

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return


def _copy(exc: Exception) -> Exception:
    """One instance for each waiter: a traceback grows with every raise."""
    if not isinstance(exc, MailError):
        return exc
    copy = type(exc)(*exc.args)
    copy.__cause__ = exc.__cause__
    return copy
