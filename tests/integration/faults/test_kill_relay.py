"""SIGKILL of everything while mail goes out: each acknowledged message arrives, at most those in flight twice, no false bounce."""
# SPDX-License-Identifier: Apache-2.0

import random
import re
import threading
import time
from collections import Counter

import pytest
from aiosmtpd.controller import Controller

from mta.testing.clients import Load, message_ids
from mta.testing.server import HOST, MailServer, free_port, wait_until

ALICE = "alice@example.test"
KILLS = 4
PER_DESTINATION = 4


class Sink:
    """Remembers Message-IDs; refuses one in ten for now, once for each recipient, so that retries are in the play."""

    def __init__(self) -> None:
        self.arrived: Counter[str] = Counter()
        self._chance = random.Random(7)
        self._lock = threading.Lock()

    async def handle_DATA(self, server, session, envelope):
        message_id = re.search(rb"(?mi)^message-id:\s*(<[^>]*>)", envelope.content)[1].decode()
        with self._lock:
            if self._chance.random() < 0.1:
                return "451 4.3.0 later"
            self.arrived[message_id] += 1
        return "250 2.0.0 taken"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_nothing_is_lost_on_its_way_out(database):
    sink = Sink()
    controller = Controller(sink, hostname=HOST, port=free_port())
    controller.start()
    config = {
        "database": database,
        "routes": {"out.test": f"smtp://{HOST}:{controller.port}"},
        "relay": {"networks": ["127.0.0.0/8"]},
        "queue": {"retry": [1], "jitter": 0, "concurrency_per_destination": PER_DESTINATION, "delay_warning": 0},
    }
    chance = random.Random(11)
    try:
        with MailServer(config) as server:
            load = Load(server.smtp, ["a@out.test", "b@out.test"], threads=2)
            with load:
                for _ in range(KILLS):
                    load.wait_acknowledged(10)
                    time.sleep(chance.uniform(0, 0.3))
                    server.kill()
                    server.start()
                ledger = load.stop()
            wait_until(lambda: ledger.acknowledged.keys() <= sink.arrived.keys(), 60, "everything at the next hop", 0.2)
            wait_until(lambda: server.queue_count() == 0, 30, "an empty queue", 0.3)
            with server.imap(ALICE) as box:
                assert message_ids(box) == {}
    finally:
        controller.stop()
    twice = sum(n - 1 for n in sink.arrived.values())
    print(f"{len(ledger.acknowledged)} acknowledged, {len(sink.arrived)} arrived, {twice} of them again, {KILLS} kills")
    assert sink.arrived.keys() <= ledger.sent
    assert twice <= KILLS * PER_DESTINATION * 2
