"""Durable hooks of the pipeline, ``report_received`` and ``message_accepted``: written with the message, called with all arguments."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import json
from typing import Any

import pytest

from mta.model.address import Address
from mta.model.errors import OverQuota, TemporaryFailure
from mta.model.ids import QueueId, UserId
from mta.model.message import Intake, OctetContent, Recipient
from mta.model.verdict import discard
from mta.pipeline.session import MailSession
from mta.pipeline.transaction import Accepted, MailTransaction
from mta.testing.plugins import host_with, plugin_of
from mta.testing.smtpd import SmtpSite
from mta.wire.dsn import RecipientReport, Report, compose
from mta_hooks import Envelope, hookimpl

REPORT = compose(
    Report(
        id="d1",
        sender=Address("alice", "example.test"),
        hostname="mx.far.test",
        now=2.0,
        received_at=1.0,
        recipients=(RecipientReport(Address("x", "far.test"), "failed", diagnostic="550 5.1.1 no such user"),),
        original=b"Message-ID: <one@example.test>\r\n\r\n" + b"x" * 100_000,
        ret="FULL",
    )
)
PLAIN = b"Subject: hello\r\n\r\nmultipart/report\r\n"


def submit(site: SmtpSite, octets: bytes, recipients: tuple[str, ...] = ("alice@example.test",)) -> Intake | None:
    async def main() -> None:
        transaction = MailTransaction(QueueId("Q1"), "smtp", None, {})
        for text in recipients:
            address = Address.parse(text) if "@" in text else Address(text, "")
            transaction.accepted.append(Accepted(Recipient(address, address), await site.server.resolver.resolve(address)))
        session = MailSession("s1", "smtp")
        session.client_ip, session.helo, session.esmtp = "192.0.2.1", "far.test", True
        await site.pipeline.submit(session, transaction, OctetContent(octets))

    asyncio.run(main())
    return site.spool.accepted[-1] if site.spool.accepted else None


def calls(intake: Intake | None, hook: str = "report_received") -> list[dict[str, Any]]:
    assert intake is not None
    return [json.loads(json.dumps(n.payload)) for n in intake.notifications if n.hook == hook]


def site_with_hook() -> SmtpSite:
    site = SmtpSite()
    site.hooks.durable = frozenset({"report_received"})
    return site


def test_a_report_reaches_the_hook_as_message_and_report() -> None:
    [payload] = calls(submit(site_with_hook(), REPORT))
    seen = []

    @hookimpl
    def report_received(message: Any, report: Any) -> None:
        seen.append((message, report))

    host = host_with(plugin_of(report_received))
    payload["report"]["newer"] = 1
    asyncio.run(host.call_durable("report_received", payload))
    [(message, report)] = seen
    assert (message.id, message.origin, message.sender) == ("Q1", "smtp", None)
    assert message.size > 100_000
    assert len(message.raw) == 65536
    assert b"".join(message.chunks(1000)) == message.raw
    assert message.header("auto-submitted") == "auto-replied"
    assert (report.kind, report.message_id, report.reporter) == ("dsn", "<one@example.test>", "mx.far.test")
    assert [(one.address, one.action, one.status) for one in report.recipients] == [("x@far.test", "failed", "5.1.1")]


@pytest.mark.parametrize("octets", [PLAIN, REPORT.replace(b"Final-Recipient", b"Other")], ids=["plain", "no recipient"])
def test_other_messages_reach_nobody(octets: bytes) -> None:
    assert calls(submit(site_with_hook(), octets)) == []


def test_nothing_is_written_without_the_hook() -> None:
    assert calls(submit(SmtpSite(), REPORT)) == []


def test_a_report_that_is_thrown_away_is_none() -> None:
    site = site_with_hook()
    site.hook("message_check", lambda **_: discard("no"))
    assert calls(submit(site, REPORT)) == []


def test_a_full_mailbox_beside_others_loses_no_call() -> None:
    site = site_with_hook()
    site.hooks.durable |= {"delivered"}
    site.spool.failures.append(OverQuota("full", (UserId(1),)))
    intake = submit(site, REPORT, ("alice@example.test", "bob@example.test"))
    assert intake is not None
    assert sorted(n.hook for n in intake.notifications) == ["delivered", "report_received"]


@pytest.mark.parametrize("payload", [{}, {"message": {}, "report": {}}, {"report": {"recipients": []}}])
def test_a_payload_that_lacks_something_is_tried_again(payload: dict[str, Any]) -> None:
    @hookimpl
    def report_received() -> None:
        raise AssertionError

    with pytest.raises(TemporaryFailure):
        asyncio.run(host_with(plugin_of(report_received)).call_durable("report_received", payload))


# ---- message_accepted


def test_an_accepted_message_reaches_the_hook_with_its_header_and_envelope() -> None:
    site = SmtpSite()
    site.hooks.durable = frozenset({"message_accepted"})
    octets = b"Subject: hello\r\n\r\n" + b"secret body\r\n" * 9999
    [payload] = calls(submit(site, octets, ("alice@example.test", "far@elsewhere.test", "postmaster")), "message_accepted")
    seen = []

    @hookimpl
    def message_accepted(message: Any, envelopes: Any) -> None:
        seen.append((message, envelopes))

    asyncio.run(host_with(plugin_of(message_accepted)).call_durable("message_accepted", payload))
    [(message, envelopes)] = seen
    assert (message.id, message.origin, message.sender, message.header("subject")) == ("Q1", "smtp", None, "hello")
    assert b"secret" not in message.raw
    assert message.size == len(octets)
    assert len(message.raw) < 100
    recipients = (Address("alice", "example.test"), Address("far", "elsewhere.test"), Address("postmaster", ""))
    assert envelopes == (Envelope("Q1", None, recipients, "smtp", site.clock.now(), 0),)


def test_what_is_thrown_away_was_not_accepted() -> None:
    site = SmtpSite()
    site.hooks.durable = frozenset({"message_accepted"})
    site.hook("message_check", lambda **_: discard("no"))
    assert calls(submit(site, PLAIN), "message_accepted") == []
