"""The hook ``message_read``: what is shown in place of a stored message, its size, and its structure.

All three are of the same octets. Sizes and structures are kept for many messages, octets for a few, each under the user, the uid and
the stored size; a change of the set of plugins forgets them all. Nothing here runs when nobody implements the hook.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from mta.model.ids import BlobId, QueueId
from mta.model.message import OctetContent
from mta.pipeline.hooks import Plan
from mta.pipeline.message import MailMessage
from mta.wire.imap.structure import Parsed, parsed
from mta.wire.mime import parse

SIZES = 200_000
STRUCTURES = 10_000
OCTETS = 16 * 2**20
"""Kept in all: about 20 MB, 20 MB, and 16 MiB."""
_LARGE = 2**20


class Store(Protocol):
    async def read(self, blob: BlobId, start: int = 0, length: int | None = None) -> bytes: ...


class Hooks(Protocol):
    @property
    def message_read(self) -> Plan | None: ...


class Stored(NamedTuple):
    """One message of a mailbox; ``size`` as stored."""

    user: str
    mailbox: str
    uid: int
    blob: BlobId
    size: int


class Readings:
    """One for each server of a worker."""

    def __init__(self, hooks: Hooks, store: Callable[[], Store]) -> None:
        self._hooks = hooks
        self._store = store
        self._plan: Plan | None = None
        self._sizes: OrderedDict[Stored, int] = OrderedDict()
        self._structures: OrderedDict[Stored, Parsed] = OrderedDict()
        self._octets: OrderedDict[Stored, bytes] = OrderedDict()
        self._kept = 0
        self._large = asyncio.Semaphore(2)

    @property
    def wanted(self) -> bool:
        return self._hooks.message_read is not None

    async def octets(self, stored: Stored) -> bytes:
        """Raises KeyError when the message is gone, TemporaryFailure when a plugin or the storage fails."""
        self._renew()
        if (known := self._octets.get(stored)) is not None:
            return known
        if stored.size < _LARGE:
            return await self._read(stored)
        async with self._large:
            return await self._read(stored)

    async def size(self, stored: Stored) -> int:
        """Raises as ``octets``."""
        self._renew()
        known = self._sizes.get(stored)
        return len(await self.octets(stored)) if known is None else known

    async def structure(self, stored: Stored) -> Parsed:
        """Raises as ``octets``."""
        self._renew()
        known = self._structures.get(stored)
        if known is None:
            octets = await self.octets(stored)
            known = parsed(parse(octets), octets)
            _keep(self._structures, stored, known, STRUCTURES)
        return known

    async def _read(self, stored: Stored) -> bytes:
        octets = await self._store().read(stored.blob)
        plan = self._hooks.message_read
        if plan is not None:
            notes = {"mailbox": stored.mailbox, "uid": stored.uid}
            message = MailMessage(QueueId(""), "imap", None, OctetContent(octets), notes)
            octets = await plan.pipeline("stream", user=stored.user, message=message, stream=octets)
        _keep(self._sizes, stored, len(octets), SIZES)
        if len(octets) < _LARGE and stored not in self._octets:
            self._octets[stored] = octets
            self._kept += len(octets)
            while self._kept > OCTETS:
                self._kept -= len(self._octets.popitem(last=False)[1])
        return octets

    def _renew(self) -> None:
        if self._plan is not self._hooks.message_read:
            self._plan = self._hooks.message_read
            self._sizes.clear()
            self._structures.clear()
            self._octets.clear()
            self._kept = 0


def _keep(known: "OrderedDict[Stored, Any]", stored: Stored, value: Any, most: int) -> None:
    known[stored] = value
    if len(known) > most:
        known.popitem(last=False)
