"""SpamAssassin through the hooks, over sockets to a spamd that says what the test wants."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import mta_spamassassin
from mta.model.address import Address
from mta.model.verdict import Action
from mta.pipeline.header import apply_edits, parse_fields
from mta.pluginhost.host import Decision, HookHost
from mta.testing.plugins import FakeMessage, FakeSession, host_with
from mta_spamassassin.config import SpamassassinConfig
from mta_spamassassin.spamd import Answer, NotSpamd, ask
from mta_spamassassin.trace import trace_fields

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def reply(spam: bool, score: float, tests: str = "BAYES_99,URIBL_BLACK") -> bytes:
    word = "True" if spam else "False"
    return f"SPAMD/1.1 0 EX_OK\r\nContent-length: {len(tests)}\r\nSpam: {word} ; {score} / 5.0\r\n\r\n{tests}".encode()


def saying(octets: bytes, seen: bytearray) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend(await reader.read(-1))  # to the end, as spamd does
        writer.write(octets)
        await writer.drain()
        writer.close()

    return serve


def check(serve: Serve, message: FakeMessage | None = None, session: FakeSession | None = None, **config: Any) -> Decision:
    return with_server(serve, message or FakeMessage(), session or FakeSession(), **config)[0]


def with_server(serve: Serve, message: FakeMessage, session: FakeSession, **config: Any) -> tuple[Decision, HookHost]:
    async def main() -> tuple[Decision, HookHost]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        config.setdefault("address", f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        made = host_with(mta_spamassassin, config=config)
        plan = made.message_check
        assert plan is not None
        try:
            return await plan.verdict(session=session, message=message, recipients=(), results=()), made
        finally:
            server.close()

    return asyncio.run(main())


def test_scores_join_the_sum() -> None:
    decision = check(saying(reply(True, 7.3), bytearray()))
    assert (decision.verdict, decision.score) == (None, 7.3)
    assert decision.steps[0]["verdict"]["reason"] == "spamassassin: 7.3/5 (BAYES_99, URIBL_BLACK)"
    assert check(saying(reply(False, -2.5), bytearray())).score == -2.5


def test_a_score_of_nought_ends_no_chain() -> None:
    assert check(saying(reply(False, 0.0, ""), bytearray())) == Decision(None, "", 0.0, ())


@pytest.mark.parametrize(
    ("measure", "expected"),
    [("quarantine", Action.QUARANTINE), ("defer", Action.DEFER), ("reject", Action.REJECT), ("discard", Action.DISCARD)],
)
def test_its_word_decides_when_the_config_says_so(measure: str, expected: Action) -> None:
    decision = check(saying(reply(True, 7.3), bytearray()), spam=measure)
    assert decision.verdict is not None
    assert decision.verdict.action is expected
    assert check(saying(reply(False, 4.9), bytearray()), spam=measure).score == 4.9


def test_what_spamd_is_shown() -> None:
    seen = bytearray()
    message = FakeMessage(b"Subject: x\r\n\r\nbody\r\n", id="q7", sender=Address("a", "s.test"))
    session = FakeSession(client_ip="2001:db8::1%eth0", helo="[IPv6:2001:db8::1]", tls=True, user="u@x.test")
    check(saying(reply(False, 1), seen), message, session, user="mail")
    head, _, shown = bytes(seen).partition(b"\r\n\r\n")
    assert head.decode().split("\r\n") == ["SYMBOLS SPAMC/1.5", f"Content-length: {len(shown)}", "User: mail"]
    assert shown == (
        b"Return-Path: <a@s.test>\r\n"
        b"Received: from IPv6:2001:db8::1 ([IPv6:2001:db8::1])\r\n"
        b"\tby mx.example.test (mta) with ESMTPSA id q7;\r\n"
        b"\tFri, 15 Jan 2027 08:00:00 -0000\r\n"
        b"Subject: x\r\n\r\nbody\r\n"
    )


def test_empty_values_and_the_null_sender() -> None:
    shown = trace_fields(FakeSession(client_ip="", helo=""), FakeMessage(sender=None), "mx.test", 0.0)
    assert shown == b"Return-Path: <>\r\n"
    shown = trace_fields(FakeSession(helo=""), FakeMessage(sender=None), "mx.test", 0.0)
    assert shown.startswith(b"Return-Path: <>\r\nReceived: from unknown ([192.0.2.1])\r\n\tby mx.test (mta) with ESMTP id q1;")


@given(helo=st.text(), local=st.text(min_size=1))
@settings(max_examples=200, deadline=None)
def test_no_peer_can_forge_a_field(helo: str, local: str) -> None:
    try:
        sender = Address.parse(f'"{local}"@x.test')
    except ValueError:
        sender = None
    shown = trace_fields(FakeSession(helo=helo), FakeMessage(sender=sender), "mx.test", 0.0)
    assert shown.count(b"\n") == shown.count(b"\r") == shown.count(b"\r\n") == 4
    fields = parse_fields(shown)
    assert [name for name, _ in fields] == ["Return-Path", "Received"]
    assert fields[1][1].count("(") == fields[1][1].count("[192.0.2.1]") + 1 == 2


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"SPAMD/1.1 0 EX_OK\r\n",
        b"SPAMD/1.5 0 PONG\r\n\r\n",
        b"SPAMD/1.0 76 Bad header line: x\r\n",
        b"SPAMD/1.1 75 EX_TEMPFAIL\r\nContent-length: 0\r\nSpam: False ; 0.0 / 5.0\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SPAMD/1.1 0 EX_OK\r\nContent-length: 5\r\n\r\nGTUBE",
        b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 9 / 5\r\n\r\n",
        b"SPAMD/1.1 0 EX_OK\r\nContent-length: 5\r\nSpam: True ; nan / 5\r\n\r\nGTUBE",
        b"SPAMD/1.1 0 EX_OK\r\nContent-length: 500\r\nSpam: True ; 9 / 5\r\n\r\nGTUBE",
        b"SPAMD/1.1 0 EX_OK\r\nContent-length: 999999999\r\nSpam: True ; 9 / 5\r\n\r\n" + b"A," * 50_000,
        b"x" * 100_000,
        b"SPAMD/1.1 0 EX_OK\r\n" + b"X: y\r\n" * 10_000,
    ],
)
def test_nonsense_defers_and_is_not_held_against_the_plugin(octets: bytes) -> None:
    decision = check(saying(octets, bytearray()))
    assert decision.verdict is not None
    assert (decision.verdict.action, decision.verdict.code, decision.verdict.enhanced) == (Action.DEFER, 451, "4.3.0")


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.transport.abort()


@pytest.mark.parametrize("serve", [hang, hang_up])
@pytest.mark.parametrize("size", [100, 20_000_000])
def test_a_spamd_that_hangs_or_hangs_up_defers(serve: Serve, size: int) -> None:
    """The big one fills the socket's buffers: writing has the same deadline as reading."""
    decision = check(serve, FakeMessage(b"Subject: x\r\n\r\n" + b"x" * size), max_size=2 * size, deadline=0.3)
    assert decision.verdict is not None
    assert (decision.verdict.action, decision.verdict.code) == (Action.DEFER, 451)


