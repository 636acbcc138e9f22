"""SIGKILL, of one process and of all: nothing acknowledged is lost, nothing is there twice.

``MTA_KILLS`` sets how many kills of the whole group each database gets (default 6, so that ``make test`` stays short; the
gate uses 25; ``make chaos`` hundreds).
"""
# SPDX-License-Identifier: Apache-2.0

import os
import random
import signal
import smtplib
import time

import pytest

from mta.testing.chaos import kill_at_random_moments
from mta.testing.clients import Load
from mta.testing.server import MailServer, wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"
KILLS = int(os.environ.get("MTA_KILLS", "6"))


@pytest.mark.slow
@pytest.mark.timeout(60 + KILLS * 12)
def test_kill_of_everything_under_load(database):
    with MailServer({"database": database}) as server:
        result = kill_at_random_moments(server, KILLS, seed=KILLS)
        print(result)
        assert not result.faults, result
        assert result.kills == KILLS
        assert result.acknowledged > KILLS * 10  # the load was real


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_of_one_worker_under_load(audit, workers):
    with MailServer({"workers": workers}) as server:
        box = server.imap(ALICE)
        with Load(server.smtp, [ALICE, BOB]) as load:
            for _ in range(2):  # one that keeps dying within seconds is started ever later (mta.app.family.Patience)
                wait_until(lambda: len(server.workers) == workers, 5, "all workers are back")
                time.sleep(random.uniform(0.2, 0.5))
                os.kill(random.choice(server.workers), signal.SIGKILL)
                took = wait_until(lambda: greeted(server), 5, "a greeting after the kill", 0.005)
                assert took <= 1.0, f"{took:.2f} s without service"
                load.wait_acknowledged(5, 5)
            ledger = load.stop()
        wait_until(lambda: len(server.workers) == workers, 5, "all workers are back")
        audit(server, ledger, ALICE, BOB)
        assert len(ledger.acknowledged) > 30
        box.shutdown()
        assert server.stop() == 0


def greeted(server):
    try:
        with server.smtp(timeout=1) as client:
            return client.noop()[0] == 250
    except (OSError, smtplib.SMTPException):
        return False


def test_sigterm_under_load_drains(audit):
    """Exit 0, and every message in hand is answered or not taken."""
    with MailServer() as server:
        with Load(server.smtp, [ALICE, BOB]) as load:
            load.wait_acknowledged(30)
            assert server.stop() == 0
            ledger = load.stop()
        server.start()
        audit(server, ledger, ALICE, BOB)
