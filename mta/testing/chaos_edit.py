"""An operator who gives messages that wait another recipient (``mta queue edit``), and dies with the daemon; what must hold of them.

Mail for ``WRONG`` seldom gets through, so it waits. An edit that was acknowledged (exit status 0) puts ``RIGHT`` in its place: that one
gets the message, or its sender a report; ``WRONG`` gets it no more. An edit that died may have happened or not, and then as a whole.
"""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mta.testing.server import MailServer
from mta.testing.sink import Ending

WRONG, RIGHT = "wrong@out.test", "right@out.test"
_WAITING = "SELECT m.queue_id, m.message_id FROM queue q JOIN queue_messages m ON m.id = q.message_id WHERE q.local = 'wrong' AND q.owner = ''"


def rows(server: MailServer, statement: str, before: Callable[[Any], None] = lambda _: None) -> list[Any]:
    """Read from the database. SQLite's files stay as they are. ``before``: is given the connection, on PostgreSQL."""
    database = str(server.config["database"])
    if database.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(f"file:{server.data_dir}/mta.db?mode=ro", uri=True)) as file:
            return file.execute(statement).fetchall()
    import psycopg

    with psycopg.connect(database, autocommit=True) as connection:
        before(connection)
        return connection.execute(statement).fetchall()


@dataclass
class Edits:
    """By Message-ID. ``done``: monotonic, when the acknowledgement was here."""

    asked: set[str] = field(default_factory=set)
    done: dict[str, float] = field(default_factory=dict)
    refused: int = 0

    def __str__(self) -> str:
        return f"{len(self.done)} edited, {len(self.asked)} tried, {self.refused} refused"


@contextlib.contextmanager
def editing(server: MailServer, edits: Edits, chance: random.Random) -> Iterator[None]:
    """One edit after another, until we end; the last is killed."""
    over, chance = threading.Event(), random.Random(chance.random())

    def work() -> None:
        while not over.is_set():
            try:
                waiting = [row for row in rows(server, _WAITING) if row[1] not in edits.asked]
            except sqlite3.Error:  # the file is being opened by a daemon that starts
                waiting = []
            if not waiting:
                over.wait(0.02)
                continue
            id, name = chance.choice(waiting)
            edits.asked.add(name)
            _edit(server, id, name, edits, over)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)


def _edit(server: MailServer, id: str, name: str, edits: Edits, over: threading.Event) -> None:
    command = server.spawn("queue", "edit", id, "--replace", f"{WRONG}={RIGHT}")
    while command.poll() is None and not over.is_set():
        time.sleep(0.002)
    if (status := command.poll()) == 0:
        edits.done[name] = time.monotonic()
    elif status is not None:
        edits.refused += 1
        edits.asked.discard(name)  # it was being delivered: another time
    else:
        command.send_signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            if command.wait(10) == 0:  # it was quicker
                edits.done[name] = time.monotonic()


def audit_edits(edits: Edits, arrivals: Mapping[str, Sequence[Ending]], reported: Iterable[str]) -> list[str]:
    """One line for each broken promise. ``arrivals``: by Message-ID, in their order; ``reported``: Message-IDs."""
    reached = {name for name, endings in arrivals.items() if any(_for(RIGHT, one) for one in endings)}
    faults = [f"edited, and {RIGHT} did not get it: {name}" for name in edits.done.keys() - reached - set(reported)]
    for name, endings in arrivals.items():
        right = [one.at for one in endings if _for(RIGHT, one)]
        wrong = [one.at for one in endings if _for(WRONG, one)]
        if right and name not in edits.asked:
            faults.append(f"nobody asked for {RIGHT}: {name}")
        since = min([*right, edits.done.get(name, float("inf"))])
        faults += [f"{WRONG} got it {at - since:.3f} s after {RIGHT} had its place: {name}" for at in wrong if at > since]
    return faults


def _for(address: str, ending: Ending) -> bool:
    return any(f"<{address}>" in rcpt for rcpt in ending.rcpts)