def test_nobody_there_defers() -> None:
    decision = check(hang, address="unix:/nonexistent/spamd.sock")
    assert decision.verdict is not None
    assert decision.verdict.action is Action.DEFER


def test_over_a_unix_socket() -> None:
    async def main(path: str) -> Answer:
        async with await asyncio.start_unix_server(saying(reply(True, 9), bytearray()), path):
            return await ask(path, b"", b"x", user="", deadline=5)

    with tempfile.TemporaryDirectory() as folder:
        assert asyncio.run(main(os.path.join(folder, "s"))) == Answer(True, 9.0, 5.0, ("BAYES_99", "URIBL_BLACK"))


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_octets_are_an_answer_or_refused(octets: bytes) -> None:
    async def main() -> None:
        server = await asyncio.start_server(saying(b"SPAMD/1.1 0 EX_OK\r\n" + octets, bytearray()), "127.0.0.1", 0)
        try:
            await ask(("127.0.0.1", server.sockets[0].getsockname()[1]), b"", b"x", user="", deadline=5)
        except NotSpamd:
            pass
        finally:
            server.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("message", "config"),
    [
        (FakeMessage(origin="dsn"), {}),
        (FakeMessage(origin="submission"), {"origins": ["smtp"]}),
    ],
)
def test_what_is_not_checked(message: FakeMessage, config: dict[str, Any]) -> None:
    seen = bytearray()
    decision, made = with_server(saying(reply(True, 99), seen), message, FakeSession(), **config)
    assert (decision.verdict, decision.score, bytes(seen)) == (None, 0.0, b"")
    assert edits(made, message) == []


