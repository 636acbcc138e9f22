"""The hook ``queue_enqueue``: who of the final recipients gets the message, when, and who waits until released."""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Sequence
from dataclasses import replace

from mta.model.address import Address
from mta.model.message import PRIORITY_STEP
from mta.pipeline.header import apply_edits
from mta.pipeline.hooks import Plan
from mta.pipeline.message import MailMessage
from mta.pipeline.recipients import Dispositions, to_queue
from mta.pipeline.session import MailSession
from mta.pipeline.transaction import MailTransaction
from mta_hooks.edits import RemoveHeader
from mta_hooks.views import Envelope

_PRIORITY = re.compile(r"-?[0-9]\Z")
_BULK = -3


async def enqueue(
    plan: Plan, session: MailSession, transaction: MailTransaction, message: MailMessage, dispositions: Dispositions, now: float
) -> tuple[Envelope, ...]:
    """Change ``dispositions`` as the plugins say. Returns their envelopes; none: the message is thrown away. Raises TemporaryFailure."""
    found = [*(one.recipient for one in dispositions.deliveries.values()), *(one.address for one in dispositions.queued.values())]
    recipients = tuple(dict.fromkeys(found))
    if not recipients:
        return ()
    given = (Envelope(message.id, transaction.sender, recipients, transaction.origin, now, 0, session.user),)
    said: Sequence[Envelope] = await plan.pipeline("envelopes", message=message, envelopes=given)
    if tuple(said) != given:
        _obey({who: one for one in said for who in one.recipients}, transaction, dispositions, now)
    if not said:
        transaction.discard = "by queue_enqueue"
    return tuple(said)


def _obey(chosen: dict[Address, Envelope], transaction: MailTransaction, dispositions: Dispositions, now: float) -> None:
    for key, row in list(dispositions.queued.items()):
        one = chosen.get(row.address)
        if one is None:
            del dispositions.queued[key]
        else:
            dispositions.queued[key] = replace(row, hold=_reason(one) or row.hold, due=_due(one, now))
    for user, delivery in list(dispositions.deliveries.items()):
        one = chosen.get(delivery.recipient)
        if one is not None and not one.hold and one.due <= now:
            continue
        del dispositions.deliveries[user]
        if one is not None:
            (row,) = to_queue([delivery], transaction.accepted)
            dispositions.queued["local", user] = replace(row, hold=_reason(one), due=_due(one, now))


def _reason(envelope: Envelope) -> str:
    return " ".join(envelope.hold.split())  # one line, in listings and in the log


def _due(envelope: Envelope, now: float) -> float:
    """0.0: at once, in its turn."""
    if envelope.due > now or not envelope.priority:
        return envelope.due if envelope.due > now else 0.0
    return now - PRIORITY_STEP * envelope.priority


def urgency(transaction: MailTransaction, message: MailMessage) -> int:
    """The priority of a message for the queue: what was asked for (RFC 6710), else less for what calls itself bulk mail."""
    if transaction.priority or "MT-PRIORITY" in transaction.params or not message.count(b"precedence"):
        return transaction.priority
    return _BULK if (message.header("precedence") or "").strip().lower() in ("bulk", "junk", "list") else 0


def tunnelled(transaction: MailTransaction, message: MailMessage) -> None:
    """The field in which a priority crosses hosts that know no MT-PRIORITY (RFC 6758 §3): believed of those whom we know, and taken
    out where it says nothing, as beside the parameter."""
    if transaction.believed and "MT-PRIORITY" not in transaction.params:
        if _PRIORITY.match(said := message.header("mt-priority") or ""):
            transaction.priority = int(said)
    else:
        message.head = apply_edits(message.head, (RemoveHeader("MT-Priority"),))
