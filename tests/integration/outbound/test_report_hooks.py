"""Hooks on reports and on what goes out: ``dsn_compose``, ``delivery_modify``."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import email
import email.policy
from dataclasses import replace

import pytest

from mta.model.address import Address
from mta.testing.sink import Sink
from mta_hooks import AddHeader, DsnReport, RemoveHeader, ReplaceHeader, ReplaceRecipient, SetBody, SetSender, hookimpl


def run(relay, body, *, plugins=(), sink=None, **config):
    async def main():
        async with sink or Sink() as hop:
            config.setdefault("routes", {"dest.test": f"smtp://127.0.0.1:{hop.port}"})
            async with relay(plugins=plugins, **config) as r:
                return await body(r, hop, await r.user("bob@here.test"))

    return asyncio.run(main())


# ---- dsn_compose


def composer(answer, seen=None):
    @hookimpl
    def dsn_compose(report):
        if seen is not None:
            seen.append(report)
        return answer(report)

    return dsn_compose


def test_a_report_in_other_words(relay):
    seen = []

    def answer(report):
        failed = replace(report.recipients[0], status="5.1.10", diagnostic="550 5.1.10 moved away")
        text = "Grüße vom Helpdesk:\nruf an"
        return replace(report, recipients=(failed,), subject="Nicht zugestellt: ä", text=text, ret="FULL")

    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.1.1 no such user")
        intake = await r.queue("x@dest.test", "y@dest.test")
        assert await r.settled() == []
        [octets] = await r.inbox(bob)
        message = email.message_from_bytes(octets, policy=email.policy.default)
        assert message["Subject"] == "Nicht zugestellt: ä"
        human, status, original = message.iter_parts()
        assert "Grüße vom Helpdesk:\nruf an\n" in human.get_content().replace("\r\n", "\n")
        assert octets.count(b"Final-Recipient:") == 1
        assert b"Diagnostic-Code: smtp; 550 5.1.10 moved away" in octets
        assert original.get_content_type() == "message/rfc822"
        assert status.get_content_type() == "message/delivery-status"
        [report] = seen
        assert (report.about, report.sender, report.message_id) == (intake.id, Address("bob", "here.test"), "<m1@here.test>")
        assert [(str(one.address), one.action, one.diagnostic) for one in report.recipients] == [
            ("x@dest.test", "failed", "550 5.1.1 no such user"),
            ("y@dest.test", "failed", "550 5.1.1 no such user"),
        ]
        assert (report.ret, report.subject, report.text) == (None, "", "")

    run(relay, body, plugins=[composer(answer, seen)])


def test_a_report_without_recipients_is_not_written(relay):
    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.1.1 no such user")
        await r.queue("x@dest.test")
        assert await r.settled() == []
        assert await r.inbox(bob) == []
        assert r.log.named("dsn.suppressed")

    run(relay, body, plugins=[composer(lambda report: replace(report, recipients=()))])


def test_words_of_a_plugin_make_no_header_and_no_field(relay):
    evil = "x\r\nBcc: all@dest.test\r\n\r\nbody"

    def answer(report):
        [one] = report.recipients
        return replace(report, subject=evil, text=evil, recipients=(replace(one, diagnostic=evil, status=evil),))

    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.1.1 no such user")
        await r.queue("x@dest.test")
        assert await r.settled() == []
        [octets] = await r.inbox(bob)
        message = email.message_from_bytes(octets, policy=email.policy.default)
        assert message["Bcc"] is None
        fields = octets.partition(b"message/delivery-status")[2].partition(b"Content-Description: Message header")[0]
        assert b"\nBcc" not in fields
        assert b"Status: 5.0.0" in fields

    run(relay, body, plugins=[composer(answer)])


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: None,
        lambda _: 1 / 0,
        lambda report: replace(report, sender=Address("else", "where.test")),
        lambda report: replace(report, about="other"),
        lambda report: replace(report, recipients=(replace(report.recipients[0], action="delivered"),)),
        lambda report: replace(report, recipients=(replace(report.recipients[0], address=Address("z", "dest.test")),)),
        lambda report: replace(report, recipients="none"),
        lambda report: replace(report, ret="ALL"),
        lambda report: replace(report, text="x" * 20_000),
        lambda report: replace(report, subject=None),
    ],
    ids=["nothing", "error", "sender", "about", "action", "address", "no tuple", "ret", "long", "no subject"],
)
def test_a_report_is_as_ever_when_the_plugin_is_wrong(relay, answer):
    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.1.1 no such user")
        await r.queue("x@dest.test")
        assert await r.settled() == []
        [octets] = await r.inbox(bob)
        assert b"Subject: Undelivered mail returned to sender" in octets
        assert b"Final-Recipient: rfc822; x@dest.test" in octets

    run(relay, body, plugins=[composer(answer)])


def test_a_report_whose_words_must_be_known_waits(relay):
    failing = [True]

    @hookimpl(on_error="defer")
    def dsn_compose(report):
        assert isinstance(report, DsnReport)
        if failing:
            raise RuntimeError(failing.pop())

    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.1.1 no such user")
        await r.queue("x@dest.test")
        [row] = await r.settled()
        assert row.attempts == 0
        assert await r.inbox(bob) == []
        assert await r.later(61) == []
        assert len(await r.inbox(bob)) == 1

    run(relay, body, plugins=[dsn_compose])


# ---- delivery_modify

HEAD = b"From: bob@here.test\r\nSubject: hello\r\nMessage-ID: <m1@here.test>\r\n"
BODY = b"\r\n.dot\r\nbody\r\n"


def modifier(answer, seen=None):
    @hookimpl
    def delivery_modify(envelope, message):
        if seen is not None:
            seen.append((envelope.recipients, message.raw))
        return answer

    return delivery_modify


@pytest.mark.parametrize(
    ("answer", "head"),
    [
        (None, HEAD),
        (AddHeader("X-Top", "1"), b"X-Top: 1\r\n" + HEAD),
        ([AddHeader("X-Low", "1", top=False), RemoveHeader("Subject")], HEAD.replace(b"Subject: hello\r\n", b"") + b"X-Low: 1\r\n"),
        (ReplaceHeader("Subject", "a longer one"), HEAD.replace(b"hello", b"a longer one")),
        ([RemoveHeader("From"), RemoveHeader("Subject"), RemoveHeader("Message-ID")], b""),
        ([AddHeader("Evil", "x\r\n\r\nbody"), AddHeader("X-Top", "1")], b"X-Top: 1\r\n" + HEAD),
        (AddHeader("X-Top", "ä"), HEAD),
    ],
    ids=["none", "top", "list", "replace", "all gone", "evil", "not ASCII"],
)
@pytest.mark.parametrize("extra", [0, 700_000], ids=["small", "large"])
def test_a_header_for_the_next_hop_only(relay, answer, head, extra):
    seen = []
    body_octets = BODY + b"x" * 70 * (extra and 1) + b"\r\n.y\r\n" * (extra // 6)

    async def body(r, sink, bob):
        sink.answer("DATA", "451 4.3.0 later", times=1)
        stored = b"Return-Path: <bob@here.test>\r\n" + HEAD + body_octets
        await r.queue("x@dest.test", "y@dest.test", octets=stored)
        await r.settled()
        assert await r.later(70) == []
        [message] = sink.messages
        assert message.octets == head + body_octets
        assert f" SIZE={len(head + body_octets)}" in message.mail
        both = (Address("x", "dest.test"), Address("y", "dest.test"))
        assert [(sorted(map(str, who)), octets == HEAD + body_octets) for who, octets in seen] == 2 * [
            (sorted(map(str, both)), True)  # the second attempt sees what is stored, not what the first made of it
        ]

    run(relay, body, plugins=[modifier(answer, seen)], queue={"jitter": 0})


def test_a_body_without_header_stays_a_body(relay):
    async def body(r, sink, _bob):
        await r.queue("x@dest.test", octets=b"just text\r\n", skip=0)
        assert await r.settled() == []
        assert sink.messages[0].octets == b"X-Top: 1\r\n\r\njust text\r\n"

    run(relay, body, plugins=[modifier(AddHeader("X-Top", "1"))])


@pytest.mark.parametrize("size", [10, 700_000], ids=["small", "large"])
def test_another_body_and_sender_for_the_next_hop_only(relay, size):
    text = b"new line\r\n" * (size // 10)
    answer = [SetBody(text), AddHeader("X-Top", "1"), SetSender(Address("bob+x=dest.test", "here.test"))]

    async def body(r, sink, _bob):
        sink.answer("DATA", "451 4.3.0 later", times=1)
        await r.queue("x@dest.test", octets=b"Return-Path: <bob@here.test>\r\n" + HEAD + BODY)
        await r.settled()
        assert await r.later(70) == []
        [message] = sink.messages
        wanted = b"X-Top: 1\r\n" + HEAD + b"\r\n" + text
        assert message.octets == wanted
        assert "<bob+x=dest.test@here.test>" in message.mail
        assert f" SIZE={len(wanted)}" in message.mail

    run(relay, body, plugins=[modifier(answer)])


def test_recipients_go_out_under_another_address_and_are_reported_under_theirs(relay):
    """As smtp_generic_maps of Postfix: only RCPT says it."""
    edits = [
        ReplaceRecipient(Address("x", "dest.test"), Address("public", "elsewhere.test")),
        ReplaceRecipient(Address("gone", "dest.test"), Address("hidden", "elsewhere.test")),
        ReplaceRecipient(Address("nobody", "dest.test"), Address("z", "elsewhere.test")),
    ]

    async def body(r, sink, bob):
        sink.answer("RCPT", "550 5.1.1 no such user", match="hidden@")
        await r.queue("x@dest.test", "gone@dest.test", "y@dest.test")
        await r.settled()
        [message] = sink.messages
        assert [rcpt.split()[1] for rcpt in message.rcpts] == ["TO:<public@elsewhere.test>", "TO:<y@dest.test>"]
        [report] = await r.inbox(bob)
        assert b"Final-Recipient: rfc822;gone@dest.test" in report.replace(b"; ", b";")
        assert len(r.log.named("hook.edit.refused")) == 1, "who is no recipient is replaced by nobody"

    run(relay, body, plugins=[modifier(edits)])


def test_what_needs_more_of_the_next_hop_asks_for_it(relay):
    async def body(r, sink, _bob):
        await r.queue("x@dest.test", octets=b"Return-Path: <bob@here.test>\r\n" + HEAD + BODY)
        await r.settled()
        assert "BODY=8BITMIME" in sink.messages[0].mail

    run(relay, body, plugins=[modifier(SetBody("ä\r\n".encode(), encoded=True))])


@pytest.mark.parametrize(("on_error", "count"), [("continue", 1), ("defer", 0)])
def test_a_broken_modifier(relay, on_error, count):
    @hookimpl(on_error=on_error)
    def delivery_modify():
        raise RuntimeError

    async def body(r, sink, _bob):
        await r.queue("x@dest.test")
        rows = await r.settled()
        assert (sink.count, len(rows)) == (count, 1 - count)
        assert not rows or rows[0].last_reply == "451 4.3.0 message cannot be prepared at present"

    run(relay, body, plugins=[delivery_modify])
