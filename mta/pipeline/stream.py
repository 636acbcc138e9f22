"""The hooks that hear a message while it arrives: ``message_headers`` at the end of its header, ``message_sink`` all along."""
# SPDX-License-Identifier: Apache-2.0

from mta.model.message import OctetContent
from mta.pipeline.header import MAX_HEADER, parse_fields, read_head
from mta.pipeline.hooks import Hooks, Sinks
from mta.pipeline.session import MailSession
from mta.pipeline.transaction import MailTransaction, heed

_END = b"\r\n\r\n"


class Stream:
    """One message on its way in.

    head  what came of the header so far; None when nobody asks for it, or it was judged
    """

    __slots__ = ("_head", "_hooks", "_session", "_sinks", "_transaction")

    def __init__(self, hooks: Hooks, session: MailSession, transaction: MailTransaction, sinks: Sinks | None) -> None:
        self._hooks, self._session, self._transaction, self._sinks = hooks, session, transaction, sinks
        self._head: bytearray | None = bytearray() if hooks.message_headers is not None else None

    @classmethod
    async def open(cls, hooks: Hooks, session: MailSession, transaction: MailTransaction) -> "Stream | None":
        """None when nobody wants to hear this message. Raises TemporaryFailure."""
        sinks = None
        if (plan := hooks.message_sink) is not None:
            sinks = await plan.open(session=session, transaction=transaction)
        return cls(hooks, session, transaction, sinks) if sinks is not None or hooks.message_headers is not None else None

    async def feed(self, piece: bytes) -> None:
        """Raises Refused."""
        if self._head is not None:
            searched = max(len(self._head) - 3, 0)
            self._head += piece
            if self._head.startswith(b"\r\n") or self._head.find(_END, searched) >= 0 or len(self._head) > MAX_HEADER:
                await self._judge_header()
        if self._sinks is not None:
            heed(self._transaction, await self._sinks.feed(piece))

    async def end(self) -> None:
        """The message is complete. Raises Refused."""
        if self._head is not None:
            await self._judge_header()
        if self._sinks is not None:
            heed(self._transaction, await self._sinks.close())

    async def _judge_header(self) -> None:
        octets, self._head = bytes(self._head or b""), None
        if (plan := self._hooks.message_headers) is not None:
            headers = parse_fields(read_head(OctetContent(octets))[0])
            heed(
                self._transaction,
                await plan.verdict(session=self._session, transaction=self._transaction, headers=headers),
            )
