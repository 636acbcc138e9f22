"""Reports that come in: written for ``report_received`` with the message's own transaction, and called with both arguments."""
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
from mta_hooks import hookimpl

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
            address = Address.parse(text)
            transaction.accepted.append(Accepted(Recipient(address, address), await site.server.resolver.resolve(address)))
        session = MailSession("s1", "smtp")
        session.client_ip, session.helo, session.esmtp = "192.0.2.1", "far.test", True
        await site.pipeline.submit(session, transaction, OctetContent(octets))

    asyncio.run(main())
    return site.spool.accepted[-1] if site.spool.accepted else None


def calls(intake: Intake | None) -> list[dict[str, Any]]:
    assert intake is not None
    return [json.loads(json.dumps(n.payload)) for n in intake.notifications if n.hook == "report_received"]


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
