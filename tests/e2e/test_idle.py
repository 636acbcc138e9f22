"""IDLE (RFC 2177) sees at once what another worker delivered; thousands of sessions hear of one message within two seconds.

``MTA_IDLE_SESSIONS=10000`` (and ``ulimit -n`` above it) makes them ten thousand.
"""
# SPDX-License-Identifier: Apache-2.0

import os
import resource
import select
import socket
import statistics
import time
import uuid

import pytest
from imapclient import IMAPClient

from mta.testing.clients import compose
from mta.testing.server import HOST, PASSWORD, MailServer, wait_until

ALICE = "alice@example.test"
SESSIONS = int(os.environ.get("MTA_IDLE_SESSIONS", "1000"))
_AT_ONCE = 100
"""Connections that log in at the same time."""


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


@pytest.mark.timeout(60 + SESSIONS // 50)
def test_all_of_many_idle_sessions_are_told_within_two_seconds():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < SESSIONS + 500:
        pytest.skip(f"ulimit -Hn is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, SESSIONS + 500), hard))
    users = [f"u{n}@example.test" for n in range(max(1, SESSIONS // 100))]
    try:
        with MailServer({"workers": 2}, users=users) as server:
            begin, before = time.monotonic(), memory(server)
            sessions = idle_sessions(server.ports["imap"], users)
            print(
                f"{SESSIONS} sessions of {len(users)} users idle after {time.monotonic() - begin:.1f} s: {server.connections('imap')}"
            )
            print(f"{(memory(server) - before) / SESSIONS:.1f} KiB each")
            with server.smtp() as client:
                client.mail("x@client.test")
                for user in users:
                    assert client.rcpt(user)[0] == 250
                begin = time.monotonic()
                assert client.data(compose("<all@client.test>", users[0]))[0] == 250
                answered = time.monotonic() - begin
            waits = told(sessions, begin)
            print(
                f"250 after {answered * 1000:.0f} ms, half told after {waits[len(waits) // 2]:.3f} s, all after {waits[-1]:.3f} s"
            )
            assert waits[-1] <= 2.0
            for one in sessions:
                one.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def idle_sessions(port, users):
    """Connections in IDLE, SESSIONS of them, in turn of these users."""
    steps = (b"* OK", b"a OK", b"b OK", b"+ idling")
    poll, waiting, made, started = select.epoll(), {}, [], 0
    while len(made) < SESSIONS:
        while started < SESSIONS and len(waiting) < _AT_ONCE:
            one = socket.create_connection((HOST, port))
            poll.register(one.fileno(), select.EPOLLIN)
            lines = [f"a LOGIN {users[started % len(users)]} {PASSWORD}", "b SELECT INBOX", "c IDLE"]
            waiting[one.fileno()], started = (one, list(steps), lines), started + 1
        ready = poll.poll(30)
        assert ready, f"{len(made)} of {SESSIONS} sessions idle, then silence"
        for number, _ in ready:
            one, left, lines = waiting[number]
            octets = one.recv(65536)
            assert octets, f"closed before {left[0]!r}"
            while left and left[0] in octets:
                del left[0]
                if lines:
                    one.sendall(lines.pop(0).encode() + b"\r\n")
            if not left:
                poll.unregister(number)
                del waiting[number]
                made.append(one)
    return made


def told(sessions, begin):
    """Ascending: seconds after ``begin`` at which each session said EXISTS."""
    poll, left, waits = select.epoll(), {one.fileno(): one for one in sessions}, []
    for number in left:
        poll.register(number, select.EPOLLIN)
    while left:
        ready = poll.poll(max(0.0, begin + 30 - time.monotonic()))
        assert ready, f"{len(left)} of {len(sessions)} sessions were not told"
        for number, _ in ready:
            if b" EXISTS" in left[number].recv(4096):
                waits.append(time.monotonic() - begin)
                poll.unregister(number)
                del left[number]
    return waits


def memory(server):
    """KiB that the daemon's processes hold, shared pages divided among them."""
    found = 0
    for pid in (server.pid, *server.workers):
        with open(f"/proc/{pid}/smaps_rollup") as lines:
            found += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return found


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
