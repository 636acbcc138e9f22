"""``MemoryDatabase``, and the small roles: blobs, outbox, traces, key-value state."""
# SPDX-License-Identifier: Apache-2.0

import dataclasses
import re
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence

from mta.model.errors import TemporaryFailure
from mta.model.message import Content, Notification
from mta.testing.memory.data import Change, Data, Noted
from mta.testing.memory.directory import MemoryDirectory
from mta.testing.memory.queue import MemoryQueue, MemorySpool
from mta.testing.memory.store import MemoryStore
from mta.testing.memory.tables import MemoryTables
from mta_hooks.backends import Blobs, DatabaseOptions, Directory, MailStore, Outbox, Queue, Spool, Tables, Traces
from mta_hooks.backends.database import KeyValues, OutboxRow, TraceRecord


class MemoryDatabase:
    """See ``mta_hooks.backends.Database``."""

    spool: Spool
    store: MailStore
    queue: Queue
    directory: Directory
    outbox: Outbox
    traces: Traces
    kv: KeyValues
    blobs: Blobs
    tables: Tables

    def __init__(self, options: DatabaseOptions, data: Data | None = None) -> None:
        self.data = Data(uid_validity=int(time.time())) if data is None else data
        self._options = options
        self.spool = MemorySpool(self.data, options)
        self.store = MemoryStore(self.data, options)
        self.queue = MemoryQueue(self.data, options)
        self.directory = MemoryDirectory(self.data, options)
        self.outbox = MemoryOutbox(self.data, options)
        self.traces = MemoryTraces(self.data)
        self.kv = MemoryKeyValues(self.data, options)
        self.blobs = MemoryBlobs(self.data)
        self.data.tables = self.tables = self.data.tables or MemoryTables()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def housekeep(self, *, now: float) -> None:
        data = self.data
        for stones in ([*data.buried], *[list(mailbox.vanished.values()) for mailbox in data.mailboxes.values()]):
            for stone in stones:
                if stone.gone < now - self._options.undelete:
                    stone.blob = None
        data.buried = [stone for stone in data.buried if stone.blob is not None]
        held = {row.blob for mailbox in data.mailboxes.values() for row in mailbox.rows.values()}
        held |= {stone.blob for mailbox in data.mailboxes.values() for stone in mailbox.vanished.values() if stone.blob is not None}
        held |= {stone.blob for stone in data.buried if stone.blob is not None}
        held |= {queued.message.blob for queued in data.queue.values()}
        for blob in data.blobs.keys() - held:
            del data.blobs[blob]
            data.parsed.pop(blob, None)
        queued_ids = {queued.message.id for queued in data.queue.values()}
        for id, record in list(data.traces.items()):
            if record.at < now - self._options.trace_keep and record.id not in queued_ids:
                del data.traces[id]
        fresh = [record for record in data.refused if record.at >= now - self._options.refused_keep]
        data.refused = fresh[max(len(fresh) - self._options.refused_most, 0) :]
        for key, (_, expires) in list(data.kv.items()):
            if expires is not None and expires <= now:
                del data.kv[key]

    async def verify(self, progress: Callable[[int, int], None]) -> list[str]:
        damage = []
        for mailbox in self.data.mailboxes.values():
            for row in mailbox.rows.values():
                if row.uid >= mailbox.uid_next or row.modseq > mailbox.modseq:
                    damage.append(f"mailbox {mailbox.id}: uid {row.uid} or its modseq is not below the mailbox's next")
                if len(self.data.blobs.get(row.blob, b"")) != row.size:
                    damage.append(f"message {mailbox.id}/{row.uid}: size differs from its octets")
        progress(len(self.data.blobs), len(self.data.blobs))
        return damage


class MemoryBlobs:
    def __init__(self, data: Data) -> None:
        self._files = data.files

    def put(self, key: str, content: Content) -> None:
        if not re.fullmatch(r"[a-z0-9-]{1,64}", key):
            raise KeyError(key)
        self._files[key] = b"".join(content.chunks())

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        return self._files[key][start : None if length is None else start + length]

    def size(self, key: str) -> int:
        return len(self._files[key])

    def delete(self, key: str) -> None:
        self._files.pop(key, None)

    def sweep(self, named: Container[str]) -> int:
        return 0  # as if it were all young

    def keys(self) -> Iterator[str]:
        yield from list(self._files)


