"""SEARCH and UID SEARCH (RFC 9051 §6.4.4; MODSEQ: RFC 7162 §3.1.5; FUZZY: RFC 6203); how results are told: search_answer.py.

Keys that the columns answer narrow the messages first, then the full-text index (``search_index``); what is left is read in slices,
giving other sessions their turn in between.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Sequence

from mta.imapd.answer import bad, ok
from mta.imapd.columns import Columns
from mta.imapd.filters import expand
from mta.imapd.progress import Progress
from mta.imapd.reading import columns_as_read, read_at
from mta.imapd.search_answer import mentions_modseq, tell
from mta.imapd.search_columns import ColumnSearch, count_keys, mentions_numbers, mentions_size, reads_messages
from mta.imapd.search_index import FEW, Narrowing, ask
from mta.imapd.search_resolve import looks_further, resolve
from mta.imapd.search_text import Reader
from mta.imapd.selected import Positions, Selected
from mta.imapd.session import Session
from mta.model.ids import BlobId
from mta.wire.imap.fuzzy import exactly, has_fuzzy, loosely
from mta.wire.imap.search import Search
from mta.wire.imap.search_keys import And, Key

_SLICE = 64
_SLICE_OCTETS = 2**20
_LARGE = 2**18
"""Octets of a message that is looked into in a thread."""
_LOOKS = 200_000
"""Keys times messages looked at before others get their turn."""


async def search(session: Session, command: Search) -> bytes:
    return (await answer(session, command))[0]


async def answer(session: Session, command: Search) -> tuple[bytes, list[int]]:
    """Tell the results; returns the tagged answer, and the positions found."""
    if command.charset and session.charset_fixed:
        raise bad(b"no CHARSET after ENABLE UTF8=ACCEPT")  # RFC 9755 §3
    selected = session.mailbox
    columns = selected.columns or await selected.rows()
    if mentions_modseq(command.key):
        session.use_condstore()
    found, scores = await find_for(session, selected, columns, command)
    most = session.server.config.limits.imap_messages
    if most and len(found) > most:
        found, scores = found[-most:], None if scores is None else scores[-most:]
        tell(session, selected, columns, command, found, scores=scores)
        return ok(b"SEARCH done, there is more", b"MESSAGELIMIT %d %d" % (most, columns.uids[found[0]])), found  # RFC 9738 §3.1
    tell(session, selected, columns, command, found, scores=scores)
    return ok(b"SEARCH done"), found


async def find_for(
    session: Session, selected: Selected, columns: Columns, command: Search, *, scored: bool = False
) -> tuple[list[int], list[int] | None]:
    """Ascending positions of what a command names, and how well each fits: 100 to the letter, 50 otherwise; None when nobody asked."""
    scored = scored or (command.options is not None and "RELEVANCY" in command.options)
    try:
        key = command.key
        if looks_further(key):
            key = await expand(session, key)
        if session.uidonly and mentions_numbers(key):
            raise bad(b"no message numbers", b"UIDREQUIRED")  # RFC 9586 §3.2
        if looks_further(key):
            key = await resolve(session, selected, columns, key)
        found = await find(session, selected, columns, loosely(key) if has_fuzzy(key) else key)
        if not scored:
            return found, None
        exact = frozenset(await find(session, selected, columns, exactly(key)))
    except BaseException:
        if command.options is not None and "SAVE" in command.options:
            selected.saved = []  # RFC 9051 §6.4.4.1: a failed SEARCH leaves an empty result
        raise
    return found, [100 if at in exact else 50 for at in found]


async def find(session: Session, selected: Selected, columns: Columns, key: Key) -> list[int]:
    """Ascending positions of the messages that ``key`` is true for."""
    if session.server.readings.wanted and mentions_size(key):
        columns = await columns_as_read(session, selected, columns)
    by_columns = ColumnSearch(selected, columns, session.server.clock.now())
    keys = key.keys if isinstance(key, And) else (key,)
    found: Positions = range(selected.count)
    for each in keys:
        if not reads_messages(each):
            found = await _find_in_columns(session, by_columns, each, found)
    rest = tuple(each for each in keys if reads_messages(each))
    if rest and found:
        found = await _find_by_index(session, columns, by_columns, rest[0] if len(rest) == 1 else And(rest), found)
    return list(found)


async def _find_by_index(session: Session, columns: Columns, by_columns: ColumnSearch, key: Key, among: Positions) -> list[int]:
    """What the index leaves open is read."""
    search = session.server.search
    if search is None or session.server.readings.wanted or len(among) <= FEW:
        return await _find_in_octets(session, columns, by_columns, key, among)
    narrowing = Narrowing(await ask(search, session.server.log, key, columns, among), columns, by_columns)
    sure: set[int] = set()
    rest: list[int] = []
    block = max(64, _LOOKS // 10 // count_keys(key))
    for start in range(0, len(among), block):
        bounds = narrowing.bounds(key, among[start : start + block])
        sure |= bounds.sure
        rest += sorted(bounds.possible - bounds.sure)
        await session.out.drain()
    if not rest:
        return sorted(sure)
    return sorted(sure.union(await _find_in_octets(session, columns, by_columns, key, rest)))


async def _find_in_columns(session: Session, by_columns: ColumnSearch, key: Key, among: Positions) -> Positions:
    """In blocks that take some ten milliseconds, whatever the number of keys."""
    block = max(64, _LOOKS // count_keys(key))
    if len(among) <= block:
        return by_columns.matching(key, among)
    found: list[int] = []
    for start in range(0, len(among), block):
        found += by_columns.matching(key, among[start : start + block])
        await session.out.drain()
    return found


async def _find_in_octets(session: Session, columns: Columns, by_columns: ColumnSearch, key: Key, among: Positions) -> list[int]:
    """Read messages and look into them."""
    reader = Reader(key, by_columns)
    at_once = max(1, _SLICE // count_keys(key))
    found: list[int] = []
    # What a tree of OR and NOT can decide without octets is decided without.
    rest: list[int] = []
    for at in among:
        decided = reader.without_octets(at)
        if decided is None:
            rest.append(at)
        elif decided:
            found.append(at)
    sizes = columns.sizes
    progress = Progress(session, len(rest))
    start = 0
    while start < len(rest):
        stop, octets = start, 0
        while stop < len(rest) and stop - start < at_once and (stop == start or octets + sizes[rest[stop]] <= _SLICE_OCTETS):
            octets += sizes[rest[stop]]
            stop += 1
        part = rest[start:stop]
        for at, message in zip(part, await _read_part(session, by_columns.selected, columns, part), strict=True):
            if message is None:
                continue
            if len(message) <= _LARGE:
                matches = reader.matches(at, message)
            else:
                matches = await asyncio.get_running_loop().run_in_executor(None, reader.matches, at, message)
            if matches:
                found.append(at)
        await asyncio.sleep(0)
        progress.at(stop)
        await session.out.drain()
        start = stop
    found.sort()
    return found


async def _read_part(session: Session, selected: Selected, columns: Columns, part: Sequence[int]) -> Sequence[bytes | None]:
    if session.server.readings.wanted:
        return await read_at(session, selected, columns, part)
    return await read_messages(session, [BlobId(columns.blobs[at]) for at in part])


async def read_messages(session: Session, blobs: Sequence[BlobId]) -> Sequence[bytes | None]:
    """Their octets; None for those that are gone."""
    store = session.server.store
    try:
        return await store.read_many(blobs)
    except KeyError:
        pass
    out: list[bytes | None] = []
    for blob in blobs:  # expunged meanwhile, and its octets are gone: it matches nothing
        try:
            out.append(await store.read(blob))
        except KeyError:
            out.append(None)
    return out
