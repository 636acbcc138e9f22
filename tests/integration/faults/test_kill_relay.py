"""SIGKILL of everything while mail goes out to a next hop that fails at every step: nothing is lost, and little comes twice."""
# SPDX-License-Identifier: Apache-2.0

import pytest

from mta.testing.chaos_relay import FailingSink, audit, config_for, kill_while_relaying, twice
from mta.testing.clients import Ledger
from mta.testing.server import MailServer

KILLS = 4


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_nothing_is_lost_on_its_way_out(database):
    sink = FailingSink(7)
    with sink.thread(), MailServer({"database": database, **config_for(sink)}) as server:
        result = kill_while_relaying(server, sink, KILLS, seed=11)
    print(f"{result}; {len(sink.arrivals)} arrived, {twice(sink)} of them again, {len(sink.reported)} reported")
    assert result.faults == []
    assert len(sink.arrivals) >= KILLS


def test_the_audit_sees_what_is_wrong():
    sink, ledger = FailingSink(1), Ledger({"<lost>": 1.0, "<told>": 1.0, "<twice>": 1.0, "<unheard>": 1.0, "<killed>": 1.0})
    sink.reported = {"<told>"}
    sink.arrivals = {
        "<twice>": [(1.0, True), (9.0, True)],
        "<unheard>": [(1.0, False), (9.0, True)],
        "<killed>": [(4.5, True), (9.0, True)],
        "<ghost>": [(1.0, True)],
    }
    assert audit(ledger, sink, [5.0]) == [
        "lost: <lost>",
        "nobody sent: <ghost>",
        "2 times: <twice>, though its answer was heard 4.0 s before a kill",
    ]