@pytest.mark.parametrize(("policy", "action"), [("accept", None), ("quarantine", Action.QUARANTINE), ("reject", Action.REJECT)])
def test_scanner_bombs(policy: str, action: Action | None) -> None:
    """What is too large to be looked at is neither clean nor spam: it says so, and no forged field says otherwise."""
    seen, message = bytearray(), FakeMessage(b"X-Spam-Status: No\r\n\r\n" + b"x" * 101)
    serve = saying(reply(False, 0), seen)
    decision, made = with_server(serve, message, FakeSession(), max_size=100, too_large=policy)
    assert ((decision.verdict and decision.verdict.action), bytes(seen)) == (action, b"")
    head = apply_edits(b"X-Spam-Status: No\r\n", edits(made, message))
    assert parse_fields(head) == [("X-Spam-Status", "Unknown, not checked: too large")]


def edits(made: HookHost, message: FakeMessage) -> list[Any]:
    plan = made.message_modify
    assert plan is not None
    return [edit for _, edit in asyncio.run(plan.all(message=message, recipients=()))]


def test_fields_replace_forged_ones() -> None:
    message = FakeMessage(b"x-spam-flag: NO\r\nX-SPAM-STATUS: No\r\nX-Spam-Status: No\r\nSubject: x\r\n\r\nbody\r\n")
    tests = "BAYES_99,BAD NAME,URIBL_BLACK,\r\nX-Evil: 1"
    _, made = with_server(saying(reply(True, 7.3, tests), bytearray()), message, FakeSession())
    head = apply_edits(message.raw.partition(b"\r\n\r\n")[0] + b"\r\n", edits(made, message))
    assert parse_fields(head) == [
        ("X-Spam-Status", "Yes, score=7.3 required=5.0 tests=BAYES_99, URIBL_BLACK"),
        ("X-Spam-Flag", "YES"),
        ("Subject", "x"),
    ]


def test_ham_has_a_status_and_no_flag() -> None:
    message = FakeMessage()
    _, made = with_server(saying(reply(False, 0.0, ""), bytearray()), message, FakeSession())
    head = apply_edits(b"X-Spam-Flag: YES\r\n", edits(made, message))
    assert parse_fields(head) == [("X-Spam-Status", "No, score=0.0 required=5.0 tests=none")]


def test_fields_can_be_switched_off() -> None:
    message = FakeMessage()
    _, made = with_server(saying(reply(True, 9), bytearray()), message, FakeSession(), headers=False)
    assert edits(made, message) == []


def test_config() -> None:
    def place(address: str) -> Any:
        return SpamassassinConfig.model_validate({"address": address}).place

    assert place("spam.test:783") == ("spam.test", 783)
    assert place("[::1]:783") == ("::1", 783)
    assert place("unix:/run/spamd.sock") == "/run/spamd.sock"
    for wrong in ("spam.test", "spam.test:0", "spam.test:65536", "::1:783", "unix:relative", "http://x:1", "a b:1", ""):
        with pytest.raises(ValidationError):
            place(wrong)
    for other in ({"user": "a\r\nb"}, {"spam": "ignore"}, {"deadline": 0}):
        with pytest.raises(ValidationError):
            SpamassassinConfig.model_validate(other)
