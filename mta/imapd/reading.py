"""FETCH, SEARCH and sizes while somebody implements ``message_read``: octets, sizes and structure of what is shown."""
# SPDX-License-Identifier: Apache-2.0

import copy
from array import array
from collections.abc import Sequence

from mta.imapd.columns import Columns
from mta.imapd.fetch_octets import NOTHING, PARSED, Beside, respond
from mta.imapd.sections import Message
from mta.imapd.selected import Positions, Selected
from mta.imapd.session import Session
from mta.model.ids import BlobId
from mta.pipeline.reading import Stored
from mta.wire.imap.fetch import Item, Octets, Simple


def stored_at(session: Session, selected: Selected, columns: Columns, at: int) -> Stored:
    return Stored(session.peer.user, selected.name, columns.uids[at], BlobId(columns.blobs[at]), columns.sizes[at])


def concerns(items: Sequence[Item]) -> bool:
    """Does a FETCH of these show something of the octets?"""
    return any(isinstance(item, Octets) or item.name == "RFC822.SIZE" or item.name in PARSED for item in items)


async def send_read(
    session: Session, columns: Columns, positions: Positions, items: Sequence[Item], newly_seen: set[int], beside: Beside = NOTHING
) -> bool:
    """As ``send_octets``. False when a message had been expunged and its octets are gone."""
    readings, complete = session.server.readings, True
    wants_octets = any(isinstance(item, Octets) for item in items)
    wants_structure = any(isinstance(item, Simple) and item.name in PARSED for item in items)
    for at in positions:
        stored = stored_at(session, session.mailbox, columns, at)
        try:
            message = Message(await readings.octets(stored)) if wants_octets else None
            have = await readings.structure(stored) if wants_structure else None
            size = len(message.octets) if message is not None else await readings.size(stored)
        except KeyError:
            complete = False
            continue
        await respond(session, columns, at, items, message, have, seen=at in newly_seen, size=size, beside=beside)
    return complete


async def columns_as_read(session: Session, selected: Selected, columns: Columns) -> Columns:
    """The same with the sizes of what is shown; of messages that are gone the stored ones."""
    made = copy.copy(columns)
    sizes = array("Q")
    for at in range(len(columns.uids)):
        try:
            sizes.append(await session.server.readings.size(stored_at(session, selected, columns, at)))
        except KeyError:
            sizes.append(columns.sizes[at])
        if at % 1000 == 999:
            await session.out.drain()
    made.sizes = sizes
    return made


async def read_at(session: Session, selected: Selected, columns: Columns, positions: Sequence[int]) -> list[bytes | None]:
    """The octets of each; None for those that are gone."""
    out: list[bytes | None] = []
    for at in positions:
        try:
            out.append(await session.server.readings.octets(stored_at(session, selected, columns, at)))
        except KeyError:
            out.append(None)
    return out
