"""DATA (RFC 5321 §4.1.1.4): the message itself, up to its end mark."""
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
from mta.wire.smtp.command import Data
from mta.wire.smtp.data import DataDecoder


def data(link: SmtpProtocol, _command: Data) -> Step:
    transaction = link.transaction
    if transaction is None:
        return replies.NEED_MAIL
    if link.chunks is not None:
        return replies.CHUNKS_BEGAN
    if not transaction.accepted:
        return replies.NEED_RCPT
    if transaction.binary:
        return replies.BINARY_NEEDS_BDAT
    if link.lines.waiting:
        return replies.EARLY_DATA
    if (asked := let_in(link, transaction)) is not None:
        return promptly(_judged(link, transaction, asked))
    return _begin(link, transaction, None)


async def _judged(link: SmtpProtocol, transaction: MailTransaction, asked: Coroutine[Any, Any, Reply | Stream | None]) -> Reply:
    stream = await asked
    return stream if isinstance(stream, Reply) else _begin(link, transaction, stream)


def _begin(link: SmtpProtocol, transaction: MailTransaction, stream: Stream | None) -> Reply:
    if link.lines.waiting:  # RFC 2920 §3.1: whoever sends on before 354 speaks for somebody else, or not SMTP
        return replies.EARLY_DATA
    link.reader = Incoming(link, transaction, stream)
    return replies.START_DATA


class Incoming(Body):
    """One message between 354 and its end; fulfils Reader."""

    __slots__ = ("_decoder",)

    def __init__(self, link: SmtpProtocol, transaction: MailTransaction, stream: Stream | None) -> None:
        super().__init__(link, transaction, stream)
        self._decoder = DataDecoder(link.server.message_size)

    def feed(self, octets: bytes) -> Step:
        piece, rest = self._decoder.feed(octets)
        if self._refusal is None:
            if self._decoder.fault:
                self._refuse(faulty(self._decoder.fault, close=True))
            elif piece:
                self._content.write(piece)
                if self._stream is not None:
                    return promptly(self._listened(self._stream, piece, len(octets), rest))
        return self._go_on(len(octets), rest)

    async def _listened(self, stream: Stream, piece: bytes, size: int, rest: bytes | None) -> Reply | None:
        await self._ask(stream.feed(piece))
        return await settled(self._go_on(size, rest))

    def _go_on(self, size: int, rest: bytes | None) -> Step:
        if rest is not None:
            self._link.lines.put_back(rest)
            return self._end()
        if self._refusal is not None:
            self._swallowed += size
            return replace(self._refusal, close=True) if self._swallowed > SWALLOW else None
        return self._spill() if self._content.full else None
