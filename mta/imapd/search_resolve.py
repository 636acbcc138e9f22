"""Search keys that need a look beyond the columns and the octets become sets of message numbers, before the search begins.

EMAILID, THREADID (RFC 8474 §6), SAVEDBEFORE, SAVEDON, SAVEDSINCE, SAVEDATESUPPORTED (RFC 8514 §4).
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence

from mta.imapd.answer import bad
from mta.imapd.columns import Columns
from mta.imapd.object_ids import blob_of, thread_id
from mta.imapd.selected import Selected
from mta.imapd.session import Session
from mta.wire.imap.search_keys import All, And, EmailId, Filter, Fuzzy, InSet, Key, Not, Or, Saved, SavedKnown, ThreadId
from mta.wire.imap.sequence import SequenceSet

_DAY = 86400
NOTHING = Not(All())


def looks_further(key: Key) -> bool:
    """There is something for ``resolve`` or ``filters.expand`` to do."""
    if isinstance(key, And):
        return any(map(looks_further, key.keys))
    if isinstance(key, Or):
        return looks_further(key.left) or looks_further(key.right)
    if isinstance(key, Not | Fuzzy):
        return looks_further(key.key)
    return isinstance(key, EmailId | ThreadId | Saved | SavedKnown | Filter)


async def resolve(session: Session, selected: Selected, columns: Columns, key: Key) -> Key:
    """The same object when there is nothing to do. Raises Answer for what this store does not know."""
    if isinstance(key, And):
        keys = [await resolve(session, selected, columns, each) for each in key.keys]
        return And(tuple(keys)) if any(a is not b for a, b in zip(keys, key.keys, strict=True)) else key
    if isinstance(key, Or):
        left = await resolve(session, selected, columns, key.left)
        right = await resolve(session, selected, columns, key.right)
        return key if left is key.left and right is key.right else Or(left, right)
    if isinstance(key, Not | Fuzzy):
        inner = await resolve(session, selected, columns, key.key)
        return key if inner is key.key else type(key)(inner)
    if isinstance(key, EmailId | ThreadId | Saved | SavedKnown):
        return await _found(session, selected, columns, key)
    return key


async def _found(session: Session, selected: Selected, columns: Columns, key: EmailId | ThreadId | Saved | SavedKnown) -> Key:
    everything = range(selected.count)
    if isinstance(key, SavedKnown):
        return NOTHING if session.server.save_dates is None else All()
    if isinstance(key, Saved):
        return _numbers(await _saved(session, selected, key))
    if not session.server.stable_ids:
        raise bad(b"no OBJECTID here")
    if isinstance(key, EmailId):
        blob, blobs = blob_of(key.id), columns.blobs
        return _numbers([at for at in everything if blobs[at] == blob] if blob else [])
    from mta.imapd.sort import keys_of  # noqa: PLC0415  # which itself searches

    wanted = key.id.encode("ascii")
    keys = await keys_of(session, selected, columns, everything)
    return _numbers([at for at in everything if thread_id(keys[at], columns.blobs[at]) == wanted])


async def _saved(session: Session, selected: Selected, key: Saved) -> Sequence[int]:
    if (dates := session.server.save_dates) is None:
        raise bad(b"no SAVEDATE here")
    everything = range(selected.count)
    uids = selected.uids(everything)
    saved = await dates.saved(selected.mailbox, uids)
    days = [saved[uid] // _DAY if uid in saved else None for uid in uids]
    if key.relation == "before":
        return [at for at, day in enumerate(days) if day is not None and day < key.day]
    if key.relation == "since":
        return [at for at, day in enumerate(days) if day is not None and day >= key.day]
    return [at for at, day in enumerate(days) if day == key.day]


def _numbers(positions: Sequence[int]) -> Key:
    return InSet(SequenceSet(tuple((at + 1, at + 1) for at in positions)), uid=False) if positions else NOTHING
