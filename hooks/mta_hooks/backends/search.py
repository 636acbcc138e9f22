"""A full-text index over all messages, made in the background; derived data, that may be lost and made again.

Messages are known by the id of their octets (``BlobId``), which only grows, is never given twice, and is shared by every copy: COPY, MOVE
and a second recipient need no indexing. The index narrows, the message decides: an answer may hold too much, never too little.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from mta.model.ids import BlobId
from mta.model.search import Backlog, Document, Found

if TYPE_CHECKING:
    from mta_hooks.backends.database import Database, DatabaseOptions


class Search(Protocol):
    """Opened by every worker; one process at a time adds to it. Raises TemporaryFailure when it cannot be reached: then messages are read."""

    async def open(self) -> None:
        """Make what is missing; an index of another version, or of other data, is emptied."""
        ...

    async def close(self) -> None: ...

    async def position(self) -> int:
        """Every message with an id up to here was taken or passed over; 0: nothing yet. Outlives a restart, and is never ahead of what is
        really in the index."""
        ...

    async def index(self, documents: Sequence[Document], *, after: int, upto: int, unheld: Sequence[BlobId] = ()) -> bool:
        """Take ``documents`` and move the position from ``after`` to ``upto``, both or nothing. False: the position is not ``after``, somebody
        else was faster; nothing was taken. ``unheld``: not taken, and candidates always, until ``add`` brings them."""
        ...

    async def add(self, documents: Sequence[Document]) -> None:
        """Take or replace these wherever the position is."""
        ...

    async def known(self, after: int, limit: int) -> list[BlobId]:
        """Ids that the index knows, ascending, those passed over included."""
        ...

    async def unheld(self, after: int, limit: int) -> list[BlobId]:
        """Those passed over, ascending."""
        ...

    async def forget(self, blobs: Sequence[BlobId]) -> None:
        """Their octets are gone."""
        ...

    async def clear(self) -> None:
        """Forget everything; the position is 0."""
        ...

    async def candidates(self, text: str, among: Sequence[int]) -> Found | None:
        """Messages whose header or readable parts hold the folded ``text``. None: it cannot say (too short, say): read them.
        What is not ``among`` may be left out."""
        ...

    async def with_field(self, field: str, text: str, among: Sequence[int]) -> Found | None:
        """Messages with the folded ``text`` in this field of ``FIELDS``; ``sure`` where the kept column tells."""
        ...

    async def keys(self, blobs: Sequence[int]) -> dict[int, bytes]:
        """``Document.keys`` of those that are there."""
        ...


@runtime_checkable
class Indexable(Protocol):
    """A mail store whose messages can be indexed: what a ``MailStore`` has more."""

    async def backlog(self, after: int, limit: int) -> Backlog:
        """At most ``limit`` messages above ``after``; none that was given an id may appear below ``upto`` later."""
        ...

    async def holding(self, blobs: Sequence[BlobId]) -> tuple[list[tuple[BlobId, int]], list[BlobId]]:
        """Of these: (id, size) of those that a mailbox holds, and those whose octets are gone."""
        ...


SearchFactory = Callable[[str, "Database", "DatabaseOptions"], Any]
"""``registry.backend("search", scheme, factory)``: the config's text, the open database, what it was opened with."""
