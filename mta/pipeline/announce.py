"""Rows of the outbox for what an accepted message is: written in the transaction that accepts it."""
# SPDX-License-Identifier: Apache-2.0

from mta.model.message import Notification
from mta.obs.log import Log
from mta.pipeline.message import MailMessage
from mta.pipeline.session import MailSession
from mta.pipeline.transaction import MailTransaction
from mta.pluginhost.durable import payload_of_accepted, payload_of_report
from mta.wire.dsn.parse import parse_report
from mta_hooks.views import Envelope

MOST = 2**20
"""Octets of a message up to which it is looked at: a report is small, but may bring the whole message back."""


def report_of(message: MailMessage, log: Log) -> tuple[Notification, ...]:
    """The call of ``report_received`` for a message that is a report, whoever sent it."""
    if b"multipart/report" not in message.lowered:
        return ()
    report = parse_report(next(message.chunks(MOST), b""))
    if report is None:
        return ()
    log.info("report.received", id=message.id, kind=report.kind, about=report.message_id, recipients=len(report.recipients))
    return (Notification("report_received", payload_of_report(message, report)),)


def acceptance_of(
    session: MailSession, transaction: MailTransaction, message: MailMessage, envelopes: tuple[Envelope, ...], now: float
) -> tuple[Notification, ...]:
    """The call of ``message_accepted``; ``envelopes``: those of ``queue_enqueue``, where it was asked."""
    if not envelopes:
        recipients = tuple(one.recipient.address for one in transaction.accepted)
        envelopes = (Envelope(message.id, transaction.sender, recipients, transaction.origin, now, 0, session.user),)
    return (Notification("message_accepted", payload_of_accepted(message, envelopes)),)
