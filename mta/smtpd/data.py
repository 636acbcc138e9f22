"""DATA (RFC 5321 §4.1.1.4): the message itself, to memory or to a file, then to the pipeline."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from mta.model.errors import Refused, TemporaryFailure
from mta.model.reply import Reply
from mta.obs.metrics import MESSAGES
from mta.pipeline.stream import Stream
from mta.pipeline.transaction import MailTransaction
from mta.smtpd import replies
from mta.smtpd.protocol import SmtpProtocol, Step
from mta.smtpd.verdicts import judge_transaction, refused
from mta.smtpd.wording import word
from mta.spool.accept import reply_for
from mta.spool.content import SpooledContent
from mta.wire.smtp.command import Data
from mta.wire.smtp.data import DataDecoder

_SWALLOW = 16 * 2**20  # octets of a refused message that are read, so that the client comes to its end and hears why


def data(link: SmtpProtocol, _command: Data) -> Step:
    transaction = link.transaction
    if transaction is None:
        return replies.NEED_MAIL
    if not transaction.accepted:
        return replies.NEED_RCPT
    if link.lines.waiting:
        return replies.EARLY_DATA
    hooks = link.server.hooks
    if hooks.smtp_data is not None or hooks.message_headers is not None or hooks.message_sink is not None:
        return _judged(link, transaction)
    return _begin(link, transaction, None)


async def _judged(link: SmtpProtocol, transaction: MailTransaction) -> Reply:
    hooks = link.server.hooks
    if (plan := hooks.smtp_data) is not None:
        decision = await plan.verdict(session=link.peer, transaction=transaction)
        if (reply := judge_transaction(link, transaction, "smtp.data.refused", decision)) is not None:
            link.end_transaction("refused")
            return reply
    return _begin(link, transaction, await Stream.open(hooks, link.peer, transaction))


def _begin(link: SmtpProtocol, transaction: MailTransaction, stream: Stream | None) -> Reply:
    if link.lines.waiting:  # RFC 2920 §3.1: whoever sends on before 354 speaks for somebody else, or not SMTP
        return replies.EARLY_DATA
    link.reader = Incoming(link, transaction, stream)
    return replies.START_DATA


class Incoming:
    """One message between 354 and its end; fulfils Reader."""

    __slots__ = ("_content", "_decoder", "_detail", "_link", "_refusal", "_stream", "_swallowed", "_transaction", "deadline")

    def __init__(self, link: SmtpProtocol, transaction: MailTransaction, stream: Stream | None) -> None:
        server = link.server
        self._link = link
        self._transaction = transaction
        self._decoder = DataDecoder(server.message_size)
        self._content = SpooledContent(server.memory, server.spool_folder)
        self._stream = stream
        self._refusal: Reply | None = None
        self._detail = ""
        self._swallowed = 0
        self.deadline = server.time() + server.transaction_timeout

    @property
    def overdue(self) -> Reply:
        """A peer that never sends the true end is told what was wrong, if something was."""
        return self._refusal or replies.IDLE

    def feed(self, octets: bytes) -> Step:
        piece, rest = self._decoder.feed(octets)
        if self._refusal is None:
            if self._decoder.fault:
                self._refuse(_faulty(self._decoder.fault))
            elif piece:
                self._content.write(piece)
                if self._stream is not None:
                    return self._listened(self._stream, piece, len(octets), rest)
        return self._go_on(len(octets), rest)

    async def _listened(self, stream: Stream, piece: bytes, size: int, rest: bytes | None) -> Reply | None:
        await self._ask(stream.feed(piece))
        step = self._go_on(size, rest)
        return step if step is None or isinstance(step, Reply) else await step

    async def _ask(self, work: Coroutine[Any, Any, None]) -> None:
        """Let the stream's hooks speak; what they refuse is answered at the message's end."""
        try:
            await work
        except Refused as refusal:
            self._refuse(refusal.reply, refusal.detail)
        except TemporaryFailure as failure:
            self._refuse(replies.TEMPORARY, str(failure))

    def _go_on(self, size: int, rest: bytes | None) -> Step:
        if rest is not None:
            return self._end(rest)
        if self._refusal is not None:
            self._swallowed += size
            return self._refusal if self._swallowed > _SWALLOW else None
        return self._spill() if self._content.full else None

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

    def _end(self, rest: bytes) -> Step:
        link = self._link
        link.reader = link.transaction = None
        link.command = "."
        link.lines.put_back(rest)
        if self._refusal is not None:
            link.tell_reset(self._transaction, "message")
            return self._told(self._refused(self._refusal))
        self._content.finish()
        return self._submit()

    def _refused(self, reply: Reply) -> Reply:
        MESSAGES[self._transaction.origin, "deferred" if reply.temporary else "refused"].value += 1
        about = {"detail": self._detail} if self._detail else {}
        sender = self._transaction.sender or ""
        transaction, link = self._transaction, self._link
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
                reply = await link.server.pipeline.submit(link.peer, self._transaction, self._content)
        finally:
            link.tell_reset(self._transaction, "message")
        if reply.positive:
            link.junk = 0
        step = self._told(reply)
        return step if isinstance(step, Reply) else await step

    def _told(self, reply: Reply) -> Reply | Coroutine[Any, Any, Reply]:
        """LMTP answers once for each accepted recipient (RFC 2033 §4.2)."""
        transaction = self._transaction
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
            self._link.say(await word(self._link, one))
        return last


def _faulty(fault: str) -> Reply:
    if fault == "too big":
        return replies.TOO_BIG
    return Reply(550, "5.6.0", f"{fault} in the message is not allowed (RFC 5321 §2.3.8)".replace("§", "section "), close=True)
