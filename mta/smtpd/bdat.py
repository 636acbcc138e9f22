"""BDAT (RFC 3030 §2): the message in chunks of announced size, each answered; the last one ends it.

What was announced is read before anything is said, also when the answer is no: the octets of a chunk are never taken for
commands. Nothing is reserved by announced size. A message that was refused stays refused until its last chunk or RSET.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from mta.model.reply import Reply
from mta.net.prompt import promptly
from mta.pipeline.stream import Stream
from mta.pipeline.transaction import MailTransaction
from mta.smtpd import replies
from mta.smtpd.body import SWALLOW, Body, faulty, let_in
from mta.smtpd.protocol import SmtpProtocol, Step, settled
from mta.smtpd.simple import count_junk
from mta.wire.smtp.command import Bdat
from mta.wire.smtp.data import ChunkDecoder


def bdat(link: SmtpProtocol, command: Bdat) -> Step:
    if (chunks := link.chunks) is not None:
        return chunks.begin(command)
    transaction = link.transaction
    if transaction is None:
        return Skipped(link, replies.NEED_MAIL).begin(command.size)
    if not transaction.accepted:
        return Skipped(link, replies.NEED_RCPT).begin(command.size)
    if (asked := let_in(link, transaction)) is not None:
        return promptly(_judged(link, transaction, command, asked))
    link.chunks = chunks = Chunks(link, transaction, None)
    return chunks.begin(command)


async def _judged(
    link: SmtpProtocol, transaction: MailTransaction, command: Bdat, asked: Coroutine[Any, Any, Reply | Stream | None]
) -> Reply | None:
    stream = await asked
    if isinstance(stream, Reply):
        step = Skipped(link, stream).begin(command.size)
    else:
        link.chunks = chunks = Chunks(link, transaction, stream)
        step = chunks.begin(command)
    return await settled(step)


class Skipped:
    """A chunk that is out of place: read, then answered; fulfils Reader."""

    __slots__ = ("_left", "_link", "deadline", "overdue")

    def __init__(self, link: SmtpProtocol, reply: Reply) -> None:
        self._link = link
        self._left = 0
        self.overdue = reply
        self.deadline = link.server.time() + link.server.transaction_timeout

    def begin(self, size: int) -> Step:
        if size > SWALLOW:
            return replace(self.overdue, close=True)
        self._left = size
        self._link.reader = self
        return self.feed(self._link.lines.take_at_most(size))

    def feed(self, octets: bytes) -> Step:
        piece = octets[: self._left]
        self._left -= len(piece)
        if len(piece) < len(octets):
            self._link.lines.put_back(octets[len(piece) :])
        if self._left:
            return None
        self._link.reader = None
        return self.overdue


class Chunks(Body):
    """One message from its first chunk to its last; fulfils Reader while one of them arrives."""

    __slots__ = ("_announced", "_decoder", "_last", "_left")

    def __init__(self, link: SmtpProtocol, transaction: MailTransaction, stream: Stream | None) -> None:
        super().__init__(link, transaction, stream)
        self._decoder = ChunkDecoder(link.server.message_size, binary=transaction.binary)
        self._announced = self._left = 0
        self._last = False

    def begin(self, command: Bdat) -> Step:
        """The next chunk; what of it is here already is taken at once."""
        link = self._link
        if link.server.time() > self.deadline:
            return replace(self.overdue, close=True)
        if not command.size and not command.last:
            count_junk(link)
        self._announced, self._left, self._last = command.size, command.size, command.last
        if self._refusal is None and self._decoder.size + command.size > link.server.message_size:
            self._refuse(replies.TOO_BIG)
        if self._refusal is not None and self._swallowed + command.size > SWALLOW:
            return replace(self._refusal, close=True)
        link.reader = self
        return self.feed(link.lines.take_at_most(command.size))

    def feed(self, octets: bytes) -> Step:
        piece = octets
        if len(octets) > self._left:
            piece = octets[: self._left]
            self._link.lines.put_back(octets[self._left :])
        self._left -= len(piece)
        if self._refusal is None:
            content = self._decoder.feed(piece)
            if not self._left and self._last:
                content += self._decoder.end()
            if self._decoder.fault:
                self._refuse(faulty(self._decoder.fault, close=False))
            elif content:
                self._content.write(content)
                if self._stream is not None:
                    return promptly(self._listened(self._stream, content))
        return self._go_on(len(piece))

    async def _listened(self, stream: Stream, content: bytes) -> Reply | None:
        await self._ask(stream.feed(content))
        return await settled(self._go_on(len(content)))

    def _go_on(self, size: int) -> Step:
        if self._refusal is not None:
            self._swallowed += size
        elif self._content.full:
            return self._spilled()
        return self._answer() if not self._left else None

    async def _spilled(self) -> Reply | None:
        await self._spill()
        if self._left:
            return None
        return await settled(self._answer())

    def _answer(self) -> Step:
        """The chunk is complete."""
        if self._last:
            return self._end()
        self._link.reader = None
        return self._refusal or Reply(250, "2.0.0", f"{self._announced} octets received")
