"""SORT, THREAD and their UID forms (RFC 5256, RFC 5957, RFC 5267 §3).

What they compare lies ready in the search index; for messages that are not indexed yet it is made from their header. Sorting 100,000
messages takes some 100 ms, so it is done in a thread, while others are served.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from heapq import merge
from typing import Any, TypeVar

from mta.imapd.answer import ok
from mta.imapd.columns import Columns
from mta.imapd.contexts import refusal
from mta.imapd.progress import Progress
from mta.imapd.search import find_for, read_messages
from mta.imapd.search_answer import mentions_modseq, tell
from mta.imapd.selected import Selected
from mta.imapd.session import Session
from mta.model.errors import MailError
from mta.model.ids import BlobId
from mta.wire.imap.search_keys import All
from mta.wire.imap.sort import Sort, Thread
from mta.wire.imap.sort_keys import SortKeys, decode_keys, sort_keys
from mta.wire.imap.thread import encode_threads, ordered_subject, references
from mta.wire.mime import header_end

T = TypeVar("T")

_IN_COLUMNS = frozenset({"ARRIVAL", "SIZE", "RELEVANCY"})
_INLINE = 500
_RUN = 10_000
_KEPT = 30_000
"""Messages whose keys are kept from one command to the next, of the mailbox that was sorted last: some 15 MiB."""
_BATCH = 64
_BATCH_OCTETS = 2**20
_PIECE = 256 * 1024
_NOTHING = sort_keys(b"\r\n", 2)
"""Of a message that was expunged meanwhile and whose octets are gone."""


async def sort(session: Session, command: Sort) -> bytes:
    search = command.search
    if search.options is not None and "UPDATE" in search.options:
        raise refusal(session)
    selected = session.mailbox
    columns = selected.columns or await selected.rows()
    if mentions_modseq(search.key):
        session.use_condstore()
    found, scores = await find_for(session, selected, columns, search, scored="RELEVANCY" in [name for name, _ in command.criteria])
    keys: list[SortKeys] = []
    if any(name not in _IN_COLUMNS for name, _ in command.criteria):
        keys = await keys_of(session, selected, columns, found)
    order = await _beside(len(found), partial(_ordered, columns, found, keys, scores, command.criteria))
    tell(
        session,
        selected,
        columns,
        search,
        [found[i] for i in order],
        sorted_=True,
        scores=None if scores is None else [scores[i] for i in order],
    )
    return ok(b"SORT done")


def _ordered(
    columns: Columns,
    found: Sequence[int],
    keys: Sequence[SortKeys],
    scores: Sequence[int] | None,
    criteria: Sequence[tuple[str, bool]],
) -> list[int]:
    """Indices into ``found``. Ties keep the order of the mailbox (RFC 5256 §3); sorts are stable, so the last criterion comes first."""
    order = list(range(len(found)))
    if not order:
        return order
    for name, reverse in reversed(criteria):
        values = _values(name, columns, found, keys, scores)
        order = _sorted(order, values, reverse)
    return order


def _sorted(order: list[int], values: Sequence[Any], reverse: bool) -> list[int]:
    """Stable, reversed too. In runs that are then merged: one sort of 100,000 would not let go of the interpreter for 100 ms."""
    key = values.__getitem__
    runs = [sorted(order[start : start + _RUN], key=key, reverse=reverse) for start in range(0, len(order), _RUN)]
    return runs[0] if len(runs) == 1 else list(merge(*runs, key=key, reverse=reverse))


def _values(
    name: str, columns: Columns, found: Sequence[int], keys: Sequence[SortKeys], scores: Sequence[int] | None
) -> Sequence[int] | Sequence[str]:
    if name == "ARRIVAL":
        return [columns.dates[at] for at in found]
    if name == "SIZE":
        return [columns.sizes[at] for at in found]
    if name == "RELEVANCY":
        return [-score for score in scores or ()]  # the most relevant first (RFC 6203 §5)
    if name == "DATE":
        return _sent(columns, found, keys)
    return list(map(_TEXTS[name], keys))


_TEXTS: dict[str, Callable[[SortKeys], str]] = {
    "SUBJECT": lambda keys: keys.subject.upper(),
    "FROM": lambda keys: keys.from_.upper(),
    "TO": lambda keys: keys.to.upper(),
    "CC": lambda keys: keys.cc.upper(),
    "DISPLAYFROM": lambda keys: keys.display_from.upper(),
    "DISPLAYTO": lambda keys: keys.display_to.upper(),
}


def _sent(columns: Columns, found: Sequence[int], keys: Sequence[SortKeys]) -> list[int]:
    """The Date field, or the internal date when there is none to read (RFC 5256 §2.2)."""
    dates = columns.dates
    return [dates[at] if each.sent is None else each.sent for at, each in zip(found, keys, strict=True)]


async def thread(session: Session, command: Thread) -> bytes:
    search = command.search
    selected = session.mailbox
    columns = selected.columns or await selected.rows()
    if mentions_modseq(search.key):
        session.use_condstore()
    key = (columns, selected.count, command.algorithm, search.uid)
    if isinstance(search.key, All) and session.server.threads[0] == key:
        await _tell_threads(session, session.server.threads[1])
        return ok(b"THREAD done")
    found, _ = await find_for(session, selected, columns, search)
    keys = await keys_of(session, selected, columns, found)
    numbers: Sequence[int] = selected.uids(found) if search.uid else [at + 1 for at in found]

    def make() -> bytes:
        messages = list(zip(numbers, _sent(columns, found, keys), keys, strict=True))
        return encode_threads(references(messages) if command.algorithm == "REFERENCES" else ordered_subject(messages))

    threads = await _beside(len(found), make)
    if isinstance(search.key, All) and len(found) <= _KEPT:
        session.server.threads = (key, threads)
    await _tell_threads(session, threads)
    return ok(b"THREAD done")


async def _tell_threads(session: Session, threads: bytes) -> None:
    session.out.write(b"* THREAD")
    for start in range(0, len(threads), _PIECE):
        session.out.write((b"" if start else b" ") + threads[start : start + _PIECE])
        await session.out.drain()
    session.out.write(b"\r\n")


async def _beside(count: int, work: Callable[[], T]) -> T:
    """In a thread when it is much."""
    return work() if count <= _INLINE else await asyncio.get_running_loop().run_in_executor(None, work)


# ---- keys


async def keys_of(session: Session, selected: Selected, columns: Columns, found: Sequence[int]) -> list[SortKeys]:
    """One for each position."""
    server = session.server
    blobs = [columns.blobs[at] for at in found]
    mailbox, kept = server.sort_keys
    there: dict[int, SortKeys] = dict(kept) if mailbox == selected.mailbox else {}
    wanted = [blob for blob in blobs if blob not in there]
    if server.search is not None and wanted:
        try:
            octets = await server.search.keys(wanted)
        except MailError as exc:
            server.log.warning("search.failed", problem=str(exc))
        else:
            there |= await _beside(len(wanted), partial(_decoded, octets, wanted))
    missing = [at for at, blob in zip(found, blobs, strict=True) if blob not in there]
    await _read_missing(session, columns, missing, there)
    if wanted and len(there) <= _KEPT:
        server.sort_keys = (selected.mailbox, there)
    return [there.get(blob, _NOTHING) for blob in blobs]


def _decoded(octets: dict[int, bytes], blobs: Sequence[int]) -> dict[int, SortKeys]:
    found = {blob: decode_keys(octets.get(blob)) for blob in blobs}
    return {blob: keys for blob, keys in found.items() if keys is not None}


async def _read_missing(session: Session, columns: Columns, missing: Sequence[int], there: dict[int, SortKeys]) -> None:
    sizes = columns.sizes
    progress = Progress(session, len(missing))
    start = 0
    while start < len(missing):
        stop, octets = start, 0
        while stop < len(missing) and stop - start < _BATCH and (stop == start or octets + sizes[missing[stop]] <= _BATCH_OCTETS):
            octets += sizes[missing[stop]]
            stop += 1
        batch = [BlobId(columns.blobs[at]) for at in missing[start:stop]]
        for blob, message in zip(batch, await read_messages(session, batch), strict=True):
            if message is not None:
                there[blob] = sort_keys(message, header_end(message))
        await asyncio.sleep(0)
        progress.at(stop)
        await session.out.drain()
        start = stop
