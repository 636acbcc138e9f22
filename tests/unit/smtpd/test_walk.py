# SPDX-License-Identifier: Apache-2.0
"""Random dialogues: no octets find a bug, every reply is well formed, chunks change nothing."""

import asyncio
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from mta.testing.smtpd import SmtpSite

LINES = st.sampled_from(
    [
        b"EHLO a.example", b"HELO a.example", b"LHLO a.example", b"MAIL FROM:<a@b.test>", b"MAIL FROM:<> SIZE=9", b"RCPT TO:<alice@example.test>",
        b"RCPT TO:<x@example.test>", b"RCPT TO:<x@far.test>", b"DATA", b"RSET", b"NOOP", b"VRFY x", b"HELP", b".", b"..", b"", b"Subject: x",
        b"AUTH PLAIN", b"AUTH LOGIN", b"AUTH PLAIN AGEAYg==", b"*", b"YWxpY2U=", b"STARTTLS", b"XXXX", b"a\nb", b"\0", "RCPT TO:<ü@x.test>".encode(), b"x" * 3000,
    ]
)  # fmt: skip
REPLY = re.compile(r"(?:[2-5]\d\d-.*\r\n)*[2-5]\d\d .*\r\n")


async def play(pieces: list[bytes]) -> tuple[str, int]:
    site = SmtpSite(plaintext=True)
    link, transport = site.connect()
    for piece in pieces:
        link.data_received(piece)
        await site.settle(link)
    await site.tasks.close()
    return transport.take().decode(), len(site.spool.accepted)


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, max_size=25), st.integers(1, 40))
def test_any_dialogue(lines: list[bytes], size: int) -> None:
    singly = [line + b"\r\n" for line in lines]
    said, stored = asyncio.run(play(singly))
    assert "internal error" not in said
    assert REPLY.sub("", said) == ""
    pieces = [line[i : i + size] for line in singly for i in range(0, len(line), size)]
    again, stored_again = asyncio.run(play(pieces))
    assert re.sub(r"queued as \w+", "", again) == re.sub(r"queued as \w+", "", said)
    assert stored_again == stored
