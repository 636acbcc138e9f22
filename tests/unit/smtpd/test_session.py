# SPDX-License-Identifier: Apache-2.0
"""What transcripts cannot say: hooks and their arguments, time, buffers, shutdown."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from mta.model.address import Address
from mta.model.errors import StorageFull, TemporaryFailure
from mta.model.verdict import accept, add_score, defer, discard, hold, quarantine, redirect, reject
from mta.smtpd.protocol import HIGH_WATER, SmtpProtocol
from mta.testing.smtpd import FakeTransport, SmtpSite

HELLO = b"EHLO client.example\r\n"
MAIL = b"MAIL FROM:<sender@elsewhere.test>\r\n"
RCPT = b"RCPT TO:<alice@example.test>\r\n"
ENVELOPE = HELLO + MAIL + RCPT + b"DATA\r\n"
BODY = b"Subject: x\r\n\r\nbody\r\n.\r\n"

Talk = Callable[[bytes], Coroutine[Any, Any, str]]


def session(site: SmtpSite, play: Callable[[Talk, SmtpProtocol, FakeTransport], Awaitable[None]], *args: Any, **kw: Any) -> None:
    async def run() -> None:
        link, transport = site.connect(*args, **kw)
        await site.settle(link)
        transport.take()

        async def talk(octets: bytes) -> str:
            return (await site.talk(link, transport, octets)).decode()

        await play(talk, link, transport)
        await site.tasks.close()

    asyncio.run(run())


def last(text: str) -> str:
    return text.split("\r\n")[-2]


def test_replies_of_one_packet_leave_in_one_write() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        before = transport.writes
        assert last(await talk(ENVELOPE)).startswith("354")
        assert transport.writes == before + 1
        assert last(await talk(BODY)).startswith("250 2.0.0 queued as")

    session(SmtpSite(), play)


def test_250_waits_for_the_commit() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(ENVELOPE)
        gate = asyncio.get_running_loop().create_future()
        site.spool.gate = gate
        link.data_received(BODY + b"NOOP\r\n")
        for _ in range(20):
            await asyncio.sleep(0)
        assert transport.take() == b""
        gate.set_result(None)
        await site.settle(link)
        assert transport.take().startswith(b"250 2.0.0 queued as")

    site = SmtpSite()
    session(site, play)


def test_a_message_under_commit_is_finished_when_the_client_goes() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(ENVELOPE)
        gate = asyncio.get_running_loop().create_future()
        site.spool.gate = gate
        link.data_received(BODY)
        await asyncio.sleep(0)
        link.connection_lost(None)
        gate.set_result(None)
        await site.settle(link)
        assert len(site.spool.accepted) == 1
        assert site.server.connections == 0

    site = SmtpSite()
    session(site, play)


def test_half_a_message_is_no_message() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(ENVELOPE)
        await talk(BODY[:-3])
        assert link.eof_received() is False
        link.connection_lost(None)
        assert site.spool.accepted == []

    site = SmtpSite()
    session(site, play)


def test_commands_behind_data_are_refused() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        assert last(await talk(ENVELOPE + b"Subject: x\r\n")).startswith("503 5.5.0")
        assert transport.gone
        assert site.spool.accepted == []

    site = SmtpSite()
    session(site, play)


def test_clear_octets_behind_starttls_end_the_connection() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        link.server.tls = object()  # type: ignore[assignment]
        assert "STARTTLS" in await talk(HELLO)
        assert await talk(b"STARTTLS\r\nMAIL FROM:<x@y.z>\r\n") == ""
        assert transport.aborted

    session(SmtpSite(), play)


@pytest.mark.parametrize("end", [b"\r\r\n.\r\n", b"\0\r\n.\r\n", b"\n.\r\n.\r\n", b"\r\n.\n\r\n.\r\n"], ids=repr)
def test_nothing_is_obeyed_behind_a_faulty_message(end: bytes) -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(ENVELOPE)
        said = await talk(b"x\r\n\r\nbody" + end + MAIL + RCPT)
        assert said.startswith("550 5.6.0")
        assert said.count("\r\n") == 1
        assert transport.gone
        assert site.spool.accepted == []

    site = SmtpSite(relay=("192.0.2.0/24",))  # no exemption for trusted networks
    session(site, play)


def test_a_faulty_message_that_never_ends_is_told_at_the_time_out() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(ENVELOPE)
        assert await talk(b"x\n.\n") == ""
        site.clock.advance(181)
        site.server._look()
        assert transport.take().startswith(b"550 5.6.0 bare LF")

    site = SmtpSite()
    session(site, play)


# ---- hooks


def test_hooks_get_exactly_their_arguments() -> None:
    site = SmtpSite()
    plans = {name: site.hook(name, lambda **_: None) for name in ("smtp_connect", "smtp_ehlo", "smtp_mail", "smtp_rcpt")}

    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(HELLO + b"MAIL FROM:<> RET=HDRS\r\nRCPT TO:<alice@example.test> NOTIFY=NEVER\r\nDATA\r\n")
        await talk(BODY)

    session(site, play)
    assert [set(plans[name].calls[0]) for name in plans] == [
        {"session"},
        {"session", "name", "verb"},
        {"session", "transaction", "sender", "params"},
        {"session", "transaction", "recipient", "params"},
    ]
    assert plans["smtp_ehlo"].calls[0]["verb"] == "EHLO"
    assert plans["smtp_mail"].calls[0]["sender"] is None
    assert plans["smtp_mail"].calls[0]["params"] == {"RET": "HDRS"}
    call = plans["smtp_rcpt"].calls[0]
    assert (call["recipient"], call["params"]) == (Address("alice", "example.test"), {"NOTIFY": "NEVER"})
    peer = call["session"]
    assert (peer.client_ip, peer.client_port, peer.local_port, peer.helo, peer.tls, peer.user, peer.protocol) == (
        "192.0.2.1", 40000, 25, "client.example", False, "", "smtp",
    )  # fmt: skip
    assert site.spool.accepted[0].id == call["transaction"].id
    assert site.spool.accepted[0].queued == ()


@pytest.mark.parametrize(("verdict", "said"), [(reject("go away"), "554 5.7.1 go away"), (defer("later"), "421 4.7.1 later")])
def test_a_refused_connection_is_told_and_closed(verdict: Any, said: str) -> None:
    async def run() -> None:
        site = SmtpSite()
        site.hook("smtp_connect", lambda session: verdict)
        link, transport = site.connect()
        await site.settle(link)
        assert transport.take().decode() == said + "\r\n"
        assert transport.gone
        await site.tasks.close()

    asyncio.run(run())


def test_input_before_the_greeting_waits_for_it() -> None:
    async def run() -> None:
        site = SmtpSite()
        site.hook("smtp_connect", lambda session: asyncio.sleep(0))
        link, transport = site.connect()
        link.data_received(b"NOOP\r\n")
        assert transport.take() == b""
        await site.settle(link)
        assert transport.take().split(b"\r\n")[0].startswith(b"220")
        await site.tasks.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("hook", "verdict", "reply"),
    [
        ("smtp_ehlo", reject("bad name"), "550 5.7.1 bad name"),
        ("smtp_mail", defer("busy", code=450), "450 4.7.1 busy"),
        ("smtp_rcpt", reject("not here", enhanced="5.1.1"), "550 5.1.1 not here"),
        ("smtp_rcpt", defer("greylisted"), "451 4.7.1 greylisted"),
    ],
)
def test_refusals_of_hooks_reach_the_peer(hook: str, verdict: Any, reply: str) -> None:
    site = SmtpSite()
    site.hook(hook, lambda **_: verdict)

    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        assert reply in (await talk(HELLO + MAIL + RCPT)).split("\r\n")

    session(site, play)


@pytest.mark.parametrize(
    ("verdict", "address", "wanted"),
    [
        (None, "far@elsewhere.test", "550 5.7.1"),
        (add_score(1.0), "far@elsewhere.test", "550 5.7.1"),
        (quarantine("odd"), "far@elsewhere.test", "550 5.7.1"),
        (accept(), "far@elsewhere.test", [("remote", "far@elsewhere.test", "")]),
        (accept(), "nobody@example.test", [("local", "nobody@example.test", "")]),
        (accept(), "alice@example.test", ["INBOX"]),
        (quarantine("odd"), "alice@example.test", ["Junk"]),
        (hold("wait"), "alice@example.test", [("local", "alice@example.test", "wait")]),
        (discard("drop"), "alice@example.test", []),
        (redirect("bob@example.test", "x@y.test"), "alice@example.test", ["INBOX", ("remote", "x@y.test", "")]),
        (redirect("nobody@example.test"), "alice@example.test", "550 5.1.1"),
        (redirect("broken"), "alice@example.test", "451 4.3.0"),
    ],
)
def test_what_a_verdict_on_a_recipient_does(verdict: Any, address: str, wanted: Any) -> None:
    site = SmtpSite()
    site.hook("smtp_rcpt", lambda **_: verdict)

    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(HELLO + MAIL)
        reply = await talk(f"RCPT TO:<{address}>\r\n".encode())
        if isinstance(wanted, str):
            assert reply.startswith(wanted)
            return
        assert reply.startswith("250")
        await talk(b"DATA\r\n")
        assert (await talk(BODY)).startswith("250")
        [intake] = site.spool.accepted
        found: list[Any] = [d.placement.folder for d in intake.deliveries]
        found += [(q.transport, str(q.address), q.hold) for q in intake.queued]
        assert found == wanted

    session(site, play)


def test_a_bug_in_a_hook_costs_the_command_not_the_connection() -> None:
    site = SmtpSite()

    def broken(**_: Any) -> None:
        raise RuntimeError("private detail")

    site.hook("smtp_rcpt", broken)

    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        said = await talk(HELLO + MAIL + RCPT)
        assert last(said).startswith("451 4.3.0")
        assert "private" not in said
        site.hooks.smtp_rcpt = None
        assert (await talk(RCPT)).startswith("250")

    session(site, play)


def test_a_directory_that_is_away_defers() -> None:
    site = SmtpSite()

    async def away(address: Address) -> None:
        raise TemporaryFailure("database away")

    site.hook("recipient_lookup", away)
    site.hook("auth_verify", lambda **_: away(Address("a", "b")))

    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        link.peer.tls = True
        assert "AUTH" in await talk(HELLO)
        assert await talk(b"AUTH PLAIN AGEAYg==\r\n") == "454 4.7.0 temporary authentication failure\r\n"
        assert last(await talk(MAIL + RCPT)) == "451 4.3.0 temporary failure, try again later"

    session(site, play)


def test_wrong_passwords_are_slow() -> None:
    site = SmtpSite(plaintext=True)

    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(HELLO)
        before = site.clock.monotonic()
        assert (await talk(b"AUTH PLAIN AGEAYg==\r\n")).startswith("535 5.7.8")
        assert site.clock.monotonic() - before == 1.0

    session(site, play)


# ---- who may connect, from where


def test_connections_of_one_client_are_counted_except_relay_networks() -> None:
    async def run() -> None:
        site = SmtpSite(limits={"connections_per_client": 2}, relay=("198.51.100.0/24",))
        links = [site.connect() for _ in range(3)]
        assert [t.take()[:3] for _, t in links] == [b"220", b"220", b"421"]
        assert links[2][1].gone
        links[0][0].connection_lost(None)
        links[2][0].connection_lost(None)
        assert site.connect()[1].take()[:3] == b"220"
        assert all(site.connect(peer=("198.51.100.7", n))[1].take()[:3] == b"220" for n in range(5))
        assert all(site.connect(peer=("::ffff:198.51.100.7", n))[1].take()[:3] == b"220" for n in range(5))

    asyncio.run(run())


def test_the_sendmail_socket_relays_without_login_and_knows_who_speaks() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        assert "AUTH" not in await talk(HELLO)
        said = await talk(b"MAIL FROM:<anyone@elsewhere.test>\r\nRCPT TO:<far@elsewhere.test>\r\nDATA\r\n")
        assert last(said).startswith("354")
        await talk(BODY)
        [intake] = site.spool.accepted
        assert (intake.origin, intake.user) == ("local", "unknown@mx.example.test")

    site = SmtpSite()
    session(site, play, "submission", local=True)


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (b"PROXY TCP4 203.0.113.9 192.0.2.25 4711 25\r\n", "203.0.113.9"),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 4711 25\r\n", "2001:db8::9"),
        (b"PROXY UNKNOWN\r\n", "192.0.2.1"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\x00\x71\x09\xc0\x00\x02\x19\x12\x67\0\x19", "203.0.113.9"),
    ],
)
def test_proxy_headers_say_who_the_client_is(header: bytes, client: str) -> None:
    from ipaddress import ip_network

    async def run() -> None:
        for whole in (True, False):
            site = SmtpSite()
            link, transport = site.connect(proxy_protocol=(ip_network("192.0.2.1/32"),))
            assert transport.take() == b""
            octets = header + b"NOOP\r\n"
            for piece in [octets] if whole else [octets[i : i + 1] for i in range(len(octets))]:
                link.data_received(piece)
            assert transport.take().startswith(b"220 ")
            assert link.peer.client_ip == client
            _, stranger = site.connect(peer=("192.0.2.2", 1), proxy_protocol=(ip_network("192.0.2.1/32"),))
            assert stranger.take().startswith(b"220 ")

    asyncio.run(run())


@pytest.mark.parametrize(
    "octets",
    [b"EHLO client.example\r\n", b"PROXY TCP4 x y 1 2\r\n", b"PROXY " + b"1" * 200, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"],
)
def test_a_balancer_that_sends_no_header_is_refused(octets: bytes) -> None:
    from ipaddress import ip_network

    async def run() -> None:
        site = SmtpSite()
        link, transport = site.connect(proxy_protocol=(ip_network("192.0.2.1/32"),))
        link.data_received(octets)
        assert transport.take().startswith(b"421 ")
        assert transport.gone

    asyncio.run(run())


# ---- time and buffers


def test_a_slow_command_does_not_move_its_deadline() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        for _ in range(4):
            site.clock.advance(80)
            assert await talk(b"N") == ""
            site.server._look()
        assert transport.take().startswith(b"421 4.4.2")
        assert transport.ended
        site.clock.advance(6)
        site.server._look()
        assert transport.aborted

    site = SmtpSite()
    session(site, play)


def test_a_slow_message_lives_until_the_transaction_time_out() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(ENVELOPE)
        for _ in range(36):
            site.clock.advance(100)
            assert await talk(b"x" * 9998 + b"\r\n") == ""
            site.server._look()
            assert not transport.gone
        site.clock.advance(1)
        site.server._look()
        assert transport.take().startswith(b"421 4.4.2")

    site = SmtpSite()
    session(site, play)


def test_a_peer_that_reads_nothing_stops_being_obeyed() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        link.pause_writing()
        assert transport.paused
        assert await talk(b"NOOP\r\n" * 3) == ""
        link.resume_writing()
        assert transport.take().count(b"250") == 3
        assert not transport.paused
        transport.unread = 70_000
        link.pause_writing()
        for unread in (60_000, 50_000):
            site.clock.advance(29)
            transport.unread = unread
            site.server._look()
            assert not transport.aborted
        site.clock.advance(31)
        site.server._look()
        assert transport.aborted

    site = SmtpSite()
    session(site, play)


def test_a_stall_that_ends_during_a_wait_leaves_no_deadline() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(ENVELOPE)
        gate = asyncio.get_running_loop().create_future()
        site.spool.gate = gate
        link.data_received(BODY)
        link.pause_writing()
        link.resume_writing()
        site.clock.advance(1000)
        site.server._look()
        assert not transport.gone
        gate.set_result(None)
        await site.settle(link)
        assert transport.take().startswith(b"250")

    site = SmtpSite()
    session(site, play)


def test_a_flood_that_asks_hooks_gives_way_to_others() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(HELLO)
        link.data_received((MAIL + b"RSET\r\n") * 2000)
        turns = 0
        while link.working:
            await asyncio.sleep(0)
            turns += 1
        assert turns >= 10
        assert transport.take().count(b"250") == 4000

    site = SmtpSite()
    site.hook("smtp_mail", lambda **_: None)
    session(site, play)


def test_a_flood_is_read_in_turns_and_bounded() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        flood = b"RSET\r\n" * 20_000
        link.data_received(flood)
        assert transport.paused
        assert link.working
        answers = transport.written.count(b"250")
        assert answers <= 200
        await site.settle(link)
        assert transport.take().count(b"250") == 20_000
        assert not transport.paused

    site = SmtpSite(limits={"errors": 1_000_000})
    session(site, play)


def test_commands_that_do_no_work_are_errors_after_a_hundred() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        assert (await talk(b"NOOP\r\n" * 100)).count("250") == 100
        assert last(await talk(b"NOOP\r\n" * 20)).startswith("421 4.7.0")
        assert transport.gone

    session(SmtpSite(), play)


def test_input_during_a_wait_is_bounded() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        gate = asyncio.get_running_loop().create_future()
        site.spool.gate = gate
        await talk(ENVELOPE)
        link.data_received(BODY)
        link.data_received(b"NOOP\r\n" * (HIGH_WATER // 6 + 1))
        assert transport.paused
        gate.set_result(None)
        await site.settle(link)
        assert not transport.paused

    site = SmtpSite(limits={"errors": 100_000})
    session(site, play)


def test_a_big_message_goes_to_the_file_and_arrives_whole(tmp_path: Path) -> None:
    body = b"x" * 70 + b"\r\n"

    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(ENVELOPE)
        for _ in range(40):
            link.data_received(body * 1000)
            while link.working:
                await asyncio.sleep(0.001)
        link.data_received(b".\r\n")
        await site.settle(link)
        assert transport.take().startswith(b"250")
        assert site.spool.accepted[0].content.raw().endswith(body * 40_000)

    site = SmtpSite(data_dir=str(tmp_path), limits={"memory_per_message": 65536})
    session(site, play)


def test_a_full_disk_is_452_and_the_session_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: object) -> None:
        raise StorageFull("no space")

    monkeypatch.setattr("mta.spool.content.SpooledContent.spill", full)

    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(ENVELOPE)
        link.data_received(b"x\r\n" * 30_000)
        while link.working:
            await asyncio.sleep(0.001)
        assert (await talk(b"y\r\n.\r\nNOOP\r\n")).startswith("452 4.3.1")
        assert (await talk(b"NOOP\r\n")).startswith("250")

    session(SmtpSite(limits={"memory_per_message": 65536}), play)


def test_a_client_that_closes_its_half_hears_the_rest() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(ENVELOPE)
        link.data_received(BODY + b"QUIT\r\n")
        assert link.eof_received() is True
        await site.settle(link)
        assert b"221" in transport.take()
        assert transport.closed

    site = SmtpSite()
    session(site, play)


def test_many_commands_before_a_closed_half_are_all_answered() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(HELLO)
        link.data_received((MAIL + b"RSET\r\n") * 500)
        assert link.eof_received() is True
        await site.settle(link)
        assert transport.take().count(b"250") == 1000
        assert transport.closed

    site = SmtpSite()
    session(site, play)


def test_postmaster_needs_no_domain() -> None:
    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(HELLO + MAIL)
        assert (await talk(b"RCPT TO:<Postmaster>\r\n")).startswith("250")
        await talk(b"DATA\r\n")
        await talk(BODY)
        assert [d.user for d in site.spool.accepted[0].deliveries] == [1]

    site = SmtpSite(users={"postmaster@example.test": "x"})
    session(site, play)


def test_drain_lets_a_message_finish() -> None:
    async def run() -> None:
        site = SmtpSite()
        idle, idle_transport = site.connect()
        busy, transport = site.connect()
        await site.talk(busy, transport, ENVELOPE)
        idle_transport.take()
        drained = asyncio.ensure_future(site.server.drain(5.0))
        await asyncio.sleep(0)
        assert idle_transport.take().startswith(b"421 4.3.2")
        idle.connection_lost(None)
        assert transport.take() == b""
        assert (await site.talk(busy, transport, BODY)).startswith(b"250")
        site.server._look()
        assert transport.take().startswith(b"421")
        late, late_transport = site.connect()
        assert late_transport.take().startswith(b"421")
        late.connection_lost(None)
        busy.connection_lost(None)
        await drained
        assert site.server.connections == 0
        await site.tasks.close()

    asyncio.run(run())
