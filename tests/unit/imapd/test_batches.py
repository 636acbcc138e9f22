"""UIDBATCHES (RFC 10022): the ranges tile the uids in use, each but the oldest with as many messages as asked."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mta.imapd.batches import ranges
from mta.testing.imapd import ImapSite


@given(st.sets(st.integers(1, 400), max_size=100).map(sorted), st.integers(1, 30), st.integers(1, 8), st.integers(0, 8))
def test_ranges(uids: list[int], size: int, first: int, more: int) -> None:
    every = ranges(uids, size, 1, 1000)
    assert ranges(uids, size, first, first + more) == every[first - 1 : first + more]
    assert len(every) == -(-len(uids) // size)
    inside = [[uid for uid in uids if low <= uid <= high] for high, low in every]
    assert [len(each) for each in inside[:-1]] == [size] * len(inside[:-1])
    assert sorted(uid for each in inside for uid in each) == uids
    if uids:
        assert (every[0][0], every[-1][1]) == (uids[-1], 1)
        assert all(low - 1 == high for (_, low), (high, _) in pairwise(every))


def test_over_the_wire() -> None:
    async def run() -> None:
        site = await ImapSite().open()
        await site.deliver(*[b"x"] * 1200)
        link, transport = await site.login(b"SELECT INBOX")
        assert await site.talk(link, transport, b"a UIDBATCHES 500\r\n") == (
            b'* UIDBATCHES (TAG "a") 1200:701,700:201,200:1\r\na OK that is all\r\n'
        )
        assert (await site.talk(link, transport, b"b UIDBATCHES 500 2:9\r\n")).startswith(
            b'* UIDBATCHES (TAG "b") 700:201,200:1\r\n'
        )
        assert (await site.talk(link, transport, b"c UIDBATCHES 1199 2:2\r\n")).startswith(b'* UIDBATCHES (TAG "c") 1:1\r\n')
        await site.tasks.close()

    asyncio.run(run())
