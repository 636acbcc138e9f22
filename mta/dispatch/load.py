"""A queued message as hooks see it."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os

from mta.config.sections import Config
from mta.model.delivery import QueuedMessage
from mta.pipeline.message import MailMessage
from mta.spool.content import SpooledContent
from mta_hooks.backends.queue import Queue

_PIECE = 256 * 1024


class Loader:
    def __init__(self, config: Config, queue: Queue) -> None:
        self._folder = os.path.join(config.data_dir, "tmp")
        self._memory = config.limits.memory_per_message
        self._queue = queue

    async def load(self, message: QueuedMessage) -> MailMessage:
        """Without the Return-Path line; a big one in a file. Raises TemporaryFailure."""
        content = SpooledContent(self._memory, self._folder)
        while (left := message.size - message.skip - content.size) > 0:
            piece = await self._queue.content(message.blob, message.skip + content.size, min(_PIECE, left))
            if not piece:
                break
            content.write(piece)
            if content.full:
                await asyncio.get_running_loop().run_in_executor(None, content.spill)
        content.finish()
        return MailMessage(message.id, message.origin, message.sender, content, {})
