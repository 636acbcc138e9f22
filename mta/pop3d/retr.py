"""RETR (RFC 1939 §5). Small messages for which the client has sent RETR already are read together; big ones go in pieces."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable
from itertools import islice

from mta.pop3d.reading import read
from mta.pop3d.session import Refusal, Session
from mta.wire.pop3 import Stuffer, stuff

_GATHERED = 2**20
"""Octets of messages read in one go; one larger than this is never whole in memory."""
_TOGETHER = 250
_PIECE = 256 * 1024


def retr(session: Session, argument: bytes) -> bytes | Awaitable[bytes]:
    index = session.number(argument)
    octets = session.octets.pop(index, None)
    if octets is not None:
        return _answer(octets)
    if session.server.readings.wanted:
        return _shown(session, index)
    return _gather(session, index) if session.open.sizes[index] <= _GATHERED else _stream(session, index)


async def _shown(session: Session, index: int) -> bytes:
    octets = await read(session, index)
    session.out.write(b"+OK %d octets\r\n" % len(octets))
    stuffer = Stuffer()
    for start in range(0, len(octets), _PIECE):
        session.out.write(stuffer.feed(octets[start : start + _PIECE]))
        await session.out.drain()
    return stuffer.finish()


def _answer(octets: bytes) -> bytes:
    return b"+OK %d octets\r\n%b" % (len(octets), stuff(octets))


async def _gather(session: Session, index: int) -> bytes:
    """Read this message, and into ``session.octets`` those of the RETR commands that wait directly behind."""
    maildrop = session.open
    wanted = {index: maildrop.blobs[index]}
    room = _GATHERED - maildrop.sizes[index]
    for command in islice(session.out.upcoming(), _TOGETHER):
        other = maildrop.index(command.argument) if command.verb == "RETR" else -1
        if other < 0 or (room := room - maildrop.sizes[other]) < 0:
            break
        wanted[other] = maildrop.blobs[other]
    store = session.server.store
    try:
        found = await store.read_many(list(wanted.values()))
    except KeyError:  # one of them was removed elsewhere: each for itself, then
        try:
            return _answer(await store.read(maildrop.blobs[index]))
        except KeyError:
            raise Refusal("message is gone") from None
    session.octets = dict(zip(wanted, found, strict=True))
    return _answer(session.octets.pop(index))


async def _stream(session: Session, index: int) -> bytes:
    maildrop = session.open
    blob, size = maildrop.blobs[index], maildrop.sizes[index]
    stuffer = Stuffer()
    at = 0
    while at < size:
        try:
            piece = await session.server.store.read(blob, at, min(_PIECE, size - at))
        except KeyError:
            piece = b""
        if not piece:
            if at:
                raise ConnectionResetError  # half a message must not look like a whole one
            raise Refusal("message is gone")
        if at == 0:
            session.out.write(b"+OK %d octets\r\n" % size)
        at += len(piece)
        session.out.write(stuffer.feed(piece))
        await session.out.drain()
    return stuffer.finish()
