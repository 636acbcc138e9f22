"""The hook ``delivery_modify``: another header for one attempt. What is stored stays as it is."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import replace
from typing import NamedTuple

from mta.dispatch.load import Loader
from mta.dispatch.sites import Batch
from mta.model.delivery import QueuedMessage
from mta.obs.log import Log
from mta.outbound.session import Read
from mta.outbound.view import envelope_of
from mta.pipeline.header import apply_edits
from mta.pluginhost.plan import Plan
from mta_hooks.backends.queue import Queue


class Edited(NamedTuple):
    """``message`` with its new size; ``read`` gives its octets, None when nothing changed."""

    message: QueuedMessage
    read: Read | None = None


class Modifier:
    def __init__(self, loader: Loader, queue: Queue, log: Log) -> None:
        self._loader = loader
        self._queue = queue
        self._log = log

    async def edit(self, plan: Plan, batch: Batch) -> Edited:
        """Raises TemporaryFailure."""
        message = batch.message
        loaded = await self._loader.load(message)
        old = head = loaded.head
        for plugin, edit in await plan.all(envelope=envelope_of(message, batch.recipients), message=loaded):
            try:
                made = apply_edits(head, (edit,))
                if head.isascii() and not made.isascii() and not message.smtputf8:
                    raise ValueError("a header field that is not ASCII, in a message that came without SMTPUTF8")
                head = made
            except ValueError as exc:
                self._log.error("hook.edit.refused", plugin=plugin, header=edit.name, problem=str(exc))
        if head == old:
            return Edited(message)
        rest = message.size - message.skip - len(old)
        loaded.head = head
        separator = b"\r\n" if loaded.size > len(head) + rest else b""
        top = head + separator
        return Edited(replace(message, size=message.skip + len(top) + rest), self._reader(message, top, len(old)))

    def _reader(self, message: QueuedMessage, top: bytes, replaced: int) -> Read:
        """``top`` instead of the first octets; the rest from the storage, however long it is."""

        async def read(start: int, length: int | None) -> bytes:
            end = None if length is None else start + length
            octets = top[start:end]
            if length is not None and len(octets) == length:
                return octets
            begin = message.skip + replaced + max(0, start - len(top))
            return octets + await self._queue.content(message.blob, begin, None if length is None else length - len(octets))

        return read
