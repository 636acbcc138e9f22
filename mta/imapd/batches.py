"""UIDBATCHES (RFC 10022): uids that cut the mailbox into parts of equally many messages, the newest first."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence

from mta.imapd.answer import bad, no, ok
from mta.imapd.session import Session
from mta.wire.imap.batches import Batches
from mta.wire.imap.response import string

LEAST = 500
"""Messages in a batch; smaller ones only cost round trips (RFC 10022 §3.1)."""
_MOST = 100_000
"""Batches in one answer."""


async def batches(session: Session, command: Batches) -> bytes:
    if command.size < LEAST:
        raise no(b"batches have at least %d messages" % LEAST, b"TOOFEW")
    first, last = command.wanted or (1, _MOST)
    if first > last:
        raise bad(b"from the lower to the higher", b"CLIENTBUG")
    if last - first >= _MOST:
        raise no(b"too many batches", b"TOOMANY")
    selected = session.mailbox
    columns = await selected.rows()
    pieces = ranges(columns.uids[: selected.count], command.size, first, last)
    told = b",".join([b"%d:%d" % piece for piece in pieces])
    session.out.write(b"* UIDBATCHES (TAG %b)%b\r\n" % (string(session.tag), b" " + told if told else b""))
    return ok(b"that is all")


def ranges(uids: Sequence[int], size: int, first: int, last: int) -> list[tuple[int, int]]:
    """Batches ``first`` to ``last``, from 1: (highest, lowest) uid of each. They leave no uid out below the highest in use."""
    count = len(uids)
    out: list[tuple[int, int]] = []
    for end in range(count - (first - 1) * size, max(0, count - last * size), -size):
        start = end - size
        highest = uids[end - 1] if end == count else uids[end] - 1
        out.append((highest, uids[start] if start > 0 else 1))
    return out
