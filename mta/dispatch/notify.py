"""Rows of the outbox for the hooks ``delivered``, ``deferred`` and ``bounced``: complete records, written with their cause."""
# SPDX-License-Identifier: Apache-2.0

from typing import Literal, Protocol

from mta.local.transport import LocalHooks
from mta.model.address import Address
from mta.model.delivery import DeliveryRecord, Leased, Result
from mta.model.ids import QueueId
from mta.model.message import Notification
from mta.model.pipe import shown
from mta.pluginhost.durable import payload_of
from mta.pluginhost.plan import Plan


class DispatchHooks(LocalHooks, Protocol):
    """Read at each use: the set of hooks changes when a drop-in is saved."""

    @property
    def durable(self) -> frozenset[str]: ...
    @property
    def delivery_attempt(self) -> Plan | None: ...
    @property
    def delivery_policy(self) -> Plan | None: ...
    @property
    def delivery_modify(self) -> Plan | None: ...
    @property
    def dsn_compose(self) -> Plan | None: ...
    @property
    def delivery_status(self) -> Plan | None: ...


Hook = Literal["delivered", "deferred", "bounced"]

HOOKS: dict[Result, Hook] = {"delivered": "delivered", "relayed": "delivered", "deferred": "deferred", "failed": "bounced"}
"""Which hook hears of which result; the others are nobody's."""


def notification(leased: Leased, result: Result, reply: str, remote: str, now: float, next_attempt: float | None) -> Notification:
    """The row for one recipient; ``result`` is one of ``HOOKS``."""
    message = leased.message
    record = DeliveryRecord(
        id=message.id,
        message_id=message.message_id,
        origin=message.origin,
        sender=str(message.sender or ""),
        recipient=str(shown(leased.address)),
        orcpt=leased.orcpt,
        result=result,
        reply=reply,
        remote=remote,
        attempts=leased.attempts + 1,
        received_at=message.received_at,
        at=now,
        size=message.size - message.skip,
        user=message.user,
        next_attempt=next_attempt,
    )
    return Notification(HOOKS[result], payload_of(record))


def delivered_record(id: QueueId, message_id: str, recipient: Address, size: int, now: float) -> Notification:
    """The row for a notification of ours that goes into a mailbox at once."""
    record = DeliveryRecord(
        id=id,
        message_id=message_id,
        origin="dsn",
        sender="",
        recipient=str(recipient),
        orcpt=None,
        result="delivered",
        reply="250 2.0.0 delivered to INBOX",
        remote="",
        attempts=1,
        received_at=now,
        at=now,
        size=size,
    )
    return Notification("delivered", payload_of(record))
