"""kill -9 at random moments: what was acknowledged is there exactly once, on SQLite and PostgreSQL."""
# SPDX-License-Identifier: Apache-2.0

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from mta.testing.conformance import Backend, arrive, rows
from mta.testing.postgresql import PostgreSql
from mta_hooks.backends import Database
from mta_sql import open_database

ROUNDS = 8
WRITERS = 2

# A writer: many tasks accept messages; each acknowledged one is printed after its commit. Some are large enough for a file.
# For each round that it reads, a prepared process forks the writers, and says when they are gone.
WORK = """
import asyncio, itertools, os, sys
from mta.testing.conformance import Backend, arrive, intake
from mta_sql import open_database
from pathlib import Path

async def work(url, folder, round):
    db = await Backend(lambda options: open_database(url, options), Path(folder)).open()
    user, _ = await arrive(db)
    count = itertools.count()
    async def task():
        for n in count:
            name = f"{round}-{os.getpid()}-{n}"
            octets = name.encode() + (b"x" * 300_000 if n % 50 == 7 else b"")
            await db.spool.accept(intake(user, octets=octets, id=name, queued=["far@x.test"]))
            os.write(1, (name + "\\n").encode())
    await asyncio.gather(*[task() for _ in range(20)])

url, folder, writers = sys.argv[1:]
for round in sys.stdin:
    for _ in range(int(writers)):
        if os.fork() == 0:
            asyncio.run(work(url, folder, round.strip()))
    for _ in range(int(writers)):
        os.wait()
    os.write(1, b"gone\\n")
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return "sqlite"
    server: PostgreSql = request.getfixturevalue("server")
    return server()


def test_kill_at_random_moments(url: str, tmp_path: Path) -> None:
    backend = Backend(lambda options: open_database(url, options), tmp_path)
    acknowledged: list[str] = []
    randomness = random.Random(7)

    async def prepare(db: Database) -> None:
        await arrive(db)

    async def audit(db: Database) -> None:
        _, inbox = await arrive(db)
        found = await rows(db, inbox)
        names = Counter(octets.rstrip(b"x").decode() for octets in await db.store.read_many([row.blob for row in found]))
        assert not set(acknowledged) - set(names)
        assert set(names.values()) <= {1}
        assert await db.queue.count() == len(found)  # both halves or none
        assert [row.uid for row in found] == list(range(1, len(found) + 1))

    backend.run(prepare)
    arguments = [sys.executable, "-c", WORK, url, str(tmp_path), str(WRITERS)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as prepared:
        assert prepared.stdin is not None
        assert prepared.stdout is not None
        for number in range(ROUNDS):
            prepared.stdin.write(f"{number}\n")
            at_work: set[int] = set()
            while len(at_work) < WRITERS:
                acknowledged.append(prepared.stdout.readline().strip())
                at_work.add(int(acknowledged[-1].split("-")[1]))
            time.sleep(randomness.uniform(0.02, 0.3))
            for pid in at_work:
                os.kill(pid, signal.SIGKILL)
            while (line := prepared.stdout.readline().strip()) != "gone":
                acknowledged.append(line)
            backend.run(audit)
        prepared.stdin.close()
    assert len(acknowledged) > 200
