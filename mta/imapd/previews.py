"""PREVIEW (RFC 8970): made at the first FETCH, then kept beside the message's structure."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Mapping

from mta.imapd.columns import Columns
from mta.imapd.progress import Progress
from mta.imapd.reading import stored_at
from mta.imapd.search import read_messages
from mta.imapd.selected import Positions
from mta.imapd.session import Session
from mta.model.ids import BlobId
from mta.wire.imap.response import string
from mta.wire.imap.structure import Parsed, parsed, preview_of, with_preview
from mta.wire.mime import parse, preview

_AT_ONCE = 64
_OCTETS = 2**20
_LARGE = 2**18
"""Octets of a message that is taken apart in a thread."""


async def previews(session: Session, columns: Columns, positions: Positions, *, lazy: bool) -> Mapping[int, bytes]:
    """``lazy``: NIL for those that would have to be made. Without messages that are gone."""
    if session.server.readings.wanted:
        return {} if lazy else await _as_read(session, columns, positions)
    store = session.server.store
    blobs = [BlobId(columns.blobs[at]) for at in positions]
    have = dict(zip(positions, await store.parsed(blobs), strict=True))
    out = {at: _told(words) for at, encoded in have.items() if (words := preview_of(encoded)) is not None}
    missing = [at for at in positions if at not in out]
    if lazy:
        return out | dict.fromkeys(missing, b"PREVIEW NIL")
    progress = Progress(session, len(missing))
    start = 0
    while start < len(missing):
        stop, octets_read = start, 0
        while stop < len(missing) and stop - start < _AT_ONCE and (stop == start or octets_read < _OCTETS):
            octets_read += columns.sizes[missing[stop]]
            stop += 1
        part, start = missing[start:stop], stop
        made: dict[BlobId, bytes] = {}
        for at, message in zip(part, await read_messages(session, [BlobId(columns.blobs[at]) for at in part]), strict=True):
            if message is not None:
                known = made[BlobId(columns.blobs[at])] = await _made(have[at], message)
                out[at] = _told(preview_of(known) or b"")
        await store.remember_parsed(made)
        progress.at(stop)
        await session.out.drain()
    return out


async def _made(known: bytes | None, octets: bytes) -> bytes:
    """The encoded form with the preview; ``known``: without."""

    def make() -> bytes:
        root = parse(octets)
        encoded = known if known is not None and Parsed.decode(known) is not None else parsed(root, octets).encode()
        return with_preview(encoded, preview(root, octets).encode("utf-8", "replace"))

    return make() if len(octets) <= _LARGE else await asyncio.get_running_loop().run_in_executor(None, make)


async def _as_read(session: Session, columns: Columns, positions: Positions) -> Mapping[int, bytes]:
    """While somebody implements ``message_read``: of what is shown, and not kept."""
    out = {}
    for at in positions:
        try:
            octets = await session.server.readings.octets(stored_at(session, session.mailbox, columns, at))
        except KeyError:
            continue
        out[at] = _told(preview_of(await _made(None, octets)) or b"")
        await session.out.drain()
    return out


def _told(octets: bytes) -> bytes:
    return b"PREVIEW " + string(octets)
