"""One hop, every stage: refusals, drops, parts of a transaction, extensions, TLS, AUTH, LMTP."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

from mta.model.address import Address
from mta.model.message import QueuedRecipient
from mta.testing.sink import KEYWORDS

PLAIN = tuple(k for k in KEYWORDS if k != "PIPELINING")


def deliver(relay, body, *, keywords=KEYWORDS, sink_options=None, route="smtp://127.0.0.1:{}", **config):
    """Run ``body(r, sink, bob)`` with every domain routed to one sink."""

    async def main():
        from mta.testing.sink import Sink

        async with Sink(keywords=keywords, **(sink_options or {})) as sink:
            url = route.format(sink.port)
            routes = {"dest.test": url, "other.test": url}
            async with relay(**({"routes": routes} | config)) as r:
                bob = await r.user("bob@here.test")
                return await body(r, sink, bob)

    return asyncio.run(main())


def every_keyword_set(function):
    return pytest.mark.parametrize("keywords", [KEYWORDS, PLAIN], ids=["pipelining", "one by one"])(function)


@every_keyword_set
@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA", "DOT"])
@pytest.mark.parametrize("code", ["450 4.2.1", "550 5.7.1"])
def test_refusals_at_every_stage(relay, stage, code, keywords):
    async def body(r, sink, bob):
        sink.answer(stage, f"{code} not today", times=1)
        await r.queue("x@dest.test")
        rows = await r.settled()
        if code[0] == "5":
            assert rows == []
            [report] = await r.inbox(bob)
            assert f"Diagnostic-Code: smtp; {code} not today\r\n".encode() in report
            assert sink.count == 0
        else:
            assert rows[0].last_reply == f"{code} not today"
            assert await r.later(120) == []
            assert sink.count == 1
            assert await r.inbox(bob) == []
        await r.queue("y@dest.test")  # what came before must not spoil the next message
        assert await r.settled() == []
        assert sink.messages[-1].rcpts == ["RCPT TO:<y@dest.test>"]

    deliver(relay, body, keywords=keywords)


@every_keyword_set
@pytest.mark.parametrize("stage", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "DOT"])
def test_hang_ups_at_every_stage_are_tried_again(relay, stage, keywords):
    async def body(r, sink, bob):
        sink.drop(stage, times=1)
        await r.queue("x@dest.test")
        [row] = await r.settled()
        assert row.last_reply.startswith("451 4.4")
        assert await r.later(120) == []
        assert sink.count == 1
        assert await r.inbox(bob) == []

    deliver(relay, body, keywords=keywords)


@every_keyword_set
def test_421_ends_the_connection_and_defers(relay, keywords):
    async def body(r, sink, bob):
        sink.answer("RCPT", "421 4.7.0 go away", times=1, match="b@")
        await r.queue("a@dest.test", "b@dest.test", "c@dest.test")
        rows = await r.settled()
        assert [row.last_reply for row in rows] == ["421 4.7.0 go away"] * 3
        assert await r.later(120) == []

    deliver(relay, body, keywords=keywords)


@every_keyword_set
def test_each_recipient_has_its_own_answer(relay, keywords):
    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.1.1 no such user", match="bad@")
        sink.answer("RCPT", "450 4.2.1 greylisted", match="grey@", times=1)
        await r.queue("good@dest.test", "bad@dest.test", "grey@dest.test", "fine@dest.test")
        [row] = await r.settled()
        assert row.recipient == "grey@dest.test"
        assert sink.messages[0].rcpts == ["RCPT TO:<good@dest.test>", "RCPT TO:<fine@dest.test>"]
        [report] = await r.inbox(bob)
        assert b"Final-Recipient: rfc822; bad@dest.test" in report
        assert b"good@dest.test" not in report
        assert await r.later(120) == []
        assert sink.messages[1].rcpts == ["RCPT TO:<grey@dest.test>"]

    deliver(relay, body, keywords=keywords)


@every_keyword_set
def test_all_recipients_refused_sends_nothing_and_resets(relay, keywords):
    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.1.1 no", match="bad")
        await r.queue("bad1@dest.test", "bad2@dest.test")
        await r.queue("good@dest.test")
        assert await r.settled() == []
        assert sink.count == 1
        assert len(await r.inbox(bob)) == 1  # one report for both

    deliver(relay, body, keywords=keywords, queue={"concurrency": 1})


def test_a_hop_that_says_354_for_nobody_gets_an_empty_message(relay):
    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.1.1 no", match="bad")
        sink.answer("DATA", "354 go on", times=1)
        await r.queue("bad@dest.test")
        await r.settled()
        await r.queue("good@dest.test")
        assert await r.settled() == []
        assert (sink.count, len(sink.commands)) == (1, 1)

    deliver(relay, body)


@pytest.mark.parametrize("refusal", ["452 4.5.3 too many", "552 5.5.3 too many"])
def test_more_recipients_than_the_hop_takes_at_once(relay, refusal):
    async def body(r, sink, bob):
        sink.most_rcpts = 40
        if refusal.startswith("552"):
            sink.most_rcpts = 1000
            sink.answer("RCPT", refusal, match="x9", times=5)
        await r.queue(*(f"x{n}@dest.test" for n in range(100)))
        assert await r.settled() == []
        assert sum(len(m.rcpts) for m in sink.messages) == 100

    deliver(relay, body)


def test_messages_share_a_connection_and_recipients_a_transaction(relay):
    async def body(r, sink, bob):
        for n in range(3):
            await r.queue(*(f"x{n}@dest.test" for n in range(150)), octets=b"Subject: %d\r\n\r\n" % n, skip=0)
        assert await r.settled() == []
        assert sorted(len(m.rcpts) for m in sink.messages) == [50, 50, 50, 100, 100, 100]
        assert len(sink.commands) == 1
        assert not any(c == "RSET" for c in sink.commands[0])

    deliver(relay, body, queue={"concurrency": 1})


def test_a_kept_connection_that_went_stale_costs_nothing(relay):
    async def body(r, sink, bob):
        await r.queue("x@dest.test")
        await r.settled()
        sink.drop("MAIL", times=1)
        await r.queue("y@dest.test")
        assert await r.settled() == []
        assert (sink.count, len(sink.commands)) == (2, 2)

    deliver(relay, body)


def test_ehlo_falls_back_to_helo(relay):
    async def body(r, sink, bob):
        sink.answer("EHLO", "502 5.5.1 what?")
        await r.queue("x@dest.test", "y@dest.test")
        assert await r.settled() == []
        assert sink.messages[0].mail == "MAIL FROM:<bob@here.test>"

    deliver(relay, body)


def test_a_refusal_in_the_middle_of_a_big_message_is_heard(relay):
    async def main():
        async def serve(reader, writer):
            writer.write(b"220 sink.test\r\n")
            await reader.readline()
            writer.write(b"250-sink.test\r\n250 PIPELINING\r\n")
            while not (await reader.readline()).startswith(b"DATA"):
                pass
            writer.write(b"250 ok\r\n250 ok\r\n354 go on\r\n")
            await reader.readexactly(300_000)
            writer.write(b"552 5.3.4 too big\r\n")
            await writer.drain()
            await asyncio.sleep(0.2)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with relay(routes={"dest.test": f"smtp://127.0.0.1:{port}"}) as r:
            bob = await r.user("bob@here.test")
            await r.queue("x@dest.test", octets=b"Subject: x\r\n\r\n" + b"x" * 20_000_000 + b"\r\n", skip=0)
            assert await r.settled() == []
            assert b"Status: 5.3.4" in (await r.inbox(bob))[0]
        server.close()

    asyncio.run(main())


def test_dots_long_lines_and_big_messages_arrive_unchanged(relay):
    async def body(r, sink, bob):
        head = b"Return-Path: <bob@here.test>\r\n"
        big = (
            b"Subject: big\r\n\r\n"
            + b"".join(b".%d\r\n..\r\n" % n + b"x" * 300 + b"\r\n" for n in range(3000))
            + b"." * 9000
            + b"\r\n"
        )
        assert len(big) > 3 * 256 * 1024
        for cut in range(3):  # the borders of pieces fall on other octets each time
            octets = b"X" * cut + b": y\r\n" + big
            await r.queue("x@dest.test", octets=head + octets, skip=len(head), id=f"BIG{cut}")
        await r.queue("x@dest.test", octets=head + b".\r\n.\r\n", skip=len(head))
        assert await r.settled() == []
        got = sorted((m.octets for m in sink.messages), key=len)
        assert got == [b".\r\n.\r\n"] + [b"X" * cut + b": y\r\n" + big for cut in range(3)]

    deliver(relay, body)


# ---- extensions


def test_size_that_the_hop_does_not_take_fails_before_it_is_sent(relay):
    async def body(r, sink, bob):
        await r.queue("x@dest.test", octets=b"Subject: x\r\n\r\n" + b"x" * 2000 + b"\r\n", skip=0)
        assert await r.settled() == []
        assert b"Status: 5.3.4" in (await r.inbox(bob))[0]
        assert not any(line.startswith("MAIL") for line in sink.commands[0])

    deliver(relay, body, keywords=("SIZE 1000",))


def test_internationalised_mail(relay):
    async def body(r, sink, bob):
        await r.queue("jürgen@dest.test", smtputf8=True)
        await r.queue("x@dest.test", smtputf8=True)  # announced, not needed
        assert await r.settled() == []
        if "SMTPUTF8" in sink.keywords:
            assert any("SMTPUTF8" in m.mail and m.rcpts == ["RCPT TO:<jürgen@dest.test>"] for m in sink.messages)
            assert sink.count == 2
        else:
            assert [m.rcpts for m in sink.messages] == [["RCPT TO:<x@dest.test>"]]
            [report] = await r.inbox(bob)
            assert b"Status: 5.6.7" in report

    deliver(relay, body)
    deliver(relay, body, keywords=PLAIN[:2])


SIGNED = (
    b'MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary="b"\r\n\r\n--b\r\n\r\n\xc3\xbc\r\n--b\r\n\r\ns\r\n--b--\r\n'
)


def test_eight_bit_mail_is_converted_where_it_is_not_taken(relay):
    async def body(r, sink, bob):
        await r.queue("signed@dest.test", octets=SIGNED, skip=0, eightbit=True)
        await r.queue("a@dest.test", octets=b"Subject: x\r\n\r\n\xc3\xbc\r\n", skip=0, eightbit=True)
        await r.queue("b@dest.test", octets=b"Subject: x\r\n\r\nascii\r\n", skip=0, eightbit=True)
        assert await r.settled() == []
        if "8BITMIME" in sink.keywords:
            assert sink.count == 3
            assert all("BODY=8BITMIME" in m.mail for m in sink.messages)
        else:
            assert all(m.octets.isascii() and "BODY" not in m.mail for m in sink.messages)
            assert any(m.octets.endswith(b"\r\n\r\n=C3=BC\r\n") or b"w7w" in m.octets for m in sink.messages)
            assert sink.count == 2
            [report] = await r.inbox(bob)
            assert b"Status: 5.6.3" in report
            assert b"signed@dest.test" in report

    deliver(relay, body)
    deliver(relay, body, keywords=("PIPELINING",))


def test_dsn_parameters_travel_where_they_are_understood(relay):
    recipient = QueuedRecipient(
        Address("x", "dest.test"), "remote", orcpt="rfc822;Old+40dest.test", notify=frozenset({"SUCCESS", "FAILURE"})
    )

    async def body(r, sink, bob):
        await r.queue(recipient, ret="HDRS", envid="E+2B1")
        assert await r.settled() == []
        [message] = sink.messages
        if "DSN" in sink.keywords:
            assert message.mail.endswith(" RET=HDRS ENVID=E+2B1")
            assert message.rcpts == ["RCPT TO:<x@dest.test> NOTIFY=FAILURE,SUCCESS ORCPT=rfc822;Old+40dest.test"]
            assert await r.inbox(bob) == []
        else:
            assert message.rcpts == ["RCPT TO:<x@dest.test>"]
            [report] = await r.inbox(bob)
            assert b"Action: relayed" in report
            assert b"Original-Recipient: rfc822; Old@dest.test" in report
            assert b"Original-Envelope-Id: E+1" in report

    deliver(relay, body)
    deliver(relay, body, keywords=("PIPELINING",))


# ---- TLS, AUTH


def test_opportunistic_tls_needs_no_trust(relay, authority):
    async def body(r, sink, bob):
        await r.queue("x@dest.test")
        assert await r.settled() == []
        assert sink.messages[0].secure

    deliver(relay, body, sink_options={"tls": authority[1]("whoever.test")})


@pytest.mark.parametrize("trouble", ["TLS", "STARTTLS", "both"])
def test_opportunistic_tls_falls_back_to_cleartext(relay, authority, trouble):
    async def body(r, sink, bob):
        if trouble in ("TLS", "both"):
            sink.answer("TLS", "broken")
        if trouble in ("STARTTLS", "both"):
            sink.answer("STARTTLS", "454 4.7.0 not now", times=1)
        await r.queue("x@dest.test")
        assert await r.settled() == []
        assert not sink.messages[0].secure

    deliver(relay, body, sink_options={"tls": authority[1]("whoever.test")})


@pytest.mark.parametrize(("name", "arrives"), [("127.0.0.1", True), ("other.test", False), (None, False)])
def test_smarthost_with_verified_tls(relay, authority, name, arrives):
    path, context = authority

    async def main():
        from mta.testing.sink import Sink

        async with Sink(tls=context(name) if name else None, users={"us": "secret"}) as sink:
            smarthost = {"smarthost": f"smtp://127.0.0.1:{sink.port}", "username": "us", "password": "secret", "tls": "encrypt"}
            async with relay(trust=path, relay=smarthost) as r:
                await r.queue("x@anywhere.test")
                rows = await r.settled()
                if arrives:
                    assert rows == []
                    assert (sink.messages[0].secure, sink.messages[0].user) == (True, "us")
                else:
                    assert rows[0].last_reply.startswith("451 4.4.1")
                    assert not any("AUTH" in line for heard in sink.commands for line in heard)

    asyncio.run(main())


@pytest.mark.parametrize("mechanism", ["AUTH PLAIN", "AUTH LOGIN"])
def test_smarthost_over_implicit_tls(relay, authority, mechanism):
    path, context = authority

    async def main():
        from mta.testing.sink import Sink

        async with Sink(tls=context("127.0.0.1"), implicit=True, keywords=(*KEYWORDS, mechanism), users={}) as sink:
            sink.answer("AUTH", "235 2.7.0 welcome")
            smarthost = {"smarthost": f"smtps://127.0.0.1:{sink.port}", "username": "us", "password": "secret"}
            async with relay(trust=path, relay=smarthost) as r:
                await r.queue("x@anywhere.test")
                assert await r.settled() == []
                assert sink.messages[0].user == "us"
                assert any(line.startswith(mechanism) for line in sink.commands[0])

    asyncio.run(main())


def test_wrong_password_defers_and_a_password_is_never_sent_in_clear_to_others(relay):
    async def main():
        from mta.testing.sink import Sink

        zones = "smart.test A 127.0.0.2\n"
        async with Sink(users={"us": "other"}) as sink:
            smarthost = {"smarthost": f"smtp://127.0.0.1:{sink.port}", "username": "us", "password": "secret"}
            async with relay(zones, relay=smarthost) as r:  # loopback: in clear is as good as TLS
                await r.queue("x@anywhere.test")
                [row] = await r.settled()
                assert "535 5.7.8" in row.last_reply

    asyncio.run(main())


# ---- LMTP


def test_lmtp_answers_for_each_recipient(relay):
    async def body(r, sink, bob):
        sink.answer("DOT", "552 5.2.2 full", match="full@")
        sink.answer("DOT", "450 4.2.0 locked", match="locked@", times=1)
        sink.answer("RCPT", "550 5.1.1 unknown", match="nobody@")
        await r.queue("fine@dest.test", "full@dest.test", "nobody@dest.test", "locked@dest.test")
        [row] = await r.settled()
        assert row.recipient == "locked@dest.test"
        assert sink.messages[0].rcpts == ["RCPT TO:<fine@dest.test>"]
        [report] = await r.inbox(bob)
        assert report.count(b"Final-Recipient:") == 2
        assert b"Status: 5.2.2" in report
        assert await r.later(120) == []

    deliver(relay, body, sink_options={"lmtp": True}, route="lmtp://127.0.0.1:{}")


def test_lmtp_over_a_unix_socket(relay, tmp_path):
    path = tmp_path / "lmtp.sock"

    async def body(r, sink, bob):
        await r.queue("x@dest.test")
        assert await r.settled() == []
        assert sink.count == 1

    deliver(relay, body, sink_options={"lmtp": True, "path": str(path)}, route=f"lmtp+unix:{path}")


# ---- CHUNKING

LARGE = b"Subject: big\r\n\r\n" + b".dots\r\n.\r\n" * 60_000
CHUNKS = (*KEYWORDS, "CHUNKING")


def test_a_large_message_goes_as_a_chunk_and_a_small_one_as_data(relay):
    async def body(r, sink, bob):
        await r.queue("x@dest.test", octets=LARGE, skip=0)
        await r.queue("y@dest.test")
        assert await r.settled() == []
        big, small = sorted(sink.messages, key=lambda m: -len(m.octets))
        assert big.octets == LARGE
        assert small.octets.endswith(b".dot\r\nbody\r\n")
        heard = [line.split()[0] for lines in sink.commands for line in lines]
        assert (heard.count("BDAT"), heard.count("DATA")) == (1, 1)

    deliver(relay, body, keywords=CHUNKS)


@pytest.mark.parametrize("keywords", [CHUNKS, ("CHUNKING", "SIZE 0")], ids=["pipelining", "one by one"])
@pytest.mark.parametrize(("stage", "reply"), [("MAIL", "550 5.7.1 no"), ("RCPT", "550 5.1.1 no"), ("DOT", "552 5.3.4 too big")])
def test_a_chunk_that_is_not_wanted(relay, keywords, stage, reply):
    async def body(r, sink, bob):
        sink.answer(stage, reply, times=1)
        await r.queue("x@dest.test", octets=LARGE, skip=0)
        assert await r.settled() == []
        assert sink.count == 0
        assert reply.encode() in (await r.inbox(bob))[0]
        await r.queue("y@dest.test", octets=LARGE, skip=0)
        assert await r.settled() == []
        assert sink.messages[0].octets == LARGE

    deliver(relay, body, keywords=keywords)


def test_a_chunk_for_some_and_over_lmtp(relay):
    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.1.1 no", match="no@")
        sink.answer("DOT", "452 4.2.2 full", match="full@", times=1)
        await r.queue("x@dest.test", "no@dest.test", "full@dest.test", octets=LARGE, skip=0)
        [row] = await r.settled()
        assert (row.recipient, row.last_reply) == ("full@dest.test", "452 4.2.2 full")
        assert sink.messages[0].octets == LARGE

    deliver(relay, body, keywords=CHUNKS, sink_options={"lmtp": True}, route="lmtp://127.0.0.1:{}")


def test_a_drop_within_a_chunk_is_tried_again(relay):
    async def body(r, sink, bob):
        sink.drop("DOT", times=1)
        await r.queue("x@dest.test", octets=LARGE, skip=0)
        [row] = await r.settled()
        assert row.last_reply.startswith("451 4.4.2 ")
        assert await r.later(120) == []
        assert sink.count == 1

    deliver(relay, body, keywords=CHUNKS)


# ---- LIMITS (RFC 9422)


def test_limits_that_the_hop_announces_are_kept(relay):
    async def body(r, sink, bob):
        sink.most_rcpts = 3
        for _ in range(2):
            await r.queue(*(f"x{n}@dest.test" for n in range(7)))
            assert await r.settled() == []
        assert sorted(len(m.rcpts) for m in sink.messages) == [1, 1, 3, 3, 3, 3]
        answered = [line for lines in sink.commands for line in lines if line.startswith("RCPT")]
        assert len(answered) == 14  # nobody was asked twice
        assert max(sum(line.startswith("MAIL") for line in lines) for lines in sink.commands) <= 4

    deliver(relay, body, keywords=(*KEYWORDS, "LIMITS RCPTMAX=3 MAILMAX=4"), queue={"concurrency": 1})
