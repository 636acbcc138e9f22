"""An account with very many mailboxes: no command on them keeps other sessions waiting for 50 ms."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import gc
import time
from pathlib import Path

from mta.net.clock import SystemClock
from mta.testing.imapd import ImapSite
from mta_sql import open_database

MAILBOXES = 30_000
MOST = 0.05
"""Seconds of the processor in one turn of the loop: what a busy machine adds is not ours."""


COMMANDS = [
    (b'LIST "" *', MAILBOXES + 56),
    (b'LIST "" %', 56),
    (b'LIST (SUBSCRIBED RECURSIVEMATCH) "" *', MAILBOXES // 2 + 31),
    (b'LSUB "" *', MAILBOXES // 2 + 6),
]


def test_a_listing_takes_turns(tmp_path: Path) -> None:
    async def scenario() -> None:
        site = await ImapSite(database=lambda options: open_database("sqlite", type(options)(str(tmp_path)))).open()
        site.server.clock = SystemClock()  # type: ignore[assignment]
        user = site.users["alice@example.test"]
        names = [f"dir{n % 50:02}/box{n:05}" for n in range(MAILBOXES)]

        def fill(tx):
            rows = [(user, name, 1000 + n) for n, name in enumerate(names)]
            tx.executemany("INSERT INTO mailboxes (user_id, name, uid_validity, special_use) VALUES (?, ?, ?, '')", rows)
            tx.executemany("INSERT INTO subscriptions (user_id, name) VALUES (?, ?)", [(user, name) for name in names[::2]])

        await site.database._core.write(fill)
        link, transport = await site.login()
        turns = []

        async def watch():
            while True:
                began = time.thread_time()
                await asyncio.sleep(0)
                turns.append(time.thread_time() - began)

        gc.collect()
        gc.disable()  # workers are set so that it is rare
        watching = asyncio.ensure_future(watch())
        try:
            for command, lines in COMMANDS:
                said = b""
                link.data_received(b"a " + command + b"\r\n")
                while b"\r\na OK" not in b"\r\n" + said[-100:]:
                    await asyncio.sleep(0.01)
                    said += transport.take()
                assert said.count(b"* L") == lines, command
                assert max(turns) < MOST, command
        finally:
            gc.enable()
            watching.cancel()
        await site.tasks.close()
        await site.database.close()

    asyncio.run(scenario())
