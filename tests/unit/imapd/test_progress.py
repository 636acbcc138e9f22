"""INPROGRESS (RFC 9585): told every ten seconds of long work, at no other time, and sent at once."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import re

import pytest

from mta.testing.imapd import ImapSite


@pytest.mark.parametrize(
    ("command", "step"),
    [
        (b"SEARCH BODY nowhere", 6.0),
        (b"UID SORT (SUBJECT) UTF-8 ALL", 6.0),
        (b"FETCH 1:* (PREVIEW)", 6.0),
        (b"SEARCH BODY nowhere", 1.0),
    ],
)
def test_long_work_is_told(command: bytes, step: float) -> None:
    async def run() -> None:
        site = await ImapSite().open()
        await site.deliver(*[b"Subject: %d\r\n\r\nx\r\n" % n for n in range(320)])
        link, transport = await site.login(b"SELECT INBOX")
        told: list[bytes] = []
        read_many = site.store.read_many

        async def slow(blobs):
            told.append(transport.take())
            site.clock.time += step
            return await read_many(blobs)

        site.store.read_many = slow
        told.append(await site.talk(link, transport, b"x " + command + b"\r\n"))
        notes = re.findall(rb'\* OK \[INPROGRESS \("x" (\d+) (\d+)\)\] ', b"".join(told))
        assert len(told) == 6
        assert notes == ([] if step < 5 else [(b"128", b"320"), (b"256", b"320")])
        assert (b"INPROGRESS" in told[2]) is (step > 5)  # not held back until the end
        assert b"\r\nx OK " in told[-1]
        await site.tasks.close()

    asyncio.run(run())
