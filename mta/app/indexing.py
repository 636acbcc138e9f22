"""Keeps the full-text index up to date: one worker, in small slices, behind everybody else.

A slice reads a few messages, takes them apart in a thread of its own, and hands them to the index, which has its own file or tables: nobody's
commit waits for it. What FETCH shows of a message's structure is made on the way and kept for it: nobody waits for the first look into a
new message. After each slice it rests: as long as the slice took while nothing arrives, many times as long while mail
comes in. What is not indexed yet is read by SEARCH, so being late costs time, never answers.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import time
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from mta.model.errors import MailError
from mta.model.ids import BlobId
from mta.model.search import Document
from mta.obs.log import Log
from mta.wire.imap.document import make_document
from mta.wire.imap.structure import parsed
from mta.wire.mime import parse
from mta_hooks.backends import MailStore
from mta_hooks.backends.search import Indexable, Search
from mta_hooks.services import Clock

MESSAGES = 16
"""Messages in a slice, unless their octets are too many: some 10 ms of work."""
OCTETS = 2**18
_LARGEST = 32 * 2**20
"""Octets of one message that are looked at."""
STRUCTURES = 128
"""Written at once: one commit, as long as there is more to do."""
_RESTS = 1.0
_RESTS_BUSY = 30.0
_SHORTEST_BUSY = 0.3
"""While mail arrives: at most some 3 % of a core, in slices that far apart."""
_IDLE = 30.0
_SETTLE = 0.25
_AFTER_FAILURE = 10.0
_SWEEP = 3600.0
_SWEPT = 500

Held = Sequence[tuple[BlobId, int]]


class Indexer:
    """``run`` in the worker that holds the dispatch lock; ``catch_up`` and ``take`` serve the command line too."""

    def __init__(self, *, store: MailStore, search: Search, clock: Clock, log: Log) -> None:
        self._store, self._search, self._clock, self._log = store, search, clock, log
        self._source: Indexable | None = store if isinstance(store, Indexable) else None
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="mta-indexer")
        self._woken = asyncio.Event()
        self._newest = 0
        self._structures: dict[BlobId, bytes] = {}
        self.taken = 0
        """Messages that were put into the index."""
        self._swept = -_SWEEP

    def wake(self) -> None:
        """Something was delivered."""
        self._woken.set()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self) -> None:
        if self._source is None:
            return
        while True:
            try:
                await self._work(self._source)
            except MailError as exc:
                self._log.warning("search.index_failed", problem=str(exc))
                await self._clock.sleep(_AFTER_FAILURE)
            except Exception:  # noqa: BLE001  # of a backend that is not ours, too; the server goes on
                self._log.error("search.index_failed", problem="internal error", exc_info=True)  # noqa: G201
                await self._clock.sleep(_AFTER_FAILURE)

    async def _work(self, source: Indexable) -> None:
        """Until there is nothing to do, then wait."""
        while True:
            began = time.perf_counter()
            more, busy = await self.step(source)
            took = time.perf_counter() - began
            if not more:
                break
            await self._clock.sleep(max(_SHORTEST_BUSY, took * _RESTS_BUSY) if busy else took * _RESTS)
        if self._clock.monotonic() - self._swept > _SWEEP:
            await self.sweep(source)
            self._swept = self._clock.monotonic()
        self._woken.clear()
        try:
            async with asyncio.timeout(_IDLE):
                await self._woken.wait()
        except TimeoutError:
            return
        await self._clock.sleep(_SETTLE)

    async def step(self, source: Indexable) -> tuple[bool, bool]:
        """One slice. Returns whether there is more to do, and whether mail came in since the last one."""
        after = await self._search.position()
        backlog = await source.backlog(after, MESSAGES)
        busy, self._newest = backlog.newest > self._newest > 0, backlog.newest
        if backlog.upto <= after:
            await self._keep_structures()
            return False, busy
        held, upto, unheld = backlog.held, backlog.upto, backlog.unheld
        size = 0
        for at, (_, octets) in enumerate(held):
            size += octets
            if size > OCTETS and at:
                held, upto = held[:at], held[at][0] - 1
                unheld = [blob for blob in unheld if blob <= upto]
                break
        blobs = [blob for blob, _ in held]
        bare = {blob for blob, known in zip(blobs, await self._store.parsed(blobs), strict=True) if known is None}
        documents = await self.documents(held, bare)
        if not await self._search.index(documents, after=after, upto=upto, unheld=unheld):
            return True, busy  # somebody else was there: look where the position is now
        self.taken += len(documents)
        more = upto < backlog.newest
        if not more or len(self._structures) >= STRUCTURES:
            await self._keep_structures()
        return more, busy

    async def _keep_structures(self) -> None:
        made, self._structures = self._structures, {}
        if made:
            with suppress(MailError):  # then they are made at the first FETCH
                await self._store.remember_parsed(made)

    async def documents(self, held: Held, bare: Container[BlobId] = ()) -> list[Document]:
        """Those that are still there, read and taken apart. ``bare``: the store has no structure of these yet."""
        loop = asyncio.get_running_loop()
        documents = []
        for blob, size in held:
            try:
                octets = await self._store.read(blob, 0, _LARGEST)
            except KeyError:
                continue
            make = partial(_take_apart, blob, octets, whole=size <= _LARGEST)
            document, structure = await loop.run_in_executor(self._threads, make, blob in bare)
            documents.append(document)
            if structure is not None:
                self._structures[blob] = structure
        return documents

    async def sweep(self, source: Indexable) -> None:
        """Forget what is gone; take what was passed over and has come into a mailbox since."""
        after = 0
        while blobs := await self._search.known(after, _SWEPT):
            _, gone = await source.holding(blobs)
            if gone:
                await self._search.forget(gone)
            after = blobs[-1]
            await self._clock.sleep(0.02)
        after = 0
        while blobs := await self._search.unheld(after, _SWEPT):
            held, _ = await source.holding(blobs)
            for start in range(0, len(held), MESSAGES):
                await self._search.add(await self.documents(held[start : start + MESSAGES]))
                await self._clock.sleep(0.02)
            after = blobs[-1]

    # ---- the command line

    async def catch_up(self, progress: Callable[[int, int], None]) -> int:
        """Index everything, without rests. ``progress(position, newest)``. Returns how many messages were taken."""
        if self._source is None:
            return 0
        idle = 0
        while True:
            more, _ = await self.step(self._source)
            position = await self._search.position()
            progress(position, max(position, self._newest))
            idle = 0 if more else idle + 1
            if idle > 1:  # PostgreSQL tells at the second look what may be read
                return self.taken

    async def take(self, blobs: Sequence[BlobId], progress: Callable[[int, int], None]) -> int:
        """Index these anew, wherever the position is. Returns how many were there."""
        if self._source is None:
            return 0
        done = 0
        for start in range(0, len(blobs), MESSAGES):
            held, _ = await self._source.holding(blobs[start : start + MESSAGES])
            documents = await self.documents(held)
            await self._search.add(documents)
            done += len(documents)
            progress(min(start + MESSAGES, len(blobs)), len(blobs))
        return done


def _take_apart(blob: BlobId, octets: bytes, structure: bool, *, whole: bool) -> tuple[Document, bytes | None]:
    root = parse(octets)
    return make_document(blob, octets, root, whole=whole), parsed(root, octets).encode() if structure and whole else None
