"""Messages that came with BODY=BINARYMIME (RFC 3030 §3), turned into lines before anybody sees them whole.

Inside are only lines: mailboxes are read by clients, and queues by next hops, that know nothing else, and a bare LF kept here
would smuggle there. Taking a message apart needs all of it in memory: one at a time, and it leaves to a file like any other.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio

from mta.model.errors import Refused
from mta.model.message import Content
from mta.model.reply import Reply
from mta.spool.content import SpooledContent
from mta.wire.mime.lined import SignedBinary, lined

FAULTY = Reply(550, "5.6.0", "only parts with Content-Transfer-Encoding: binary may hold bare CR, bare LF or NUL")

SIGNED = Reply(554, "5.6.3", "a binary part is signed: it cannot be converted, send it in base64")


class Liner:
    """One for a worker. ``memory``, ``folder``: as of SpooledContent."""

    def __init__(self, memory: int, folder: str) -> None:
        self._memory, self._folder = memory, folder
        self._alone = asyncio.Lock()

    async def convert(self, content: Content) -> Content:
        """Raises Refused, StorageFull, StorageReadOnly, TemporaryFailure."""
        async with self._alone:
            return await asyncio.get_running_loop().run_in_executor(None, self._convert, content)

    def _convert(self, content: Content) -> Content:
        try:
            octets = lined(content.raw())
        except SignedBinary as exc:
            raise Refused(SIGNED, str(exc)) from exc
        except ValueError as exc:
            raise Refused(FAULTY, str(exc)) from exc
        made = SpooledContent(self._memory, self._folder)
        made.write(octets)
        if made.full:
            made.spill()
        made.finish()
        return made
