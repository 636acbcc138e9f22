"""One question to a mail server: would you take mail for this address? EHLO, STARTTLS where offered, MAIL, RCPT, RSET, QUIT (RFC 5321).

No message is sent. TLS hides the address from those who listen, no more: certificates are not verified, as nothing is entrusted.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import re
import ssl
from dataclasses import dataclass

from mta_hooks import Address

_LINE = re.compile(rb"([2-5]\d\d)([ -]?)(.*)\r?\n\Z", re.DOTALL)
_MOST_LINES = 100
_LONGEST = 4096
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?:\s|\Z)")


class NoAnswer(Exception):
    """The server did not come to the point; says how far it came."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to ask. ``path``: a Unix socket; ``implicit``: TLS from the start."""

    host: str = ""
    port: int = 25
    path: str = ""
    lmtp: bool = False
    implicit: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """``there``: True, False, or None when the reply says nothing about the address."""

    there: bool | None
    text: str


async def ask(place: Place, name: str, sender: str, recipient: Address) -> Answer:
    """Raises NoAnswer, OSError. The caller sets the time limit."""
    tls = _context() if place.implicit else None
    if place.path:
        reader, writer = await asyncio.open_unix_connection(place.path, limit=_LONGEST)
    else:
        reader, writer = await asyncio.open_connection(place.host, place.port, limit=_LONGEST, ssl=tls)
    try:
        return await _Talk(reader, writer).run(place, name, sender, recipient)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError) as exc:
        raise NoAnswer(f"{type(exc).__name__}") from exc
    finally:
        writer.close()


class _Talk:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def run(self, place: Place, name: str, sender: str, recipient: Address) -> Answer:
        await self._reply(220, "greeting")
        hello = f"{'LHLO' if place.lmtp else 'EHLO'} {name}"
        offered = await self._say(hello, 250)
        if not place.implicit and not place.path and "STARTTLS" in offered.upper().split():
            await self._say("STARTTLS", 220)
            await self._writer.start_tls(_context(), server_hostname=place.host)
            await self._say(hello, 250)
        await self._say(f"MAIL FROM:<{sender}>", 250)
        self._writer.write(f"RCPT TO:<{recipient}>\r\n".encode("ascii"))
        code, text = await self._read()
        self._writer.write(b"RSET\r\nQUIT\r\n")
        return judge(code, text)

    async def _say(self, line: str, wanted: int) -> str:
        self._writer.write(f"{line}\r\n".encode("ascii"))
        return await self._reply(wanted, line.partition(" ")[0])

    async def _reply(self, wanted: int, what: str) -> str:
        code, text = await self._read()
        if code != wanted:
            raise NoAnswer(f"{what}: {code} {text[:200]}")
        return text

    async def _read(self) -> tuple[int, str]:
        texts = []
        for _ in range(_MOST_LINES):
            match = _LINE.match(await self._reader.readuntil(b"\n"))
            if match is None:
                raise NoAnswer("no SMTP reply")
            texts.append(match[3].decode("ascii", "replace"))
            if match[2] != b"-":
                return int(match[1]), "\n".join(texts)
        raise NoAnswer("a reply without end")


def judge(code: int, text: str) -> Answer:
    """A mailbox that is full or shut is there; a refusal of us, by policy, says nothing of the address."""
    shown = " ".join(f"{code} {text}".split())[:300]
    shown = "".join(c if " " <= c <= "~" else "?" for c in shown)
    if code // 100 == 2:
        return Answer(True, shown)
    if code // 100 != 5:
        return Answer(None, shown)
    enhanced = _ENHANCED.match(text)
    if enhanced is not None:
        subject = enhanced[2]
        there = (
            False if subject == "1" else True if subject == "2" and enhanced[3] in ("2", "3") else False if subject == "2" else None
        )
        return Answer(there, shown)
    return Answer(False if code in (550, 551, 553) else None, shown)


def _context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made
