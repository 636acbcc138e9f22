"""FETCH of what stands neither in the columns nor in a message's structure: EMAILID, THREADID (RFC 8474), PREVIEW (RFC 8970), SAVEDATE (RFC 8514)."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence

from mta.imapd.answer import bad
from mta.imapd.columns import Columns
from mta.imapd.fetch_octets import Beside
from mta.imapd.object_ids import email_id, thread_id
from mta.imapd.previews import previews
from mta.imapd.selected import Positions
from mta.imapd.session import Session
from mta.imapd.sort import keys_of
from mta.wire.imap.dates import encode_date_time
from mta.wire.imap.fetch import Item, Simple

NAMES = frozenset({"EMAILID", "THREADID", "PREVIEW", "PREVIEW LAZY", "SAVEDATE"})
PART = 1000
"""Messages looked at together."""


def wanted(items: Sequence[Item]) -> list[str]:
    return [item.name for item in items if isinstance(item, Simple) and item.name in NAMES]


async def gather(session: Session, columns: Columns, positions: Positions, names: Sequence[str]) -> Beside:
    """Raises Answer for what this store does not know."""
    return {name: await _column(session, columns, positions, name) for name in names}


async def _column(session: Session, columns: Columns, positions: Positions, name: str) -> Mapping[int, bytes]:
    server, blobs = session.server, columns.blobs
    if name.startswith("PREVIEW"):
        return await previews(session, columns, positions, lazy=name.endswith("LAZY"))
    if name == "SAVEDATE":
        if (dates := server.save_dates) is None:
            return dict.fromkeys(positions, b"SAVEDATE NIL")
        uids = session.mailbox.uids(positions)
        saved = await dates.saved(session.mailbox.mailbox, uids)
        return {
            at: b'SAVEDATE "%b"' % encode_date_time(saved[uid]) if uid in saved else b"SAVEDATE NIL"
            for at, uid in zip(positions, uids, strict=True)
        }
    if not server.stable_ids:
        raise bad(b"no OBJECTID here")
    if name == "EMAILID":
        return {at: b"EMAILID (%b)" % email_id(blobs[at]) for at in positions}
    keys = await keys_of(session, session.mailbox, columns, positions)
    return {at: b"THREADID (%b)" % thread_id(each, blobs[at]) for at, each in zip(positions, keys, strict=True)}
