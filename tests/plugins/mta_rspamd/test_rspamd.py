"""rspamd through the hooks: over a fake HTTP service, and over a socket to a server that misbehaves."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

import mta_rspamd
from mta.model.address import Address
from mta.model.message import Recipient
from mta.model.verdict import Action, Verdict
from mta.pipeline.header import apply_edits, parse_fields
from mta.pluginhost.host import Decision, HookHost
from mta.pluginhost.http import HttpClient
from mta.testing.plugins import FakeHttp, FakeMessage, FakeSession, host_with
from mta_hooks.services import HttpReply
from mta_rspamd.config import RspamdConfig

BOB = Address("bob", "example.test")
SPAM = {"BAYES_SPAM": {"score": 5.1}, "ODD": {"score": -0.5}, "ZERO": {"score": 0.0}, "x\r\nEvil: 1": {"score": 9.0}}


def answer(action: str, score: float = 7.5, **more: Any) -> HttpReply:
    body = {"action": action, "score": score, "required_score": 15.0, "symbols": SPAM, "messages": {}, **more}
    return HttpReply(200, {}, json.dumps(body).encode())


def host(*replies: Any, http: Any = None, **config: Any) -> HookHost:
    return host_with(mta_rspamd, config=config, http=http or FakeHttp(*replies))


def check(made: HookHost, message: FakeMessage | None = None, recipients: Sequence[Address] = (BOB,), **session: Any) -> Decision:
    plan = made.message_check
    assert plan is not None
    given = [Recipient(r, r) for r in recipients]
    return asyncio.run(plan.verdict(session=FakeSession(**session), message=message or FakeMessage(), recipients=given, results=()))


def requests(made: HookHost) -> list[Any]:
    return made.services.http.requests  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("no action", None),
        ("add header", None),
        ("rewrite subject", None),
        ("greylist", None),
        ("custom", None),
        ("reject", Action.REJECT),
        ("soft reject", Action.DEFER),
        ("discard", Action.DISCARD),
        ("quarantine", Action.QUARANTINE),
    ],
)
def test_actions(action: str, expected: Action | None) -> None:
    decision = check(host(answer(action)))
    assert (decision.verdict and decision.verdict.action) == expected
    assert decision.score == (0 if expected else 7.5)
    assert decision.steps[0]["verdict"]["reason"].startswith(f"rspamd: {action} 7.5/15 (")


@pytest.mark.parametrize("action", ["no action", "add header", "greylist"])
def test_a_score_of_nought_ends_no_chain(action: str) -> None:
    assert check(host(answer(action, 0.0))) == Decision(None, "", 0.0, ())


def test_negative_scores_count() -> None:
    assert check(host(answer("no action", -3.0))).score == -3.0


@pytest.mark.parametrize(
    ("measure", "expected"),
    [("quarantine", Action.QUARANTINE), ("defer", Action.DEFER), ("reject", Action.REJECT), ("discard", Action.DISCARD)],
)
def test_config_says_what_an_action_means(measure: str, expected: Action) -> None:
    verdict = check(host(answer("add header"), actions={"add header": measure})).verdict
    assert verdict is not None
    assert verdict.action is expected
    assert check(host(answer("reject"), actions={"add header": measure})).verdict.action is Action.REJECT  # type: ignore[union-attr]
    assert check(host(answer("add header"), actions={"add header": "ignore"})) == Decision(None, "", 0.0, ())


def test_the_peer_reads_what_rspamd_says() -> None:
    verdict = check(host(answer("soft reject", messages={"smtp_message": "Try again in 5 minutes"}))).verdict
    assert verdict is not None
    assert (verdict.code, verdict.enhanced, verdict.text) == (451, "4.7.1", "Try again in 5 minutes")
    verdict = check(host(answer("reject"))).verdict
    assert verdict is not None
    assert (verdict.code, verdict.text) == (550, "message was judged to be spam")


def test_what_rspamd_is_told() -> None:
    made = host(answer("no action"), url="http://scanner.test:11333/")
    message = FakeMessage(b"Subject: x\r\n\r\nbody\r\n", id="q7", sender=Address("a b", "s.test"))
    check(made, message, [BOB, Address("ü", "u.test"), Address("carol", "c.test")], client_ip="fe80::1%eth0", user="u@x.test")
    (request,) = requests(made)
    assert (request.method, request.url, request.data) == ("POST", "http://scanner.test:11333/checkv2", message.raw)
    assert request.headers == {
        "Content-Type": "message/rfc822", "Queue-Id": "q7", "MTA-Name": "mx.example.test", "From": '<"a b"@s.test>',
        "Rcpt": "<bob@example.test>, <carol@c.test>", "IP": "fe80::1", "Helo": "client.example.org", "User": "u@x.test",
    }  # fmt: skip


def test_empty_values_and_the_null_sender() -> None:
    made = host(answer("no action"))
    check(made, FakeMessage(sender=None), [], client_ip="", helo="")
    headers = requests(made)[0].headers
    assert headers["From"] == "<>"
    assert not {"Rcpt", "IP", "Helo", "User"} & set(headers)


def test_many_recipients_are_bounded() -> None:
    made = host(answer("no action"))
    check(made, None, [Address(f"r{i}", "x.test") for i in range(1000)])
    assert requests(made)[0].headers["Rcpt"].count("@") == 100


@pytest.mark.parametrize(
    ("message", "config"),
    [
        (FakeMessage(origin="dsn"), {}),
        (FakeMessage(origin="submission"), {"origins": ["smtp"]}),
    ],
)
def test_what_is_not_checked(message: FakeMessage, config: dict[str, Any]) -> None:
    made = host(answer("reject"), **config)
    assert check(made, message).verdict is None
    assert requests(made) == []
    assert modified(made, message) == []


@pytest.mark.parametrize(("policy", "action"), [("accept", None), ("quarantine", Action.QUARANTINE), ("reject", Action.REJECT)])
def test_scanner_bombs(policy: str, action: Action | None) -> None:
    """What is too large to be looked at is neither clean nor spam: it says so, and no forged field says otherwise."""
    octets = b"X-Spam-Status: No, score=-100\r\n\r\n" + b"x" * 101
    made, message = host(answer("no action"), max_size=100, too_large=policy), FakeMessage(octets)
    verdict = check(made, message).verdict
    assert (verdict and verdict.action) == action
    assert requests(made) == []
    head = apply_edits(octets.partition(b"\r\n\r\n")[0] + b"\r\n", modified(made, message))
    assert parse_fields(head) == [("X-Spam-Status", "Unknown, not checked: too large")]


@pytest.mark.parametrize(
    "reply",
    [
        OSError("refused"),
        TimeoutError(),
        500,
        HttpReply(200, {}, b""),
        HttpReply(200, {}, b"[" * 100_000),
        HttpReply(200, {}, b"[]"),
        HttpReply(200, {}, b'{"error": "x"}'),
        HttpReply(200, {}, b'{"action": 1, "score": 1}'),
        HttpReply(200, {}, b'{"action": "reject", "score": "1"}'),
        HttpReply(200, {}, b'{"action": "reject", "score": NaN}'),
        HttpReply(200, {}, b'{"action": "reject"}'),
    ],
)
def test_no_answer_defers_and_is_not_held_against_the_plugin(reply: Any) -> None:
    made = host(reply)
    for _ in range(8):
        verdict = check(made).verdict
        assert verdict is not None
        assert (verdict.action, verdict.code) == (Action.DEFER, 451)
    assert len(requests(made)) == 8


def test_on_error_continue_lets_mail_pass() -> None:
    made = host(OSError("refused"))
    plan = made.message_check
    assert plan is not None
    plan.steps[0].on_error = "continue"
    assert check(made).verdict is None


# ---- header fields


def modified(made: HookHost, message: FakeMessage) -> list[Any]:
    plan = made.message_modify
    assert plan is not None
    return [edit for _, edit in asyncio.run(plan.all(message=message, recipients=()))]


def test_fields_replace_forged_ones() -> None:
    made = host(answer("add header"))
    message = FakeMessage(b"X-Spam-Flag: NO\r\nx-spam-status: No\r\nX-SPAM-STATUS: No\r\nSubject: x\r\n\r\nbody\r\n")
    check(made, message)
    head = apply_edits(message.raw.partition(b"\r\n\r\n")[0] + b"\r\n", modified(made, message))
    assert parse_fields(head) == [
        ("X-Spam-Status", "Yes, score=7.50 required=15 tests=[BAYES_SPAM=5.1, ODD=-0.5, ZERO=0]"),
        ("X-Spam-Flag", "YES"),
        ("Subject", "x"),
    ]
    assert max(map(len, head.split(b"\r\n"))) < 78


def test_ham_has_a_status_and_no_flag() -> None:
    made = host(answer("no action", 0.0, symbols={}))
    message = FakeMessage()
    check(made, message)
    head = apply_edits(b"X-Spam-Flag: YES\r\n", modified(made, message))
    assert parse_fields(head) == [("X-Spam-Status", "No, score=0.00 required=15 tests=[]")]


def test_fields_can_be_switched_off() -> None:
    made = host(answer("add header"), headers=False)
    message = FakeMessage()
    check(made, message)
    assert modified(made, message) == []


# ---- over a socket


def exchange(reply: bytes | None, **session: Any) -> tuple[Verdict | None, bytes]:
    seen = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        seen.extend(head + await reader.readexactly(size))
        if reply is None:
            await asyncio.sleep(30)
        writer.write(reply or b"")
        await writer.drain()
        writer.close()

    async def main() -> Verdict | None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        made = host(http=HttpClient(), url=url, deadline=0.3)
        plan = made.message_check
        assert plan is not None
        try:
            decision = await plan.verdict(
                session=FakeSession(**session), message=FakeMessage(), recipients=(Recipient(BOB, BOB),), results=()
            )
        finally:
            server.close()
        return decision.verdict

    return asyncio.run(main()), bytes(seen)


def test_a_hostile_client_cannot_break_the_request() -> None:
    body = answer("reject").body
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    verdict, seen = exchange(reply, helo="evil\r\nFrom: <x>\r\n\r\n\u2028é\0", user="ü@x.test")
    assert verdict is not None
    assert verdict.action is Action.REJECT
    assert b"\r\nhelo: evil??From: <x>???????\r\n" in seen
    assert b"\r\nuser: ?@x.test\r\n" in seen
    assert seen.count(b"\r\n\r\n") == 2  # the request's, the message's


@pytest.mark.parametrize("reply", [None, b"", b"SPAMD/1.1 0 EX_OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}"])
def test_a_scanner_that_says_nothing_or_nonsense_defers(reply: bytes | None) -> None:
    verdict, _ = exchange(reply)
    assert verdict is not None
    assert (verdict.action, verdict.code, verdict.enhanced) == (Action.DEFER, 451, "4.3.0")


def test_config_is_checked() -> None:
    for wrong in (
        {"url": "ftp://x"},
        {"url": "http://user:pw@x"},
        {"deadline": 0},
        {"actions": {"reject": "bounce"}},
        {"origins": ["imaps"]},
        {"max_size": -1},
    ):
        with pytest.raises(ValidationError):
            RspamdConfig.model_validate(wrong)
