"""TOP (RFC 1939 §7): the header section and the first lines of the body, read no further than needed."""
# SPDX-License-Identifier: Apache-2.0

from mta.pop3d.reading import read
from mta.pop3d.session import Refusal, Session
from mta.wire.pop3 import Stuffer, TopCutter

_PIECE = 64 * 1024


async def top(session: Session, argument: bytes) -> bytes:
    number, _, lines = argument.partition(b" ")
    lines = lines.strip()
    if not lines.isdigit() or len(lines) > 9:
        raise Refusal("number of lines missing")
    index = session.number(number)
    blob = session.open.blobs[index]
    cutter, stuffer = TopCutter(int(lines)), Stuffer()
    if session.server.readings.wanted:
        octets = await read(session, index)
        session.out.write(b"+OK\r\n")
        return stuffer.feed(cutter.feed(octets)) + stuffer.finish()
    at = 0
    while not cutter.done:
        try:
            piece = await session.server.store.read(blob, at, _PIECE)
        except KeyError:
            if at:
                raise ConnectionResetError from None  # half an answer must not look like a whole one
            raise Refusal("message is gone") from None
        if at == 0:
            session.out.write(b"+OK\r\n")
        at += len(piece)
        session.out.write(stuffer.feed(cutter.feed(piece)))
        if len(piece) < _PIECE:
            break
        await session.out.drain()
    return stuffer.finish()
