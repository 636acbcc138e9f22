"""A whole IMAP session over the real protocol object and a database in memory: no internal error, an answer for every command, the
same answers whether it is said whole or in pieces."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import hashlib
import re

from mta.testing.imapd import ImapSite

FILES = ("/mta/imapd/", "/mta/wire/imap/", "/mta/wire/mime/")
_LOGIN = b"a LOGIN alice@example.test secret\r\na SELECT INBOX\r\n"
SEEDS = (
    _LOGIN + b"a FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[])\r\na STORE 1 +FLAGS (\\Deleted)\r\na EXPUNGE\r\na LOGOUT\r\n",
    _LOGIN + b"a SEARCH OR UNSEEN FROM x\r\na UID SEARCH RETURN (SAVE) ALL\r\na UID FETCH $ BODY[1.MIME]\r\na SORT (SUBJECT) UTF-8 ALL\r\n",
    _LOGIN + b"a APPEND INBOX (\\Seen) {14+}\r\nSubject: x\r\n\r\n\r\na COPY 1 Trash\r\na MOVE 2 Trash\r\na STATUS Trash (MESSAGES)\r\na CLOSE\r\n",
    _LOGIN + b"a ENABLE QRESYNC\r\na SELECT INBOX (QRESYNC (100 1 1:3))\r\na UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)\r\na IDLE\r\nDONE\r\n",
    b'a CAPABILITY\r\na LOGIN x y\r\na AUTHENTICATE PLAIN\r\n*\r\na STARTTLS\r\na LIST "" *\r\nDONE\r\n',
    _LOGIN + b"a CREATE a/b\r\na RENAME a c\r\na SUBSCRIBE c\r\na LIST () \"\" (*) RETURN (STATUS (MESSAGES))\r\na LSUB \"\" *\r\na DELETE c\r\n",
)  # fmt: skip
WORDS = (
    _LOGIN, b"a NOOP\r\n", b"a FETCH 1:* ", b"a UID STORE 1:* ", b"+FLAGS (\\Deleted)\r\n", b"a EXPUNGE\r\n", b"a IDLE\r\n", b"DONE\r\n", b"BODY.PEEK[",
    b"]", b"(", b")", b"{3+}\r\nabc", b"{3}\r\n", b"\r\n", b"\n", b"1:*", b"$", b" (CHANGEDSINCE 0)", b"a UNSELECT\r\n", b"a SEARCH ", b"NOT ", b"\xff", b"\0",
)  # fmt: skip
_MESSAGES = (
    b"From: x@y.test\r\nSubject: one\r\n\r\nhello\r\n",
    b'Subject: two\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\npart\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nA: b\r\n\r\nc\r\n--b--\r\n',
    b"no header",
)
_ANSWER = re.compile(rb"(?m)^([^*+ \r\n]+) (OK|NO|BAD)\b")
_loop = asyncio.new_event_loop()


async def _play(pieces: list[bytes]) -> tuple[list[tuple[bytes, ...]], bool]:
    site = await ImapSite(errors=10, message_size=65536, memory_per_message=65536).open()
    await site.deliver(*_MESSAGES)
    link, transport = site.connect()
    said = b""
    for piece in pieces:
        if transport.gone:
            break
        said += await site.talk(link, transport, piece)
    link.connection_lost(None)
    await site.server.drain(0.0)
    await site.tasks.close()
    assert b"SERVERBUG" not in said, said
    assert site.server.connections == 0
    return _ANSWER.findall(re.sub(rb"\{(\d+)\}\r\n", rb"", said)), transport.gone


def run(octets: bytes) -> None:
    step = hashlib.sha256(octets).digest()[0] % 60 + 1
    whole = _loop.run_until_complete(_play([octets]))
    cut = _loop.run_until_complete(_play([octets[i : i + step] for i in range(0, len(octets), step)] or [b""]))
    assert whole == cut, (whole, cut)
