"""CONTEXT=SEARCH (RFC 5267 §4) against a search made anew, and while the next command begins."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from mta.model.ids import Uid
from mta.testing.imapd import ImapSite

CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), st.sampled_from([b"yes", b"no"])),
        st.tuples(st.just("expunge"), st.integers(1, 12)),
        st.tuples(st.just("flag"), st.integers(1, 12)),
        st.tuples(st.just("told"), st.sampled_from([b"NOOP", b"FETCH 1 UID", b"SEARCH ALL"])),
    ),
    max_size=15,
)
KEYS = [b"UNFLAGGED", b"SUBJECT yes", b"OR FLAGGED SUBJECT no", b"NOT (SUBJECT yes FLAGGED)"]


@settings(max_examples=40, deadline=None)
@given(CHANGES, st.sampled_from(KEYS))
def test_what_is_told_adds_up(changes: list[tuple[str, object]], key: bytes) -> None:
    async def run() -> None:
        site = await ImapSite().open()
        await site.deliver(b"Subject: yes\r\n\r\n", b"Subject: no\r\n\r\n", b"Subject: yes\r\n\r\n")
        link, transport = await site.login(b"SELECT INBOX")
        mine = _uids(await site.talk(link, transport, b"c UID SEARCH RETURN (UPDATE ALL) " + key + b"\r\n"), b"ALL ")
        inbox = await site.mailbox()
        for what, value in [*changes, ("told", b"NOOP")]:
            if what == "deliver":
                await site.deliver(b"Subject: %b\r\n\r\n" % value)
            elif what == "expunge":
                await site.database.store.remove(inbox, [Uid(value)])
            elif what == "flag":
                await site.database.store.set_flags(inbox, [Uid(value)], "add", 4, frozenset())
            else:
                said = await site.talk(link, transport, b"x " + value + b"\r\n")
                for line in said.split(b"\r\n"):
                    if b'(TAG "c")' in line:
                        gone, came = _uids(line, b"REMOVEFROM (0 "), _uids(line, b"ADDTO (0 ")
                        assert gone <= mine
                        assert not came & mine
                        mine = (mine - gone) | came
        anew = await site.talk(link, transport, b"y UID SEARCH RETURN (ALL) " + key + b"\r\n")
        assert mine == _uids(anew, b"ALL ")
        await site.tasks.close()

    asyncio.run(run())


def _uids(said: bytes, behind: bytes) -> set[int]:
    found = re.search(re.escape(behind) + rb"([0-9:,]+)", said)
    out: set[int] = set()
    for part in found[1].split(b",") if found else ():
        low, _, high = part.partition(b":")
        out.update(range(int(low), int(high or low) + 1))
    return out


def test_nothing_is_told_amid_the_next_command() -> None:
    async def run() -> None:
        site = await ImapSite().open()
        await site.deliver(b"Subject: yes\r\n\r\n")
        link, transport = await site.login(b"SELECT INBOX", b"UID SEARCH RETURN (UPDATE) SUBJECT yes")
        await site.talk(link, transport, b"i IDLE\r\n")
        read_many, reading = site.store.read_many, asyncio.Event()
        go_on = asyncio.Event()

        async def slow(blobs):
            reading.set()
            await go_on.wait()
            return await read_many(blobs)

        site.store.read_many = slow
        await site.deliver(b"Subject: yes\r\n\r\n")
        await asyncio.wait_for(reading.wait(), 5)
        assert b"* 2 EXISTS\r\n" in transport.take()
        link.data_received(b"DONE\r\n")
        for _ in range(20):
            await asyncio.sleep(0)
        assert transport.take() == b""  # the look is still under way
        go_on.set()
        await site.settle(link)
        assert transport.take() == b'* ESEARCH (TAG "x") UID ADDTO (0 2)\r\ni OK back to work\r\n'
        await site.tasks.close()

    asyncio.run(run())
