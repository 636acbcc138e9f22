"""The hook ``delivery_modify``: another message for one attempt. What is stored stays as it was."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from mta.directory.resolve import Resolution
from mta.dispatch.line import Batch
from mta.dispatch.load import Loader
from mta.model.address import Address
from mta.model.delivery import Leased, QueuedMessage
from mta.model.message import Content, Recipient
from mta.outbound.courier import Result
from mta.outbound.session import Read
from mta.outbound.view import envelope_of
from mta.pipeline.editor import Editor
from mta.pipeline.transaction import Accepted, MailTransaction
from mta.pluginhost.plan import Plan


class Edited(NamedTuple):
    """``message`` with its new size, sender and needs; ``read`` gives its octets, None when nothing changed.

    ``recipients`` are those of the batch, some perhaps under another address.
    """

    message: QueuedMessage
    recipients: Sequence[Leased]
    read: Read | None = None

    def results_of(self, batch: Batch, results: Sequence[Result]) -> Sequence[Result]:
        """What the next hop said, about the recipients as the queue has them."""
        if self.recipients is batch.recipients:
            return results
        known = {one.row: one for one in batch.recipients}
        return [result._replace(leased=known[result.leased.row]) for result in results]


class Modifier:
    def __init__(self, loader: Loader, editor: Editor) -> None:
        self._loader = loader
        self._editor = editor

    async def edit(self, plan: Plan, batch: Batch) -> Edited:
        """Raises TemporaryFailure."""
        message = batch.message
        loaded = await self._loader.load(message)
        answers = await plan.all(envelope=envelope_of(message, batch.recipients), message=loaded)
        transaction = MailTransaction(message.id, message.origin, message.sender, {})
        transaction.smtputf8, transaction.eightbit = message.smtputf8, message.eightbit
        transaction.accepted = await _as_they_are([one.address for one in batch.recipients])
        if not answers or not await self._editor.edit("delivery_modify", answers, loaded, transaction, resolve=_as_they_are):
            return Edited(message, batch.recipients)
        made = replace(
            message,
            size=message.skip + loaded.size,
            sender=transaction.sender,
            smtputf8=transaction.smtputf8,
            eightbit=transaction.eightbit,
        )
        named = zip(batch.recipients, transaction.accepted, strict=True)
        recipients = [replace(one, address=accepted.recipient.address) for one, accepted in named]
        return Edited(made, recipients, _Reader(loaded.content()))


async def _as_they_are(addresses: Sequence[Address]) -> list[Accepted]:
    """Nobody asks who finally receives: the next hop is known already."""
    return [Accepted(Recipient(address, address), Resolution()) for address in addresses]


class _Reader:
    """Octets of a content from anywhere; from where the last ones ended, without looking at those before."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._at = 0
        self._rest = b""
        self._chunks: Iterator[bytes] | None = None

    async def __call__(self, start: int, length: int | None) -> bytes:
        if self._chunks is None or start != self._at:
            self._chunks, self._at, self._rest = self._content.chunks(), 0, b""
            while self._at < start and self._take(start - self._at):
                pass
        most = self._content.size - start if length is None else length
        pieces = []
        while most > 0 and (piece := self._take(most)):
            pieces.append(piece)
            most -= len(piece)
        return b"".join(pieces)

    def _take(self, most: int) -> bytes:
        assert self._chunks is not None
        octets = self._rest or next(self._chunks, b"")
        taken, self._rest = octets[:most], octets[most:]
        self._at += len(taken)
        return taken
