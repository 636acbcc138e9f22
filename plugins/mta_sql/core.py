"""What all roles share: the writer, the readers, bodies, and which mailbox is whose."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import time
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

from mta.model.errors import StorageDead, StorageFull
from mta.model.message import Content
from mta_hooks.backends import Blobs
from mta_hooks.backends.database import DatabaseOptions
from mta_sql.blobs import INLINE, new_key
from mta_sql.dialect import Connection
from mta_sql.reader import Read, Reader
from mta_sql.transaction import Run, Transaction
from mta_sql.writer import Writer

T = TypeVar("T")

_INSERT_BLOB = "INSERT INTO blobs (size, body, file) VALUES (?, ?, ?) RETURNING id"
_READ_BLOB = "SELECT body, file FROM blobs WHERE id = ?"
_READ_PART = "SELECT substr(body, ?, ?), file FROM blobs WHERE id = ?"
_LOOSEN = "INSERT INTO loose (blob_id) VALUES (?)"


REMEMBERED = 200_000
"""Mailboxes found by name that one process keeps: about 40 MiB."""


class Body(NamedTuple):
    """Octets ready for a row: in it, or in a file that is durable already."""

    size: int
    octets: bytes | None
    file: str | None


class Core:
    """Made by ``SqlDatabase.open``; ``inboxes`` maps (user, folder) to mailbox id and may be stale: every use checks."""

    def __init__(self, options: DatabaseOptions, writer: Writer, reader: Reader, blobs: Blobs) -> None:
        self.options = options
        self.writer = writer
        self.reader = reader
        self.blobs = blobs
        self.inboxes: dict[tuple[int, str], int] = {}
        self.events = "mailbox_event" in options.durable_hooks
        self._disk = (0.0, 0)

    async def write(self, run: Run[T], mailboxes: Iterable[int] = ()) -> T:
        return await self.writer.submit(run, mailboxes)

    async def execute(self, sql: str, *params: Any) -> int:
        """One statement as an operation; returns the number of rows it touched."""

        def run(tx: Transaction) -> int:
            return tx.execute(sql, params).rowcount

        return await self.writer.submit(run)

    async def read(self, work: Read[T], *, big: bool = False) -> T:
        return await self.reader.read(work, big=big)

    def remember(self, user: int, name: str, mailbox: int) -> None:
        if len(self.inboxes) >= REMEMBERED:
            self.inboxes.clear()
        self.inboxes[(user, name)] = mailbox

    # ---- bodies

    async def body(self, content: Content) -> Body:
        """Prepare octets that come in. Raises StorageFull below the reserve, StorageReadOnly, StorageDead."""
        size = content.size
        self._check_room(size)
        if size < INLINE:
            return Body(size, content.raw(), None)
        key = new_key()
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self.reader.threads, self.blobs.put, key, content)
        except StorageDead as exc:
            self.writer.kill(exc)
            raise
        return Body(size, None, key)

    def _check_room(self, size: int) -> None:
        now = time.monotonic()
        at, free = self._disk
        if now - at > 1.0:
            try:
                state = os.statvfs(self.options.data_dir)
            except OSError as exc:
                raise StorageFull(str(exc)) from exc
            free = state.f_bavail * state.f_frsize
            self._disk = (now, free)
        if free - size < self.options.reserve:
            raise StorageFull(f"{free} octets free, {self.options.reserve} are kept in reserve")

    async def octets(self, blob: int, start: int = 0, length: int | None = None) -> bytes:
        """Raises KeyError."""
        part, file = await self.read(lambda connection: read_blob(connection, blob, start, length))
        if file is None:
            return part
        return await asyncio.get_running_loop().run_in_executor(self.reader.threads, self.blobs.read, file, start, length)


def insert_blob(tx: Transaction, body: Body) -> int:
    tx.effects.octets += body.size if body.file is None else 0
    return tx.execute(_INSERT_BLOB, (body.size, body.octets, body.file)).fetchone()[0]  # type: ignore[no-any-return]


def loosen(tx: Transaction, blobs: Iterable[int]) -> None:
    """Somebody let go of these: the next sweep looks whether anybody else holds them."""
    tx.executemany(_LOOSEN, [(blob,) for blob in blobs])


def read_blob(connection: Connection, blob: int, start: int = 0, length: int | None = None) -> tuple[bytes, str | None]:
    """The octets, or the key of their file. Raises KeyError."""
    if start == 0 and length is None:
        row = connection.execute(_READ_BLOB, (blob,)).fetchone()
    else:
        row = connection.execute(_READ_PART, (start + 1, 2**31 - 1 if length is None else length, blob)).fetchone()
    if row is None:
        raise KeyError(blob)
    return bytes(row[0] or b""), row[1]
