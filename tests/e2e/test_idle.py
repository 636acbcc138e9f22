"""IDLE (RFC 2177) sees at once what another worker delivered."""
# SPDX-License-Identifier: Apache-2.0

import select
import statistics
import time
import uuid

import pytest
from imapclient import IMAPClient

from mta.testing.clients import compose
from mta.testing.server import HOST, PASSWORD, MailServer, wait_until

ALICE = "alice@example.test"


@pytest.mark.timeout(60)
def test_idle_across_workers(database_everywhere):
    with MailServer({"workers": 2, "database": database_everywhere}) as server:
        boxes = both_workers(server, "imap", lambda: reader(server))
        senders = both_workers(server, "smtp", server.smtp)
        for box in boxes:
            box.idle()
        time.sleep(0.2)
        waits = []
        for _ in range(10):
            for client in senders:
                octets = compose(f"<{uuid.uuid4().hex}@client.test>", ALICE)
                client.mail("x@client.test")
                client.rcpt(ALICE)
                assert client.data(octets)[0] == 250
                answered = time.monotonic()
                waits += pushes(boxes, answered)
        waits.sort()
        p50, p99 = statistics.median(waits), waits[int(len(waits) * 0.99)]
        print(
            f"IDLE after 250: {len(waits)} pushes, p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, max {waits[-1] * 1000:.1f} ms"
        )
        assert waits[-1] <= 1.0
        assert p50 <= 0.050
        for client in senders:
            client.close()
        for box in boxes:
            box.idle_done()
            box.logout()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_everywhere(request):
    if request.param == "sqlite":
        yield "sqlite"
        return
    from mta.testing.postgresql import PostgreSql

    with PostgreSql() as make:
        yield make()


def reader(server):
    box = IMAPClient(HOST, port=server.ports["imap"], ssl=False, timeout=15)
    box.login(ALICE, PASSWORD)
    box.select_folder("INBOX", readonly=True)
    return box


def both_workers(server, protocol, connect):
    """Connections until each worker holds at least one."""
    made = []

    def spread():
        made.append(connect())
        return len(made) >= 4 and all(server.connections(protocol).values())

    wait_until(spread, 10, f"{protocol} connections in both workers")
    print(f"{protocol}: {server.connections(protocol)}")
    return made


def pushes(boxes, begin):
    """Seconds after ``begin`` at which each of the idling sessions said EXISTS."""
    waiting, out = {box.socket().fileno(): box for box in boxes}, []
    while waiting:
        left = begin + 2 - time.monotonic()
        assert left > 0, f"{len(waiting)} of {len(boxes)} sessions were not told"
        for ready in select.select(list(waiting), [], [], left)[0]:
            at = time.monotonic()
            if any(event == b"EXISTS" for _, event, *_ in waiting[ready].idle_check(timeout=0)):
                out.append(max(0.0, at - begin))
                del waiting[ready]
    return out
