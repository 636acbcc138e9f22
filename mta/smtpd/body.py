"""A message on its way in, however it comes (DATA, BDAT): to memory or to a file, past the hooks that listen, then to the pipeline."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from mta.model.errors import Refused, TemporaryFailure
from mta.model.reply import Reply
from mta.obs.metrics import MESSAGES
from mta.pipeline.hooks import Decision
from mta.pipeline.stream import Stream
from mta.pipeline.transaction import MailTransaction
from mta.smtpd import replies
from mta.smtpd.protocol import SmtpProtocol, Step
from mta.smtpd.verdicts import judge_transaction, refused
from mta.smtpd.wording import worded
from mta.spool.accept import reply_for
from mta.spool.content import SpooledContent

SWALLOW = 16 * 2**20
"""Octets of a refused message that are read, so that the client comes to its end and hears why."""


TRICKLE = 300.0
"""Seconds in which a message may come as slowly as it likes."""


def let_in(link: SmtpProtocol, transaction: MailTransaction) -> Coroutine[Any, Any, Reply | Stream | None] | None:
    """What ``smtp_data`` has against the message, which then is over; or the hooks that will listen to it. None: nothing, and none."""
    hooks = link.server.hooks
    plan = hooks.smtp_data
    asked = None if plan is None else plan.prompt_verdict(session=link.peer, transaction=transaction)
    if asked is None and hooks.message_headers is None and hooks.message_sink is None:
        return None
    return _judged(link, transaction, asked)


async def _judged(
    link: SmtpProtocol, transaction: MailTransaction, asked: Coroutine[Any, Any, Decision] | None
) -> Reply | Stream | None:
    if asked is not None and (reply := judge_transaction(link, transaction, "smtp.data.refused", await asked)) is not None:
        link.end_transaction("refused")
        return reply
    return await Stream.open(link.server.hooks, link.peer, transaction)


class Body:
    """The content so far, and whether it will be taken. ``deadline``: loop time at which the peer must have come to its end."""

    __slots__ = ("_began", "_content", "_detail", "_link", "_refusal", "_stream", "_swallowed", "transaction")

    def __init__(self, link: SmtpProtocol, transaction: MailTransaction, stream: Stream | None) -> None:
        server = link.server
        self._link = link
        self.transaction = transaction
        self._content = SpooledContent(server.memory, server.spool_folder)
        self._stream = stream
        self._refusal: Reply | None = None
        self._detail = ""
        self._swallowed = 0
        self._began = server.time()

    @property
    def deadline(self) -> float:
        """Nobody holds us for long with a message that trickles."""
        server = self._link.server
        latest = self._began + server.transaction_timeout
        if not server.data_rate:
            return latest
        return min(latest, self._began + TRICKLE + (self._content.size + self._swallowed) / server.data_rate)

    @property
    def overdue(self) -> Reply:
        """A peer that never sends the true end is told what was wrong, if something was."""
        return self._refusal or replies.IDLE

    async def _ask(self, work: Coroutine[Any, Any, None]) -> None:
        """Let the stream's hooks speak; what they refuse is answered at the message's end."""
        try:
            await work
        except Refused as refusal:
            self._refuse(refusal.reply, refusal.detail)
        except TemporaryFailure as failure:
            self._refuse(replies.TEMPORARY, str(failure))

    def _refuse(self, reply: Reply, detail: str = "") -> None:
        """Keep nothing more; the rest is read to its end."""
        self._refusal, self._detail, self._stream = reply, detail, None
        self._content = SpooledContent(0, "")

    async def _spill(self) -> Reply | None:
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._content.spill)
        except TemporaryFailure as failure:
            self._link.server.log.error("smtp.spool.failed", session=self._link.peer.id, detail=str(failure))
            self._refuse(reply_for(failure))
        return None

    def _end(self) -> Step:
        """The message is complete, and the transaction over."""
        link = self._link
        link.reader = link.chunks = link.transaction = None
        link.command = "."
        if self._refusal is not None:
            link.tell_reset(self.transaction, "message")
            return self._told(self._refused(self._refusal))
        self._content.finish()
        return self._submit()

    def _refused(self, reply: Reply) -> Reply:
        MESSAGES[self.transaction.origin, "deferred" if reply.temporary else "refused"].value += 1
        about = {"detail": self._detail} if self._detail else {}
        sender = self.transaction.sender or ""
        transaction, link = self.transaction, self._link
        steps = (*link.peer.steps, *transaction.steps)
        return refused(
            link, "smtp.data.refused", reply, transaction=transaction, steps=steps, id=transaction.id, sender=sender, **about
        )

    async def _submit(self) -> Reply:
        link = self._link
        try:
            if self._stream is not None:
                await self._ask(self._stream.end())
            if self._refusal is not None:
                reply = self._refused(self._refusal)
            else:
                reply = await link.server.pipeline.submit(link.peer, self.transaction, self._content)
        finally:
            link.tell_reset(self.transaction, "message")
        if reply.positive:
            link.junk = 0
        step = self._told(reply)
        return step if isinstance(step, Reply) else await step

    def _told(self, reply: Reply) -> Reply | Coroutine[Any, Any, Reply]:
        """LMTP answers once for each accepted recipient (RFC 2033 §4.2)."""
        transaction = self.transaction
        if self._link.spec.protocol != "lmtp" or not transaction.asked:
            return reply
        *first, last = [transaction.replies.get(who, reply) for who in transaction.asked]
        if first and self._link.server.hooks.smtp_reply is not None:
            return self._worded(first, last)
        for one in first:
            self._link.say(one)
        return last

    async def _worded(self, first: Sequence[Reply], last: Reply) -> Reply:
        for one in first:
            self._link.say(await worded(self._link, one))
        return last


def faulty(fault: str, *, close: bool) -> Reply:
    """The answer to a fault of the octets themselves. ``close``: what the peer sends next cannot be trusted to be commands."""
    if fault == "too big":
        return replies.TOO_BIG
    return Reply(550, "5.6.0", f"{fault} in the message is not allowed (RFC 5321 section 2.3.8)", close=close)
