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

# One process: many tasks accept messages; each acknowledged one is printed after its commit. Some are large enough for a file.
WORK = """
import asyncio, itertools, os, sys
from mta.testing.conformance import Backend, arrive, intake
from mta_sql import open_database
from pathlib import Path

async def main(url, folder, round):
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

asyncio.run(main(*sys.argv[1:]))
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
    for number in range(ROUNDS):
        arguments = [sys.executable, "-c", WORK, url, str(tmp_path), str(number)]
        processes = [subprocess.Popen(arguments, stdout=subprocess.PIPE) for _ in range(WRITERS)]
        for process in processes:
            assert process.stdout is not None
            acknowledged.append(process.stdout.readline().decode().strip())  # it is at work
        time.sleep(randomness.uniform(0.02, 0.3))
        for process in processes:
            os.kill(process.pid, signal.SIGKILL)
        for process in processes:
            out, _ = process.communicate()
            acknowledged += [name for name in out.decode().split("\n")[:-1] if name]
        backend.run(audit)
    assert len(acknowledged) > 200
