"""Delivery status notifications as intakes: written in the transaction that settles what they tell (RFC 3464, RFC 3461 §6).

They go to the sender from the null sender. What fails and came from the null sender, or whose sender is nobody any more, is told to
config ``queue.double_bounce``, if to anybody; what fails of that is dropped, so no loop is longer. A sender of ours gets it in the
mailbox by the same commit, unless hooks want to see it first.
"""
# SPDX-License-Identifier: Apache-2.0

import hashlib
from collections.abc import Sequence
from email.utils import formatdate

from mta.directory.resolve import Resolution, Resolver
from mta.dispatch.notify import DispatchHooks, delivered_record
from mta.model.address import Address
from mta.model.delivery import QueuedMessage
from mta.model.directory import MailboxTarget
from mta.model.ids import QueueId, UserId
from mta.model.message import Intake, LocalDelivery, Notification, OctetContent, QueuedRecipient
from mta.obs.log import Log
from mta.wire.dsn import RecipientReport, Report, compose
from mta.wire.dsn.compose import MAX_FULL, MAX_HEADER
from mta_hooks.backends.queue import Queue
from mta_hooks.views import DsnReport

_RETURN_PATH = b"Return-Path: <>\r\n"
_NEVER = frozenset({"NEVER"})
DOUBLE = "double-bounce"
"""The ENVID of what goes to config ``queue.double_bounce``."""


class Bouncer:
    def __init__(
        self,
        hostname: str,
        resolver: Resolver,
        queue: Queue,
        hooks: DispatchHooks,
        log: Log,
        *,
        direct: bool = True,
        double: str | None = None,
    ) -> None:
        """``direct``: a mailbox gets it in the transaction that settles its cause. ``double``: who is told when the sender cannot be."""
        self._double = None if double is None else Address.parse(double)
        self._direct = direct
        self._hostname = hostname
        self._resolver = resolver
        self._queue = queue
        self._hooks = hooks
        self._log = log

    def tells_of(self, message: QueuedMessage, reports: Sequence[RecipientReport]) -> bool:
        """Is anybody to hear of these recipients of a message from the null sender?"""
        failed = any(report.action == "failed" for report in reports)
        if failed and (self._double is None or message.envid == DOUBLE):
            self._log.warning(
                "dsn.double_bounce_dropped", id=message.id, recipient=str(reports[0].address), reason=reports[0].diagnostic
            )
        return failed and self._double is not None and message.envid != DOUBLE

    async def report(self, message: QueuedMessage, reports: Sequence[RecipientReport], mark: str, now: float) -> Intake | None:
        """The notification about these recipients, or None when nobody can be told.

        ``mark`` distinguishes notifications about one message: the same mark makes the same id, and the database takes an id once.
        Raises TemporaryFailure.
        """
        sender = message.sender or self._double
        if message.sender is None:
            reports = [report for report in reports if report.action == "failed"]
        if sender is None or not reports:
            return None
        id = QueueId(f"{message.id[:50]}-{hashlib.sha256(mark.encode()).hexdigest()[:12]}")
        said = DsnReport(id, message.id, message.message_id, sender, message.received_at, tuple(reports), message.ret)
        if (plan := self._hooks.dsn_compose) is not None:
            said = await plan.pipeline("report", report=said)
            if not said.recipients:
                self._log.info("dsn.suppressed", about=message.id, recipient=str(sender))
                return None
        found = await self._reachable(message, sender, said.recipients)
        if found is None:
            return None
        sender, resolution = found
        whole = said.ret == "FULL" and not message.requiretls and message.size - message.skip <= MAX_FULL
        original = await self._queue.content(message.blob, message.skip, None if whole else MAX_HEADER)
        report = Report(
            id=id,
            sender=sender,
            hostname=self._hostname,
            now=now,
            received_at=message.received_at,
            recipients=tuple(said.recipients),
            original=original,
            complete=len(original) >= message.size - message.skip,
            ret="HDRS" if message.requiretls else said.ret,  # RFC 8689 §5
            envid=message.envid,
            queue_id=message.id,
            message_id=message.message_id,
            subject=said.subject,
            text=said.text,
        )
        users = [target for target in resolution.local if isinstance(target, MailboxTarget)]
        direct = self._direct and self._hooks.deliver is None and self._hooks.mailbox_deliver is None
        deliveries = tuple(LocalDelivery(target.user, sender) for target in users) if direct else ()
        queued = [QueuedRecipient(address, "remote", notify=_NEVER) for address in resolution.remote]
        for target in resolution.local:
            if not (direct and isinstance(target, MailboxTarget)):
                user = target.user if isinstance(target, MailboxTarget) else None
                queued.append(_local(sender if user is not None else target.address, user))
        self._log.info(
            "dsn.written",
            id=id,
            about=message.id,
            recipient=str(sender),
            actions=",".join(r.action for r in report.recipients[:10]),
        )
        envid = None if sender == message.sender else DOUBLE
        return self._intake(report, deliveries, tuple(queued), now, envid, requiretls=message.requiretls)

    async def _reachable(
        self, message: QueuedMessage, sender: Address, about: Sequence[RecipientReport]
    ) -> tuple[Address, Resolution] | None:
        """Who is told, and who that stands for: the sender, else config ``queue.double_bounce``."""
        resolution = await self._resolver.resolve(sender)
        if resolution.refusal is not None:
            self._log.warning("dsn.no_such_sender", id=message.id, sender=str(sender), reply=str(resolution.refusal))
            if self._double is None or message.sender is None or not self.tells_of(message, about):
                return None
            sender, resolution = self._double, await self._resolver.resolve(self._double)
            if resolution.refusal is not None:
                self._log.warning("dsn.no_such_sender", id=message.id, sender=str(sender), reply=str(resolution.refusal))
                return None
        return sender, resolution

    def _intake(
        self,
        report: Report,
        deliveries: tuple[LocalDelivery, ...],
        queued: tuple[QueuedRecipient, ...],
        now: float,
        envid: str | None,
        *,
        requiretls: bool,
    ) -> Intake:
        id = QueueId(report.id)
        received = f"Received: by {self._hostname} id {id};\r\n\t{formatdate(now)[:-5]}+0000\r\n".encode()
        content = OctetContent(_RETURN_PATH + received + compose(report))
        message_id = f"<{id}@{self._hostname}>"
        size = content.size - len(_RETURN_PATH)
        notifications: tuple[Notification, ...] = ()
        if "delivered" in self._hooks.durable:
            notifications = tuple(delivered_record(id, message_id, d.recipient, size, now) for d in deliveries)
        return Intake(
            id=id,
            origin="dsn",
            sender=None,
            content=content,
            received_at=now,
            skip=len(_RETURN_PATH),
            envid=envid,
            smtputf8=not report.sender.is_ascii,
            eightbit=not report.sender.is_ascii,
            message_id=message_id,
            requiretls=requiretls,
            deliveries=deliveries,
            queued=queued,
            notifications=notifications,
            trace=({"at": now, "stage": "dsn", "about": report.queue_id},),
        )


def _local(address: Address, user: UserId | None) -> QueuedRecipient:
    return QueuedRecipient(address, "local", user, notify=_NEVER)
