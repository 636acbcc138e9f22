"""Logging in at next hops: mechanisms, tokens, logins by host (RFC 4954, RFC 7677, RFC 7628)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import base64
from dataclasses import replace

import pytest

from mta.outbound.answer import Answer
from mta.outbound.login import log_in
from mta.outbound.session import Refusal
from mta.route.router import parse_route
from mta.testing.sink import Sink


def exchange(relay, sink, **token):
    """Send one message; return the last reply."""

    async def main():
        async with sink:
            login = {"username": "us@isp.test", **(token or {"password": "secret"})}
            routes = {"dest.test": f"smtp://127.0.0.1:{sink.port}"}
            async with relay(routes=routes, relay={"credentials": {"127.0.0.1": login}}) as r:
                await r.queue("x@dest.test")
                rows = await r.settled()
                return rows[0].last_reply if rows else ""

    return asyncio.run(main())


@pytest.mark.parametrize("mechanisms", ["PLAIN", "LOGIN", "LOGIN PLAIN SCRAM-SHA-256"])
def test_the_best_that_is_offered(relay, mechanisms):
    sink = Sink(users={"us@isp.test": "secret"}, mechanisms=mechanisms)
    assert exchange(relay, sink) == ""
    assert sink.messages[0].user == "us@isp.test"
    [line] = [line for line in sink.commands[0] if line.startswith("AUTH")]
    assert line.split()[1] == mechanisms.split()[-1]


@pytest.mark.parametrize("mechanisms", ["PLAIN", "LOGIN", "SCRAM-SHA-256"])
def test_a_wrong_password_waits_and_is_not_told(relay, mechanisms):
    sink = Sink(users={"us@isp.test": "other"}, mechanisms=mechanisms)
    reply = exchange(relay, sink)
    assert "535 5.7.8 wrong" in reply
    assert "secret" not in reply
    assert sink.count == 0


def test_a_server_that_cannot_prove_itself_gets_no_mail(relay):
    sink = Sink(users={"us@isp.test": "secret"}, mechanisms="SCRAM-SHA-256 PLAIN")
    sink.answer("SCRAM", "")
    assert "does not know the password itself" in exchange(relay, sink)
    assert sink.count == 0
    assert not any("AUTH PLAIN" in line for heard in sink.commands for line in heard)


@pytest.mark.parametrize(("exchanger", "user"), [("mx.isp.test", "us@isp.test"), ("mx.evil.test", None), ("mx.notisp.test", None)])
def test_a_forged_mx_gets_no_password(relay, exchanger, user):
    """The name in its certificate would be its own, and good."""

    async def main():
        async with (
            relay(
                f"isp.test MX 10 {exchanger}.\n{exchanger} A 127.0.0.2\n",
                routes={"dest.test": "mx:isp.test"},
                relay={"credentials": {"isp.test": {"username": "us@isp.test", "password": "secret"}}},
            ) as r,
            Sink(host="127.0.0.2", port=r.port, users={"us@isp.test": "secret"}) as hop,
        ):
            await r.queue("x@dest.test")
            rows = await r.settled()
            assert [message.user for message in hop.messages] == ([user] if user else [])
            assert any(line.startswith("AUTH") for heard in hop.commands for line in heard) is (user is not None)
            assert len(rows) == (user is None), "it waits"

    asyncio.run(main())


@pytest.mark.parametrize("mechanisms", ["XOAUTH2 PLAIN", "OAUTHBEARER"])
def test_a_token_is_read_at_each_login(relay, tmp_path, mechanisms):
    token = tmp_path / "token"
    token.write_text("ya29.old\n")
    sink = Sink(users={"us@isp.test": "ya29.new"}, mechanisms=mechanisms)

    async def main():
        login = {"username": "us@isp.test", "token_file": str(token)}
        async with (
            sink,
            relay(
                routes={"dest.test": f"smtp://127.0.0.1:{sink.port}"}, relay={"credentials": {f"127.0.0.1:{sink.port}": login}}
            ) as r,
        ):
            await r.queue("x@dest.test")
            [row] = await r.settled()
            assert "535 5.7.8" in row.last_reply
            assert "ya29" not in row.last_reply
            token.write_text("ya29.new\n")
            assert await r.later(120) == []

    asyncio.run(main())
    assert sink.messages[0].user == "us@isp.test"
    given = base64.b64decode(sink.commands[0][1].split()[2])
    if mechanisms.startswith("XOAUTH2"):
        assert given == b"user=us@isp.test\x01auth=Bearer ya29.old\x01\x01"
    else:
        assert given == b"n,a=us@isp.test,\x01host=127.0.0.1\x01port=%d\x01auth=Bearer ya29.old\x01\x01" % sink.port


@pytest.mark.parametrize("content", [None, b"", b"two words", b"\xff"])
def test_a_token_that_is_none_waits(relay, tmp_path, content):
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    sink = Sink(users={"us@isp.test": "x"}, mechanisms="XOAUTH2")
    reply = exchange(relay, sink, token_file=str(file))
    assert reply.startswith("451 4.4.1 the ")
    assert str(tmp_path) not in reply


@pytest.mark.parametrize("mechanisms", ["CRAM-MD5", "GSSAPI"])
def test_nothing_that_we_know_is_offered(relay, mechanisms):
    sink = Sink(users={"us@isp.test": "secret"}, mechanisms=mechanisms)
    assert "offers none of AUTH" in exchange(relay, sink)


@pytest.mark.parametrize(
    "challenge",
    ["", "!!!", base64.b64encode(b"r=other,s=QQ==,i=4096").decode(), base64.b64encode(b"r=x,s=QQ==,i=9999999").decode()],
)
def test_a_challenge_that_is_none(challenge):
    async def main():
        async def ask(_line):
            return Answer(334, (challenge,))

        await log_in(ask, frozenset({"SCRAM-SHA-256"}), replace(parse_route("smtp://h.test"), credentials=("us", "secret")))

    with pytest.raises(Refusal, match="AUTH SCRAM-SHA-256 with the next hop failed"):
        asyncio.run(main())
