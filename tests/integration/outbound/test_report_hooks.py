"""Hooks on reports and on what goes out: ``dsn_compose``, ``delivery_modify``."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import email
import email.policy
from dataclasses import replace

import pytest

from mta.model.address import Address
from mta.testing.sink import Sink
from mta_hooks import DsnReport, hookimpl


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