class MemoryOutbox:
    def __init__(self, data: Data, options: DatabaseOptions) -> None:
        self._data, self._rows = data, data.outbox
        self._options = options

    async def add(self, notifications: Sequence[Notification]) -> None:
        with Change(self._data, self._options) as change:
            for one in notifications:
                change.note(one.hook, one.payload)

    async def lease(self, owner: str, limit: int, seconds: float, *, now: float) -> list[OutboxRow]:
        due = sorted(
            (noted for noted in self._rows.values() if noted.ready is not None and noted.ready <= now),
            key=lambda noted: (noted.ready or 0.0, noted.row.row),
        )[:limit]
        for noted in due:
            noted.ready, noted.owner = now + seconds, owner
        return [noted.row for noted in due]

    async def reclaim(self, owner: str) -> int:
        found = [noted for noted in self._rows.values() if noted.owner == owner and noted.ready is not None]
        for noted in found:
            noted.ready, noted.owner = 0.0, ""
        return len(found)

    async def done(self, rows: Sequence[int]) -> None:
        for row in rows:
            self._rows.pop(row, None)

    async def retry(self, row: int, *, due: float, error: str, failed: Mapping[str, str] | None = None) -> None:
        first, *others = (failed or {"": error}).items()
        self._fail(row, due, first[1], first[0])
        if (noted := self._rows.get(row)) is not None:
            for plugin, text in others:
                copy = dataclasses.replace(noted.row, row=self._data.next(), plugin=plugin, error=text)
                self._rows[copy.row] = Noted(copy, due)

    async def list(self, *, dead: bool = False, rows: Sequence[int] = (), limit: int = 1000) -> list[OutboxRow]:
        found = [n for key, n in sorted(self._rows.items()) if (not dead or n.ready is None) and (not rows or key in rows)]
        return [dataclasses.replace(noted.row, due=noted.ready) for noted in found[:limit]]

    async def replay(self, rows: Sequence[int], *, now: float) -> int:
        found = [self._rows[row] for row in rows if row in self._rows and self._rows[row].ready is None]
        for noted in found:
            noted.ready, noted.row = now, dataclasses.replace(noted.row, attempts=0)
        return len(found)

    async def discard(self, rows: Sequence[int]) -> int:
        found = [row for row in rows if row in self._rows and self._rows[row].ready is None]
        for row in found:
            del self._rows[row]
        return len(found)

    async def count(self) -> Mapping[str, int]:
        return {"total": len(self._rows), "dead": sum(noted.ready is None for noted in self._rows.values())}

    async def bury(self, row: int, *, error: str) -> None:
        self._fail(row, None, error)

    def _fail(self, row: int, ready: float | None, error: str, plugin: str = "") -> None:
        if noted := self._rows.get(row):
            noted.ready, noted.owner, attempts = ready, "", noted.row.attempts + 1
            noted.row = dataclasses.replace(noted.row, attempts=attempts, error=error, plugin=plugin or noted.row.plugin)


class MemoryTraces:
    def __init__(self, data: Data) -> None:
        self._data = data

    async def find(
        self,
        text: str = "",
        *,
        limit: int = 50,
        since: float = 0.0,
        until: float = float("inf"),
        accepted: bool = True,
        refused: bool = True,
        plugin: str = "",
    ) -> list[TraceRecord]:
        taken = list(self._data.traces.values()) if accepted else []
        if text in self._data.traces:
            taken = [self._data.traces[text]] if accepted else []
        elif text:
            taken = [record for record in taken if _is_about(record, text)]
        others = [record for record in self._data.refused if refused and (not text or _is_about(record, text))]
        found = [
            record
            for record in reversed(taken + others)
            if since <= record.at <= until and (not plugin or any(step.get("plugin") == plugin for step in record.steps))
        ]
        return sorted(found, key=lambda record: -record.at)[:limit]

    async def keep_refused(self, records: Sequence[TraceRecord]) -> None:
        self._data.refused += [dataclasses.replace(record, until=record.until or record.at) for record in records]


def _is_about(record: TraceRecord, text: str) -> bool:
    bare = text.strip("<>").lower()
    words = (record.id, record.message_id.strip("<>"), record.sender, record.client, *record.recipients)
    return bare in {word.lower() for word in words if word}


class MemoryKeyValues:
    def __init__(self, data: Data, options: DatabaseOptions) -> None:
        self._values, self._read_only = data.kv, options.read_only

    async def get(self, plugin: str, key: str, *, now: float) -> bytes | None:
        value, expires = self._values.get((plugin, key), (None, None))
        return None if expires is not None and expires <= now else value

    async def set(self, plugin: str, key: str, value: bytes, *, expires: float | None) -> None:
        if self._read_only:
            raise TemporaryFailure("the database is open for reading only")
        self._values[(plugin, key)] = (value, expires)

    async def delete(self, plugin: str, key: str) -> None:
        self._values.pop((plugin, key), None)
