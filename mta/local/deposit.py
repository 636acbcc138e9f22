"""From the queue into mailboxes that are not part of the database (``mta_hooks.backends.store.SeparateStore``).

The store delivers each (queue id, recipient, mailbox) once, however often it is asked: so a worker killed between the delivery and the
settlement of its queue row asks again, and nothing is doubled.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio

from mta.model.delivery import QueuedMessage
from mta.model.message import LocalDelivery
from mta.spool.content import SpooledContent
from mta_hooks.backends.queue import Queue
from mta_hooks.backends.store import SeparateStore

_PIECE = 256 * 1024


class Depositor:
    """``folder``: for what is too large for ``memory``."""

    def __init__(self, queue: Queue, store: SeparateStore, folder: str, memory: int) -> None:
        self._queue, self._store = queue, store
        self._folder, self._memory = folder, memory

    async def deposit(self, delivery: LocalDelivery, message: QueuedMessage) -> None:
        """Durable on return. Raises OverQuota, NoSuchUser, TemporaryFailure and its kinds, StorageDead."""
        content = SpooledContent(self._memory, self._folder)
        while (left := message.size - content.size) > 0:
            piece = await self._queue.content(message.blob, content.size, min(_PIECE, left))
            if not piece:
                break
            content.write(piece)
            if content.full:
                await asyncio.get_running_loop().run_in_executor(None, content.spill)
        content.finish()
        await self._store.deliver(delivery, content, id=message.id, date=int(message.received_at), message_id=message.message_id)
