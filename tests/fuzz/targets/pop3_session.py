"""POP3: a whole session, said whole and in pieces, is answered the same; dots and TOP survive any cut."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import hashlib

from mta.testing.pop3d import Pop3Site
from mta.wire.pop3 import Stuffer, TopCutter, stuff

FILES = ("/mta/pop3d/", "/mta/wire/pop3/")
_LOGIN = b"USER alice@example.test\r\nPASS secret\r\n"
SEEDS = (
    _LOGIN + b"STAT\r\nLIST\r\nUIDL 1\r\nRETR 1\r\nRETR 2\r\nTOP 1 1\r\nDELE 1\r\nRSET\r\nDELE 2\r\nQUIT\r\n",
    b"CAPA\r\nAUTH PLAIN AGEAYg==\r\nAUTH\r\nAUTH LOGIN\r\n*\r\nSTLS\r\nUTF8\r\nLANG *\r\nLANG i-default\r\nAPOP a b\r\nNOOP\r\nQUIT\r\n",
    _LOGIN + b"LIST 9\r\nRETR 0\r\nTOP 1\r\nDELE 1\r\nDELE 1\r\nRETR 1\r\nUIDL\r\nCAPA\r\n",
    b".\r\n..\r\na\r\n\r\n.b\r\n.\r\n",
)
WORDS = (
    _LOGIN, b"RETR ", b"TOP ", b"1", b"2", b"3", b" 0", b"\r\n", b"\n", b"\r", b".", b"\0", b"\xff", b"DELE 1\r\n", b"RSET\r\n", b"LIST\r\n",
    b"AUTH PLAIN\r\n", b"*\r\n",
)  # fmt: skip
_MESSAGES = (b"Subject: one\r\n\r\n.dot\r\n\r\n..\r\n", b"no header", b"A: b\r\n\r\n" + b"x" * 300)
_loop = asyncio.new_event_loop()


async def _play(pieces: list[bytes]) -> tuple[bytes, list[int]]:
    site = Pop3Site(_MESSAGES, errors=10)
    link, transport = site.connect()
    said = b""
    for piece in pieces:
        said += await site.talk(link, transport, piece)
    link.connection_lost(None)
    assert site.server.connections == 0
    assert not site.server._locked
    assert b"internal error" not in said, said
    return said, [int(uid) for uid in site.inbox.removed]


def run(octets: bytes) -> None:
    step = hashlib.sha256(octets).digest()[0] % 40 + 1
    pieces = [octets[i : i + step] for i in range(0, len(octets), step)] or [b""]
    whole = _loop.run_until_complete(_play([octets]))
    cut = _loop.run_until_complete(_play(pieces))
    assert whole == cut, (whole, cut)
    _multiline(octets, pieces, step)


def _multiline(octets: bytes, pieces: list[bytes], lines: int) -> None:
    stuffer = Stuffer()
    stuffed = b"".join([*map(stuffer.feed, pieces), stuffer.finish()])
    assert stuffed == stuff(octets)
    assert stuffed.index(b"\r\n.\r\n" if not stuffed.startswith(b".\r\n") else b".\r\n") >= len(stuffed) - 5
    whole, cut = TopCutter(lines), TopCutter(lines)
    parts = b"".join(cut.feed(piece) for piece in pieces if not cut.done)
    assert octets.startswith(parts)
    assert parts == (whole.feed(octets) if octets else b"")
