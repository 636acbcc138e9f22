"""A queued message on its way to other recipients: an intake written in the transaction that takes the old ones out of the queue."""
# SPDX-License-Identifier: Apache-2.0

import hashlib
from collections.abc import Sequence
from email.utils import formatdate

from mta.directory.resolve import Resolver
from mta.dispatch.line import Batch
from mta.model.address import Address
from mta.model.directory import MailboxTarget
from mta.model.errors import TemporaryFailure
from mta.model.ids import QueueId
from mta.model.message import Intake, QueuedRecipient
from mta.pipeline.forwarding import field, is_forwarded, sent_on_for
from mta.pipeline.message import MailMessage

_UNREADABLE = "451 4.3.0 the directory cannot be read at present"


class Unredirectable(Exception):
    """The text is a reply with code, for the recipients that stay."""


class Redirector:
    """``hops``: Received lines above which a message loops."""

    def __init__(self, hostname: str, resolver: Resolver, hops: int) -> None:
        self._hostname = hostname
        self._resolver = resolver
        self._hops = hops

    async def intake(self, batch: Batch, targets: Sequence[Address], message: MailMessage, plugin: str, now: float) -> Intake:
        """The message for ``targets`` instead of the recipients of ``batch``, whom an operator wants looked up again when they are the
        same. Raises Unredirectable.

        Mailboxes get theirs from the queue, not in this transaction: a full one must fail by itself.
        """
        if message.count(b"received") >= self._hops:
            raise Unredirectable("554 5.4.6 too many hops, this message loops")
        old = batch.message
        mark = ",".join(f"{one.row}/{one.attempts}" for one in batch.recipients)
        id = QueueId(f"{old.id[:50]}-{hashlib.sha256(f'redirect {mark}'.encode()).hexdigest()[:12]}")
        path = f"Return-Path: <{old.sender or ''}>\r\n".encode()
        queued, sent_on = await self._recipients(batch, targets)
        smtputf8 = old.smtputf8 or not all(target.is_ascii for target in targets)
        delivered = await self._delivered_to(batch, targets, sent_on, message, smtputf8=smtputf8)
        received = f"Received: by {self._hostname} id {id};\r\n\t{formatdate(now)[:-5]}+0000\r\n".encode()
        return Intake(
            id=id,
            origin=old.origin,
            sender=old.sender,
            content=message.content(path + delivered + received),
            received_at=now,
            skip=len(path),
            envid=old.envid,
            ret=old.ret,
            smtputf8=smtputf8,
            eightbit=old.eightbit,
            message_id=old.message_id,
            user=old.user,
            queued=queued,
            trace=({"at": now, "stage": "redirect", "plugin": plugin, "about": old.id},),
        )

    async def _delivered_to(
        self, batch: Batch, targets: Sequence[Address], sent_on: Sequence[Address], message: MailMessage, *, smtputf8: bool
    ) -> bytes:
        """As when mail comes: the addresses of ours in whose place others get it, unless one would be shown to others (see
        ``mta.pipeline.forwarding``). Raises Unredirectable: it was sent on for one of them before."""
        if len(batch.recipients) > 1 or len(targets) > 1:
            sent_on = ()
        names = list(sent_on)
        [old, *others] = [one.address for one in batch.recipients]
        if not others and old not in targets:
            try:
                if await self._resolver.is_ours(old.domain) is not None:
                    names.append(old)
            except TemporaryFailure as exc:
                raise Unredirectable(_UNREADABLE) from exc
        known = sent_on_for(message) if names else ()
        if old not in targets and any(str(name).lower() in known for name in names):
            raise Unredirectable("554 5.4.6 mail forwarding loop")
        return b"".join(field(name, smtputf8=smtputf8) for name in names if str(name).lower() not in known)

    async def _recipients(self, batch: Batch, targets: Sequence[Address]) -> tuple[tuple[QueuedRecipient, ...], list[Address]]:
        """Those that get it, and which targets are addresses of ours that stand for others."""
        notify = frozenset().union(*(one.notify for one in batch.recipients))
        if len(notify) > 1:
            notify -= {"NEVER"}
        orcpt = batch.recipients[0].orcpt if len(batch.recipients) == 1 else None
        queued: dict[str, QueuedRecipient] = {}
        sent_on: list[Address] = []
        for target in targets:
            try:
                resolution = await self._resolver.resolve(target)
            except TemporaryFailure as exc:
                raise Unredirectable(_UNREADABLE) from exc
            if resolution.refusal is not None:
                raise Unredirectable(f"550 5.1.1 redirected to {target}: {resolution.refusal.text}")
            if is_forwarded(target, resolution):
                sent_on.append(target)
            for address in resolution.remote:
                queued[str(address)] = QueuedRecipient(address, "remote", orcpt=orcpt, notify=notify)
            for found in resolution.local:
                if isinstance(found, MailboxTarget):
                    queued[f"{target} {found.user}"] = QueuedRecipient(target, "local", found.user, orcpt=orcpt, notify=notify)
                else:
                    queued[str(found.address)] = QueuedRecipient(found.address, "local", orcpt=orcpt, notify=notify)
        return tuple(queued.values()), sent_on
