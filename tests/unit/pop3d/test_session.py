"""POP3 sessions: locks, failures of the store, bounds, time, hooks, big and vanished messages."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import time
from collections.abc import Callable, Coroutine
from ipaddress import ip_network
from typing import Any

import pytest

from mta.model.errors import StorageReadOnly, TemporaryFailure
from mta.model.verdict import Verdict, accept, defer, reject
from mta.testing.pop3d import Pop3Site
from mta.testing.smtpd import FakePlan

LOGIN = b"USER alice@example.test\r\nPASS secret\r\n"
SMALL = b"Subject: x\r\n\r\nhello\r\n"

Test = Callable[[], Coroutine[Any, Any, None]]


def in_loop(test: Test) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())

    run.__name__ = test.__name__
    return run


@in_loop
async def test_a_maildrop_is_exclusive_until_the_session_ends() -> None:
    site = Pop3Site([SMALL])
    first, _ = await site.login()
    second, wire = site.connect()
    assert b"-ERR [IN-USE]" in await site.talk(second, wire, LOGIN)
    first.connection_lost(None)
    assert (await site.talk(second, wire, LOGIN)).endswith(b"+OK 1 messages, 21 octets\r\n")
    assert b"bye" in await site.talk(second, wire, b"QUIT\r\n")
    await site.login()


@in_loop
async def test_a_maildrop_about_to_be_free_is_waited_for() -> None:
    site = Pop3Site([SMALL])
    first, _ = await site.login()
    second, wire = site.connect()
    sleep, naps = site.clock.sleep, 0

    async def nap(seconds: float) -> None:
        nonlocal naps
        naps += 1
        if naps == 3:
            first.connection_lost(None)
        await sleep(seconds)

    site.clock.sleep = nap  # type: ignore[method-assign]
    assert (await site.talk(second, wire, LOGIN)).endswith(b"+OK 1 messages, 21 octets\r\n")
    assert naps == 3


@in_loop
async def test_quit_removes_and_nothing_else_does() -> None:
    site = Pop3Site([SMALL] * 4)
    link, wire = await site.login()
    await site.talk(link, wire, b"DELE 1\r\n")
    link.connection_lost(None)
    assert site.inbox.removed == []
    link, wire = await site.login()
    assert await site.talk(link, wire, b"DELE 2\r\nDELE 4\r\nQUIT\r\n") == b"+OK marked\r\n+OK marked\r\n+OK bye\r\n"
    assert site.inbox.removed == [3, 7]
    assert wire.closed
    assert site.server.connections == 1  # until the loop says that it is lost
    link.connection_lost(None)
    assert site.server.connections == 0


@in_loop
async def test_quit_says_when_nothing_was_removed() -> None:
    site = Pop3Site([SMALL])
    link, wire = await site.login()
    site.inbox.failures.append(StorageReadOnly("disk"))
    assert (await site.talk(link, wire, b"DELE 1\r\nQUIT\r\n")).endswith(b"-ERR [SYS/TEMP] messages not removed\r\n")
    assert wire.closed


@pytest.mark.parametrize("failure", [TemporaryFailure("database away"), ZeroDivisionError("a bug")])
def test_failures_are_temporary_and_the_connection_survives(failure: Exception) -> None:
    async def run() -> None:
        site = Pop3Site([SMALL])
        site.inbox.failures.append(failure)
        link, wire = site.connect()
        wire.take()
        said = await site.talk(link, wire, LOGIN)
        assert said.split(b"\r\n")[1].startswith(b"-ERR [SYS/TEMP] ")
        assert str(failure).encode() not in said
        assert (await site.talk(link, wire, LOGIN)).endswith(b"+OK 1 messages, 21 octets\r\n")
        site.inbox.failures.append(failure)
        assert (await site.talk(link, wire, b"RETR 1\r\n")).startswith(b"-ERR [SYS/TEMP]")
        assert (await site.talk(link, wire, b"RETR 1\r\n")).startswith(b"+OK 21 octets\r\n")

    asyncio.run(run())


@in_loop
async def test_a_failing_directory_is_temporary() -> None:
    def away(**_arguments: object) -> None:
        raise TemporaryFailure("away")

    site = Pop3Site([SMALL])
    site.hooks.auth_verify = FakePlan(away)
    link, wire = site.connect()
    assert b"-ERR [SYS/TEMP]" in await site.talk(link, wire, LOGIN)


@in_loop
async def test_a_failure_is_answered_after_the_pause() -> None:
    site = Pop3Site()
    before = site.clock.time
    link, wire = site.connect()
    assert b"[AUTH]" in await site.talk(link, wire, b"USER a@example.test\r\nPASS no\r\n")
    assert site.clock.time - before == 1.0


@in_loop
async def test_pipelined_retrs_are_read_together() -> None:
    site = Pop3Site([SMALL] * 100)
    link, wire = await site.login()
    said = await site.talk(link, wire, b"".join(b"RETR %d\r\n" % n for n in range(1, 101)))
    assert said.count(b"+OK 21 octets") == 100
    assert site.inbox.reads == [100]


@in_loop
async def test_reading_together_is_bounded_in_octets() -> None:
    site = Pop3Site([b"A: b\r\n\r\n" + b"x" * 400_000] * 5)
    link, wire = await site.login()
    said = await site.talk(link, wire, b"".join(b"RETR %d\r\n" % n for n in range(1, 6)))
    assert said.count(b"+OK 400008 octets") == 5
    assert site.inbox.reads == [2, 2, 1]


@in_loop
async def test_a_big_message_goes_in_pieces_and_waits_for_the_client() -> None:
    big = b"A: b\r\n\r\n" + b".23456789012345\r\n" * 200_000
    site = Pop3Site([big])
    link, wire = await site.login()
    link.data_received(b"RETR 1\r\n")
    while len(wire.written) < 300_000:
        await asyncio.sleep(0)
    link.pause_writing()
    for _ in range(100):
        await asyncio.sleep(0)
    held = len(wire.written)
    assert held < 1_000_000
    assert link.working
    link.data_received(b"NOOP\r\n" * 20_000)
    assert wire.paused
    link.resume_writing()
    await site.settle(link)
    for _ in range(200):
        await asyncio.sleep(0)
    said = wire.take()
    assert said.startswith(b"+OK %d octets\r\nA: b\r\n\r\n..23456" % len(big))
    assert said.count(b"\r\n..23") == 200_000
    assert said.endswith(b"5\r\n.\r\n" + b"+OK\r\n" * 20_000)
    assert not wire.paused


@in_loop
async def test_answers_stop_when_the_client_does_not_read() -> None:
    site = Pop3Site([SMALL])
    link, wire = await site.login()
    link.pause_writing()
    link.data_received(b"STAT\r\n" * 10)
    assert not wire.written
    link.resume_writing()
    assert wire.take() == b"+OK 1 21\r\n" * 10


@in_loop
async def test_a_vanished_message_is_said_to_be_gone_and_harms_no_other() -> None:
    site = Pop3Site([SMALL] * 3)
    link, wire = await site.login()
    del site.inbox.messages[3]
    said = await site.talk(link, wire, b"RETR 1\r\nRETR 2\r\nRETR 3\r\nTOP 2 0\r\n")
    assert [line for line in said.split(b"\r\n") if line[:1] in b"+-" and line] == [
        b"+OK 21 octets", b"-ERR message is gone", b"+OK 21 octets", b"-ERR message is gone"
    ]  # fmt: skip


@in_loop
async def test_a_big_message_that_vanishes_half_way_ends_the_connection() -> None:
    site = Pop3Site([b"A: b\r\n\r\n" + b"x" * 2_000_000])
    link, wire = await site.login()
    link.data_received(b"RETR 1\r\n")
    while len(wire.written) < 100_000:
        await asyncio.sleep(0)
    site.inbox.messages.clear()
    await site.settle(link)
    assert wire.closed
    assert not wire.take().endswith(b".\r\n")


@in_loop
async def test_endless_lines_end_the_connection() -> None:
    site = Pop3Site()
    link, wire = site.connect()
    wire.take()
    for _ in range(20):
        link.data_received(b"x" * 1000)
    assert wire.take() == b"-ERR line too long\r\n"
    assert wire.closed
    link, wire = await site.login()
    assert await site.talk(link, wire, b"NOOP " + b"x" * 2000 + b"\r\n") == b"-ERR line too long\r\n"


@in_loop
async def test_silence_ends_a_session_without_removing() -> None:
    site = Pop3Site([SMALL], pop3_idle_timeout=600)
    link, wire = await site.login()
    fresh, fresh_wire = site.connect()
    await site.talk(link, wire, b"DELE 1\r\n")
    site.clock.advance(61)
    link.check_time(site.clock.monotonic())
    fresh.check_time(site.clock.monotonic())
    assert (wire.closed, fresh_wire.closed) == (False, True)
    site.clock.advance(540)
    link.check_time(site.clock.monotonic())
    assert wire.closed
    assert site.inbox.removed == []


@in_loop
async def test_a_client_that_takes_nothing_is_cut_off() -> None:
    site = Pop3Site([SMALL])
    link, wire = await site.login()
    link.pause_writing()
    wire.unread = 100_000
    link.check_time(site.clock.monotonic())
    site.clock.advance(20)
    wire.unread = 90_000
    link.check_time(site.clock.monotonic())
    site.clock.advance(29)
    link.check_time(site.clock.monotonic())
    assert not wire.aborted
    site.clock.advance(2)
    link.check_time(site.clock.monotonic())
    assert wire.aborted


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (None, b"+OK ready\r\n"),
        (accept(), b"+OK ready\r\n"),
        (reject("not\r\nyou"), b"-ERR [SYS/PERM] not??you\r\n"),
        (defer("later"), b"-ERR [SYS/TEMP] later\r\n"),
    ],
)
def test_the_connect_hook_decides_before_anything_is_said(verdict: Verdict | None, said: bytes) -> None:
    async def run() -> None:
        site = Pop3Site()
        plan = site.hooks.smtp_connect = FakePlan(lambda session: verdict)
        link, wire = site.connect()
        link.data_received(b"CAPA\r\n")
        assert not wire.written
        await site.settle(link)
        assert wire.take().startswith(said)
        session = plan.calls[0]["session"]
        assert (session.protocol, session.client_ip) == ("pop3", "192.0.2.1")
        assert wire.closed == said.startswith(b"-ERR")

    asyncio.run(run())


@in_loop
async def test_there_is_room_for_so_many() -> None:
    site = Pop3Site(connections=1)
    first, _ = site.connect()
    _, wire = site.connect()
    assert wire.take() == b"-ERR [SYS/TEMP] too many connections\r\n"
    assert wire.closed
    first.connection_lost(None)
    _, wire = site.connect()
    assert wire.take() == b"+OK ready\r\n"


@in_loop
async def test_drain_lets_those_finish_who_have_something_to_remove() -> None:
    site = Pop3Site([SMALL])
    idle, idle_wire = site.connect()
    idle_wire.take()
    link, wire = await site.login()
    await site.talk(link, wire, b"DELE 1\r\n")
    draining = asyncio.ensure_future(site.server.drain(5))
    await asyncio.sleep(0)
    assert idle_wire.take() == b"-ERR [SYS/TEMP] server is shutting down\r\n"
    assert idle_wire.closed
    idle.connection_lost(None)
    assert not wire.closed
    assert await site.talk(link, wire, b"QUIT\r\n") == b"+OK bye\r\n"
    link.connection_lost(None)
    await asyncio.wait_for(draining, 1)
    assert site.inbox.removed == [1]


@in_loop
async def test_drain_cuts_off_at_the_end_of_its_grace() -> None:
    site = Pop3Site([SMALL])
    link, wire = await site.login()
    await site.talk(link, wire, b"DELE 1\r\n")
    await site.server.drain(0.01)
    assert wire.aborted


@in_loop
async def test_100_000_messages_are_listed_in_time() -> None:
    site = Pop3Site([b"x"] * 100_000)
    link, wire = await site.login()
    before = time.process_time()
    said = await site.talk(link, wire, b"UIDL\r\nLIST\r\n")
    took = time.process_time() - before
    assert said.count(b"\r\n") == 200_004
    assert b"\r\n100000 77.199999\r\n.\r\n+OK 100000 messages\r\n1 1\r\n" in said
    assert took < 0.5  # 0.1 s alone on a core


@in_loop
async def test_a_balancer_says_who_the_client_is() -> None:
    site = Pop3Site([SMALL])
    networks = (ip_network("192.0.2.0/24"),)
    link, wire = site.connect(proxy_protocol=networks)
    assert wire.take() == b""
    header = b"PROXY TCP4 203.0.113.9 192.0.2.25 40001 110\r\n"
    for octet in header[:-1]:
        link.data_received(bytes([octet]))
    assert (wire.take(), link.session.client_ip) == (b"", "192.0.2.1")
    link.data_received(header[-1:] + b"QUIT\r\n")
    assert wire.take() == b"+OK ready\r\n+OK bye\r\n"
    assert (link.session.client_ip, link.session.client_port, link.session.local_port) == ("203.0.113.9", 40001, 110)
    link, wire = site.connect(proxy_protocol=networks)
    link.data_received(b"USER alice@example.test\r\n" * 10)
    assert (wire.take(), wire.closed) == (b"", True)
    link, wire = site.connect(proxy_protocol=(ip_network("10.0.0.0/8"),))
    assert wire.take() == b"+OK ready\r\n"
    link.data_received(header)
    assert wire.take() == b"-ERR command not known\r\n"
