"""One connection: bounds, time-outs, hooks, balancers, draining."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Callable, Coroutine
from ipaddress import ip_network
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.model.errors import TemporaryFailure
from mta.model.verdict import defer, reject
from mta.testing.imapd import ImapSite
from mta.testing.smtpd import FakePlan


def run(test: Callable[[ImapSite], Coroutine[Any, Any, None]], **site: Any) -> None:
    async def work() -> None:
        made = await ImapSite(**site).open()
        await test(made)
        await made.tasks.close()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (reject("go away\r\nplease"), b"* BYE [CONTACTADMIN] go away??please\r\n"),
        (defer("later"), b"* BYE [UNAVAILABLE] later\r\n"),
    ],
)
def test_a_hook_refuses_the_connection(verdict: Any, words: bytes) -> None:
    async def test(site: ImapSite) -> None:
        plan = site.hooks.smtp_connect = FakePlan(lambda session: verdict)
        link, transport = site.connect()
        await site.settle(link)
        assert transport.take() == words
        assert transport.gone
        assert plan.calls[0]["session"].protocol == "imap"
        assert plan.calls[0]["session"].client_ip == "192.0.2.1"

    run(test)


def test_a_hook_lets_the_connection_in() -> None:
    async def test(site: ImapSite) -> None:
        site.hooks.smtp_connect = FakePlan(lambda session: None)
        link, transport = site.connect()
        link.data_received(b"a NOOP\r\n")
        await site.settle(link)
        assert [line[:4] for line in transport.take().splitlines()] == [b"* OK", b"a OK"]

    run(test)


@pytest.mark.parametrize(
    ("failure", "code"), [(TemporaryFailure("x"), b"UNAVAILABLE"), (ZeroDivisionError("secret"), b"SERVERBUG")]
)
def test_a_hook_fails(failure: Exception, code: bytes) -> None:
    async def test(site: ImapSite) -> None:
        def fail(session: object) -> None:
            raise failure

        site.hooks.smtp_connect = FakePlan(fail)
        link, transport = site.connect()
        await site.settle(link)
        said = transport.take()
        assert said.startswith(b"* BYE [" + code)
        assert b"secret" not in said

    run(test)


def test_login_while_the_plugin_is_away() -> None:
    async def test(site: ImapSite) -> None:
        def fail(**_: object) -> None:
            raise TemporaryFailure("ldap down")

        site.hooks.auth_verify = FakePlan(fail)
        link, transport = site.connect()
        transport.take()
        assert (await site.talk(link, transport, b"a LOGIN x y\r\n")).startswith(b"a NO [UNAVAILABLE]")

    run(test)


def test_too_many_connections() -> None:
    async def test(site: ImapSite) -> None:
        site.connect()
        _, transport = site.connect()
        assert transport.take() == b"* BYE [UNAVAILABLE] too many connections\r\n"
        assert transport.gone
        assert site.server.connections == 1

    run(test, connections=1)


class TestTime:
    def test_before_login(self) -> None:
        async def test(site: ImapSite) -> None:
            link, transport = site.connect()
            transport.take()
            link.check_time(site.clock.monotonic() + 59)
            assert not transport.gone
            link.check_time(site.clock.monotonic() + 61)
            assert transport.take().startswith(b"* BYE [UNAVAILABLE]")
            assert transport.gone

        run(test)

    def test_in_idle(self) -> None:
        """RFC 9051 §5.4: at least 30 minutes."""

        async def test(site: ImapSite) -> None:
            link, transport = await site.login(b"SELECT INBOX")
            await site.talk(link, transport, b"a IDLE\r\n")
            link.check_time(site.clock.monotonic() + 1800)
            assert not transport.gone
            link.check_time(site.clock.monotonic() + 1801)
            assert transport.gone

        run(test)

    def test_amid_a_literal(self) -> None:
        async def test(site: ImapSite) -> None:
            link, transport = await site.login()
            await site.talk(link, transport, b"a APPEND INBOX {1000}\r\nabc")
            link.check_time(site.clock.monotonic() + 181)
            assert transport.gone

        run(test)

    def test_while_a_password_is_awaited(self) -> None:
        async def test(site: ImapSite) -> None:
            link, transport = site.connect()
            await site.talk(link, transport, b"a AUTHENTICATE PLAIN\r\n")
            link.check_time(site.clock.monotonic() + 61)
            await site.settle(link)
            assert transport.gone

        run(test)

    def test_a_client_that_takes_nothing_is_cut_off(self) -> None:
        async def test(site: ImapSite) -> None:
            link, transport = await site.login(b"SELECT INBOX")
            link.pause_writing()
            transport.unread = 100_000
            now = site.clock.monotonic()
            for seconds in (5, 10, 30):
                link.check_time(now + seconds)
            assert not transport.aborted
            transport.unread = 90_000  # some progress
            link.check_time(now + 34)
            link.check_time(now + 60)
            assert not transport.aborted
            link.check_time(now + 65)
            assert transport.aborted

        run(test)


def test_a_slow_client_holds_its_own_command_only() -> None:
    async def test(site: ImapSite) -> None:
        await site.deliver(*[b"Subject: x\r\n\r\n" + b"y" * 60_000] * 20)
        link, transport = await site.login(b"EXAMINE INBOX")
        link.data_received(b"a FETCH 1:* BODY.PEEK[]\r\n")
        link.pause_writing()
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(transport.take()) < 200_000
        other, other_transport = await site.login(b"EXAMINE INBOX")
        assert b"b OK" in await site.talk(other, other_transport, b"b NOOP\r\n")
        link.resume_writing()
        await site.settle(link)
        assert transport.take().endswith(b"a OK FETCH done\r\n")

    run(test)


def test_reading_stops_while_commands_pile_up() -> None:
    async def test(site: ImapSite) -> None:
        link, transport = await site.login(b"SELECT INBOX")
        link.pause_writing()
        link.data_received(b"a NOOP\r\n")
        for _ in range(10):
            await asyncio.sleep(0)
        for _ in range(100):
            link.data_received(b"a NOOP\r\n" * 1000)
            if transport.paused:
                break
        assert transport.paused
        link.resume_writing()
        await site.settle(link)
        assert not transport.paused
        assert transport.take().count(b"a OK") > 10_000

    run(test)


def test_a_client_that_leaves_amid_a_command() -> None:
    async def test(site: ImapSite) -> None:
        await site.deliver(*[b"x" * 60_000] * 20)
        link, _ = await site.login(b"EXAMINE INBOX")
        link.pause_writing()
        link.data_received(b"a FETCH 1:* BODY.PEEK[]\r\n")
        for _ in range(20):
            await asyncio.sleep(0)
        link.connection_lost(None)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(site.tasks) == 0
        assert site.server.connections == 0
        assert link.session.selected is None

    run(test)


def test_pipelined_work_gives_others_their_turn() -> None:
    async def test(site: ImapSite) -> None:
        link, _ = await site.login(b"SELECT INBOX")
        other, other_transport = await site.login(b"SELECT INBOX")
        ticks = 0
        original = site.clock.monotonic

        def slowly() -> float:
            nonlocal ticks
            ticks += 1
            return original() + ticks * 0.001

        site.clock.monotonic = slowly  # type: ignore[method-assign]
        link.data_received(b"a NOOP\r\n" * 2000)
        other.data_received(b"b NOOP\r\n")
        for _ in range(50):
            await asyncio.sleep(0)
        assert b"b OK" in other_transport.take()
        assert link.working

    run(test)


V2 = b"\r\n\r\n\0\r\nQUIT\n"


class TestProxy:
    SITE: ClassVar[dict[str, Any]] = {"proxies": [ip_network("192.0.2.0/24")]}

    @pytest.mark.parametrize(
        "header",
        [b"PROXY TCP4 198.51.100.7 203.0.113.1 4711 143\r\n", V2 + b"\x21\x11\0\x0c" + bytes([198, 51, 100, 7, 203, 0, 113, 1]) + b"\x12\x67\0\x8f"],
    )  # fmt: skip
    def test_the_client_is_who_the_balancer_says(self, header: bytes) -> None:
        async def test(site: ImapSite) -> None:
            link, transport = site.connect()
            assert transport.take() == b""
            for octet in header[:-1]:
                link.data_received(bytes([octet]))
                assert transport.take() == b""
            link.data_received(header[-1:] + b"a NOOP\r\n")
            await site.settle(link)
            assert transport.take().count(b"OK") == 2
            assert (link.session.peer.client_ip, link.session.peer.client_port) == ("198.51.100.7", 4711)

        run(test, **self.SITE)

    def test_without_header_nobody_is_served(self) -> None:
        async def test(site: ImapSite) -> None:
            link, transport = site.connect()
            link.data_received(b"a NOOP\r\n")
            assert transport.gone
            assert transport.take() == b""

        run(test, **self.SITE)

    def test_strangers_need_none(self) -> None:
        async def test(site: ImapSite) -> None:
            _, transport = site.connect()
            assert transport.take().startswith(b"* OK")

        run(test, proxies=[ip_network("10.0.0.0/8")])


def test_draining_tells_idle_clients_and_lets_busy_ones_finish() -> None:
    async def test(site: ImapSite) -> None:
        await site.deliver(*[b"Subject: x\r\n\r\n" + b"y" * 60_000] * 20)
        _, idle = await site.login(b"SELECT INBOX")
        busy, busy_transport = await site.login(b"EXAMINE INBOX")
        busy.data_received(b"a FETCH 1:* BODY.PEEK[]\r\n")
        busy.pause_writing()
        for _ in range(20):
            await asyncio.sleep(0)
        draining = asyncio.ensure_future(site.server.drain(1000.0))
        for _ in range(20):
            await asyncio.sleep(0)
        assert b"* BYE [UNAVAILABLE]" in idle.take()
        assert not busy_transport.gone
        busy.resume_writing()
        await draining
        said = busy_transport.take()
        assert b"a OK FETCH done\r\n* BYE [UNAVAILABLE]" in said
        assert site.server.connections == 0
        _, late = site.connect()
        assert late.take().startswith(b"* BYE")

    run(test)


def test_one_users_commands_never_show_anothers_mail() -> None:
    async def test(site: ImapSite) -> None:
        await site.deliver(b"Subject: secret\r\n\r\n")
        link, transport = await site.login(b"SELECT INBOX", user=b"bob@example.test")
        said = await site.talk(link, transport, b'a UID SEARCH ALL\r\nb LIST "" *\r\nc STATUS INBOX (MESSAGES)\r\n')
        assert b"* SEARCH\r\n" in said
        assert b"(MESSAGES 0)" in said

    run(test)


def test_a_full_disk_refuses_the_message_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "tmp").write_text("a file where the folder should be")

    async def test(site: ImapSite) -> None:
        link, transport = await site.login()
        octets = b"x" * 3_000_000
        link.data_received(b"a APPEND INBOX {3000000+}\r\n")
        for start in range(0, len(octets), 100_000):
            link.data_received(octets[start : start + 100_000])
            while link.working:
                await asyncio.sleep(0.001)
        assert (await site.talk(link, transport, b"\r\nb NOOP\r\n")).startswith(b"a NO [OVERQUOTA]")

    run(test, data_dir=str(tmp_path), memory_per_message=65536)


def test_literals_that_do_not_wait_to_be_asked_for() -> None:
    async def test(site: ImapSite) -> None:
        link, transport = await site.login()
        said = await site.talk(
            link, transport, b"a ID (" + b"{0}\r\n " * 59 + b"{0}\r\n)\r\nb SEARCH " + b"{0}\r\n" * 999 + b"\r\n"
        )
        assert said.count(b"+ go ahead\r\n") == 60 + 999
        assert b"a OK" in said
        assert b"b BAD" in said

    run(test)


PIECES = [b"FETCH", b"UID", b"STORE", b"SEARCH", b"1:*", b"1", b"(FLAGS)", b"BODY[1.TEXT]<0.5>", b"BODYSTRUCTURE", b"ENVELOPE", b"BINARY[1]", b"+FLAGS",
          b"(\\Seen)", b"OR", b"NOT", b"BODY", b"x", b"{3+}\r\nabc", b"{0}\r\n", b"\"q\"", b"(", b")", b"SELECT", b"INBOX", b"Sent", b"LIST", b"\"\"", b"*", b"%",
          b"STATUS", b"(MESSAGES)", b"APPEND", b"COPY", b"MOVE", b"EXPUNGE", b"CLOSE", b"IDLE", b"DONE", b"NOOP", b"ENABLE", b"QRESYNC", b"IMAP4rev2", b"CREATE",
          b"a/b", b"RENAME", b"DELETE", b"RETURN", b"(SAVE)", b"$", b"(CHANGEDSINCE 1 VANISHED)", b"(QRESYNC (1 1))", b"\xff", b"\0", b"&AA-", b"\r\n", b"\n"]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=7), max_size=12))
def test_whatever_a_client_says_is_answered(commands: list[list[bytes]]) -> None:
    async def test(site: ImapSite) -> None:
        await site.deliver(b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n", b"")
        link, transport = await site.login(b"SELECT INBOX")
        said = await site.talk(link, transport, b"".join(b"t " + b" ".join(words) + b"\r\n" for words in commands))
        assert b"SERVERBUG" not in said
        said += await site.talk(link, transport, b"\r\n" * 3 + b"DONE\r\n\r\nlast NOOP\r\n")
        assert b"last OK" in said or transport.gone
        assert b"SERVERBUG" not in said

    run(test, errors=1000)


def test_no_exception_text_reaches_the_client() -> None:
    async def test(site: ImapSite) -> None:
        async def fail(*_: object) -> None:
            raise RuntimeError("secret detail")

        site.store.mailboxes = fail  # type: ignore[method-assign,assignment]
        link, transport = await site.login()
        assert await site.talk(link, transport, b'a LIST "" *\r\nb NOOP\r\n') == (
            b"a NO [SERVERBUG] internal error, it has been logged\r\nb OK done\r\n"
        )

    run(test)


def test_idle_survives_a_store_that_is_away() -> None:
    async def test(site: ImapSite) -> None:
        link, transport = await site.login(b"SELECT INBOX")
        changes, inbox = site.store.changes, await site.mailbox()

        async def away(*_: object) -> None:
            raise TemporaryFailure("database is away")

        site.store.changes = away  # type: ignore[method-assign,assignment]
        await site.deliver(b"x")
        assert await site.talk(link, transport, b"c IDLE\r\n") == b"+ idling\r\n"
        site.store.changes = changes  # type: ignore[method-assign]
        site.server.changed([inbox])
        said = b""
        while b" EXISTS\r\n" not in said:
            await asyncio.sleep(0)
            said += transport.take()
        assert (await site.talk(link, transport, b"DONE\r\n")).startswith(b"c OK")

    run(test)


def test_what_was_done_is_answered_ok_though_the_store_is_away_since() -> None:
    async def test(site: ImapSite) -> None:
        link, transport = await site.login(b"SELECT INBOX")
        changes = site.store.changes

        async def away(*_: object) -> None:
            raise TemporaryFailure("database is away")

        site.store.changes = away  # type: ignore[method-assign,assignment]
        assert (await site.talk(link, transport, b"a APPEND INBOX {1+}\r\nx\r\n")).startswith(b"a OK [APPENDUID")
        site.store.changes = changes  # type: ignore[method-assign]
        assert b"* 1 EXISTS\r\n" in await site.talk(link, transport, b"b NOOP\r\n")

    run(test)
