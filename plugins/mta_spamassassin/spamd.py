"""Client of spamd's protocol (SPAMC/1.5; spamd/PROTOCOL in SpamAssassin): one connection for one ``SYMBOLS``.

Bounds: header 16 KiB, names of tests 64 KiB, time.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import re
from dataclasses import dataclass

from mta_spamassassin.config import Place

MAX_HEADER = 2**14
MAX_BODY = 2**16

_STATUS = re.compile(rb"SPAMD/[0-9.]+ +(\d{1,5}) *([^\r\n]*)")
_SPAM = re.compile(
    rb"^Spam:[ \t]*(True|False|Yes|No)[ \t]*;[ \t]*(-?\d{1,9}(?:\.\d+)?)[ \t]*/[ \t]*(-?\d{1,9}(?:\.\d+)?)",
    re.IGNORECASE | re.MULTILINE,
)
_LENGTH = re.compile(rb"^Content-length:[ \t]*(\d{1,9})", re.IGNORECASE | re.MULTILINE)


class NotSpamd(Exception):
    """spamd said that it cannot, or what answered is no spamd."""


@dataclass(frozen=True, slots=True)
class Answer:
    is_spam: bool
    score: float
    required: float
    tests: tuple[str, ...]


async def ask(place: Place, top: bytes, message: bytes, *, user: str, deadline: float) -> Answer:
    """Show ``top + message``. Raises OSError, TimeoutError, NotSpamd."""
    who = f"User: {user}\r\n" if user else ""
    head = f"SYMBOLS SPAMC/1.5\r\nContent-length: {len(top) + len(message)}\r\n{who}\r\n".encode("ascii")
    async with asyncio.timeout(deadline):
        if isinstance(place, str):
            reader, writer = await asyncio.open_unix_connection(place, limit=MAX_HEADER)
        else:
            reader, writer = await asyncio.open_connection(*place, limit=MAX_HEADER)
        try:
            for octets in (head, top, message):
                writer.write(octets)
            await writer.drain()
            writer.write_eof()
            return await _answer(reader)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as exc:
            raise NotSpamd("the connection ended early, or what it said is no answer") from exc
        finally:
            writer.transport.abort()


async def _answer(reader: asyncio.StreamReader) -> Answer:
    first = await reader.readuntil(b"\r\n")
    status = _STATUS.match(first)
    if status is None:
        raise NotSpamd("what answers is no spamd")
    if int(status[1]):
        raise NotSpamd(f"answered {status[1].decode()} {status[2].decode('ascii', 'replace')[:200]}")
    header = await reader.readuntil(b"\r\n\r\n")
    spam, length = _SPAM.search(header), _LENGTH.search(header)
    if spam is None or length is None or int(length[1]) > MAX_BODY:
        raise NotSpamd("no score in the answer")
    names = (await reader.readexactly(int(length[1]))).decode("ascii", "replace")
    tests = tuple(name for word in names.split(",") if (name := word.strip()))
    return Answer(spam[1].lower() in (b"true", b"yes"), float(spam[2]), float(spam[3]), tests)
