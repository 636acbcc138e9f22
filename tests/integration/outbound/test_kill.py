"""kill -9 in the middle of relaying: every message arrives, and twice only what was under way."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from mta.model.address import Address
from mta.model.ids import QueueId
from mta.model.message import Intake, OctetContent, QueuedRecipient
from mta.testing.sink import Sink
from mta_hooks.backends import DatabaseOptions
from mta_sql.database import SqlDatabase

MESSAGES, KILLS = 600, 6

RELAY = """
import asyncio, os, sys
from mta.config.sections import Config
from mta.directory.resolve import Resolver
from mta.dispatch.runner import Runner
from mta.local.transport import LocalTransport
from mta.net.clock import SystemClock
from mta.net.dialer import Dialer
from mta.net.dns import DnsResolver
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.outbound.courier import Outbound
from mta.pluginhost.host import HookHost, Services
from mta.route.router import Router
from mta_hooks.backends import DatabaseOptions
from mta_sql.database import SqlDatabase

async def main(folder, port):
    log, clock = Log(), SystemClock()
    tasks, hooks = Tasks(log), HookHost(Services("mx.here.test", clock, log))
    config = Config(hostname="mx.here.test", data_dir=folder, routes={"dest.test": f"smtp://127.0.0.1:{port}"})
    database = SqlDatabase("sqlite", DatabaseOptions(data_dir=folder, reserve=0))
    await database.open()
    resolver = Resolver(hooks, frozenset(), log, "mx.here.test")
    outbound = Outbound(hostname="mx.here.test", dns=DnsResolver(config.dns, tasks), queue=database.queue, dialer=Dialer(), log=log, connect_timeout=5)
    await Runner(config=config, hooks=hooks, database=database, resolver=resolver, router=Router(config, hooks), outbound=outbound,
        local=LocalTransport(hooks, database.directory, log), clock=clock, log=log, tasks=tasks, hostname="mx.here.test", owner="machine").run()

for _ in sys.stdin:  # a prepared process: each relay is forked from it
    pid = os.fork()
    if pid == 0:
        asyncio.run(main(sys.argv[1], int(sys.argv[2])))
    print(pid, flush=True)
    os.waitpid(pid, 0)
    print("gone", flush=True)
"""


async def fill(folder):
    database = SqlDatabase("sqlite", DatabaseOptions(data_dir=folder, reserve=0))
    await database.open()
    octets = OctetContent(b"Subject: x\r\n\r\n" + b"x" * 1000 + b"\r\n")
    intakes = [
        Intake(
            QueueId(f"K{n}"), "smtp", None, octets, time.time(), queued=(QueuedRecipient(Address(f"u{n}", "dest.test"), "remote"),)
        )
        for n in range(MESSAGES)
    ]
    await asyncio.gather(*(database.spool.accept(intake) for intake in intakes))
    await database.close()


async def left(folder):
    database = SqlDatabase("sqlite", DatabaseOptions(data_dir=folder, reserve=0))
    await database.open()
    try:
        assert await database.verify(lambda _done, _total: None) == []
        return await database.queue.count()
    finally:
        await database.close()


@pytest.fixture
def relays(tmp_path):
    """Starts the prepared process of relays to a port."""
    started = []

    def start(port):
        arguments = [sys.executable, "-c", RELAY, str(tmp_path), str(port)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        started.append(subprocess.Popen(arguments, **pipes, text=True, bufsize=1, start_new_session=True))
        return started[0]

    yield start
    for prepared in started:
        os.killpg(prepared.pid, signal.SIGKILL)
        prepared.communicate()


def test_nothing_is_lost_and_little_is_doubled(tmp_path, relays):
    folder = str(tmp_path)
    asyncio.run(fill(folder))
    dice = random.Random(7)
    sink = Sink()
    sink.answer("DOT", "", delay=0.01)
    with sink.thread():
        prepared = relays(sink.port)

        def start():
            prepared.stdin.write("\n")
            return int(prepared.stdout.readline())

        def kill(pid):
            os.kill(pid, signal.SIGKILL)
            assert prepared.stdout.readline() == "gone\n"

        for _ in range(KILLS):
            pid = start()
            before, goal = sink.count, dice.randrange(1, MESSAGES // (KILLS + 2))
            deadline = time.monotonic() + 20
            while sink.count < before + goal:
                assert time.monotonic() < deadline, "the successor delivers at once"
                time.sleep(0.002)
            kill(pid)
        pid = start()
        deadline = time.monotonic() + 30
        while len({m.rcpts[0] for m in list(sink.messages)}) < MESSAGES and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        kill(pid)
    arrived = Counter(m.rcpts[0] for m in sink.messages)
    assert len(arrived) == MESSAGES
    assert asyncio.run(left(folder)) == 0
    doubled = sum(arrived.values()) - MESSAGES
    assert doubled <= KILLS * 40, doubled  # at most 20 connections, and the results of one commit
