"""A whole session over the real protocol object: said whole and in pieces, it is answered, and stored, the same."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import hashlib
import re

from mta.testing.smtpd import SmtpSite

FILES = ("/mta/smtpd/", "/mta/wire/smtp/")
_HELLO = b"EHLO c.example\r\n"
_OPEN = b"MAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<alice@example.test>\r\n"
SEEDS = (
    _HELLO + _OPEN + b"DATA\r\nSubject: x\r\n\r\nbody\r\n.\r\nQUIT\r\n",
    _HELLO + _OPEN + b"BDAT 14\r\nSubject: x\r\n\r\nBDAT 6 LAST\r\nbody\r\nNOOP\r\n",
    _HELLO + _OPEN + b"BDAT 4\r\na\nb\nBDAT 0 LAST\r\nRSET\r\n",
    _HELLO + b"MAIL FROM:<a@b.test> BODY=BINARYMIME\r\nRCPT TO:<alice@example.test>\r\nBDAT 3 LAST\r\n\0\n\r",
    b"HELO x\r\nVRFY a\r\nEXPN b\r\nHELP\r\nRSET\r\nETRN x\r\nAUTH PLAIN\r\nXCLIENT A=b\r\nSTARTTLS\r\nLHLO x\r\n",
    b"GET / HTTP/1.1\r\n",
)
WORDS = (
    _HELLO, _OPEN, b"DATA\r\n", b"BDAT ", b"0", b"1", b"10", b" LAST\r\n", b"\r\n", b"\r\n.\r\n", b"\n", b"\r", b"RSET\r\n", b"QUIT\r\n", b"NOOP\r\n",
    b"MAIL FROM:<>\r\n", b"RCPT TO:<bob@example.test>\r\n", b" BODY=BINARYMIME\r\n", b"AUTH LOGIN\r\n", b"*\r\n", b"\0", b"\xff",
)  # fmt: skip
_STOP = re.compile(rb"(?i)(?<=\n)(?:DATA|AUTH[^\n]*) *\r\n")
_QUEUED = re.compile(rb"queued as \S+|(?:bare CR|bare LF|NUL) in the message")
_TRACE = re.compile(rb"(?:(?:Return-Path|Received):[^\n]*\n(?:[ \t][^\n]*\n)*)*")
_loop = asyncio.new_event_loop()
_site = SmtpSite(limits={"message_size": 65536, "errors": 10, "memory_per_message": 65536})


async def _play(pieces: list[bytes]) -> tuple[bytes, list[bytes], bool]:
    site = _site
    link, transport = site.connect(peer=("192.0.2.1", 1))
    said = b""
    for piece in pieces:
        said += await site.talk(link, transport, piece)
    assert link.lines.waiting <= sum(len(piece) for piece in pieces)
    link.connection_lost(None)
    assert site.server.connections == 0
    assert site.server._clients == {}
    stored = [_TRACE.sub(b"", intake.content.raw(), count=1) for intake in site.spool.accepted]
    site.spool.accepted.clear()
    for plan in (site.hooks.recipient_lookup, site.hooks.alias_expand, site.hooks.auth_verify):
        plan.calls.clear()
    for octets in stored:
        assert octets.count(b"\r\n") == octets.count(b"\n") == octets.count(b"\r")
        assert b"\0" not in octets
    assert b"451 4.3.0 internal error" not in said
    return _QUEUED.sub(b"...", said), stored, transport.gone


def run(octets: bytes) -> None:
    parts, at = [], 0
    for match in _STOP.finditer(octets):  # whoever asks for a 354 or 334 waits for it: behind it a packet ends either way
        parts.append(octets[at : match.end()])
        at = match.end()
    parts.append(octets[at:])
    parts = [part for part in parts if part]
    step = hashlib.sha256(octets).digest()[0] % 40 + 1
    pieces = [part[i : i + step] for part in parts for i in range(0, len(part), step)]
    whole, cut = _loop.run_until_complete(_both(parts, pieces))
    assert whole == cut, (whole, cut)


async def _both(parts: list[bytes], pieces: list[bytes]) -> tuple[object, object]:
    return await _play(parts), await _play(pieces)
