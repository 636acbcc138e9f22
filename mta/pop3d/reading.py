"""RETR, TOP and sizes while somebody implements ``message_read``: octets and sizes of what is shown."""
# SPDX-License-Identifier: Apache-2.0

from mta.pipeline.reading import Readings, Stored
from mta.pop3d.maildrop import Maildrop
from mta.pop3d.session import Refusal, Session


async def measure(readings: Readings, user: str, maildrop: Maildrop) -> None:
    """Give the maildrop the sizes of what is shown: STAT and LIST tell them before anything is read. Raises TemporaryFailure."""
    sizes = []
    for index, size in enumerate(maildrop.stored):
        try:
            sizes.append(await readings.size(_stored(user, maildrop, index)))
        except KeyError:
            sizes.append(size)
    maildrop.sizes = sizes
    maildrop.octets = sum(sizes)


async def read(session: Session, index: int) -> bytes:
    """Raises Refusal, TemporaryFailure."""
    try:
        return await session.server.readings.octets(_stored(session.user, session.open, index))
    except KeyError:
        raise Refusal("message is gone") from None


def _stored(user: str, maildrop: Maildrop, index: int) -> Stored:
    return Stored(user, "INBOX", maildrop.uids[index], maildrop.blobs[index], maildrop.stored[index])
