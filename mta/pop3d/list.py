"""LIST (RFC 1939 §5): number and octets of one message or of all; UIDL sends its lines by the same way."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable, Callable

from mta.pop3d.session import Session

_LINES = 4096
"""Messages of one piece: about 1 ms of work and 64 KB."""


def list_(session: Session, argument: bytes) -> bytes | Awaitable[bytes]:
    maildrop = session.open
    if argument:
        index = session.number(argument)
        return b"+OK %d %d\r\n" % (index + 1, maildrop.sizes[index])
    sizes = maildrop.sizes
    return send_lines(session, lambda start, stop: "".join([f"{i + 1} {sizes[i]}\r\n" for i in maildrop.present(start, stop)]))


def send_lines(session: Session, piece: Callable[[int, int], str]) -> bytes | Awaitable[bytes]:
    """Answer with a line for each message; at once when they are few, in pieces as the client takes them when not."""
    total = len(session.open.uids)
    head = f"+OK {session.open.count} messages\r\n"
    if total <= _LINES:
        return f"{head}{piece(0, total)}.\r\n".encode("ascii")
    return _send_pieces(session, head, piece, total)


async def _send_pieces(session: Session, head: str, piece: Callable[[int, int], str], total: int) -> bytes:
    session.out.write(head.encode("ascii"))
    for start in range(0, total, _LINES):
        session.out.write(piece(start, start + _LINES).encode("ascii"))
        await session.out.drain()
    return b".\r\n"
