"""COMPRESS=DEFLATE (RFC 4978): one stream each way, bounded, with every verb behind it."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.imapd.deflate import PIECE, Deflate
from mta.testing.imapd import FakeTransport, ImapSite


class Client:
    """The other end of a compressed connection."""

    def __init__(self, window: int = -15) -> None:
        self.pack = zlib.compressobj(6, zlib.DEFLATED, window)
        self.unpack = zlib.decompressobj(-15)

    def says(self, octets: bytes) -> bytes:
        return self.pack.compress(octets) + self.pack.flush(zlib.Z_SYNC_FLUSH)

    def hears(self, transport: FakeTransport) -> bytes:
        return self.unpack.decompress(transport.take())


async def _compressed(site: ImapSite):
    await site.open()
    await site.deliver(*[b"Subject: %d\r\n\r\n" % n + b"x" * 3000 + b"\r\n" for n in range(100)])
    link, transport = await site.login()
    assert await site.talk(link, transport, b"a COMPRESS DEFLATE\r\n") == b"a OK DEFLATE active\r\n"
    return link, transport


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_everything_is_compressed_both_ways(size: int) -> None:
    async def run() -> None:
        site = ImapSite()
        link, transport = await _compressed(site)
        client = Client()
        packed = client.says(
            b"b SELECT INBOX\r\nc FETCH 1:* (BODY.PEEK[])\r\nd APPEND Sent {6+}\r\nhello!\r\ne COMPRESS deflate\r\nf IDLE\r\n"
        )
        for start in range(0, len(packed), size):
            link.data_received(packed[start : start + size])
            await site.settle(link)
        sent = transport.take()
        said = client.unpack.decompress(sent)
        assert said.count(b"FETCH (BODY[] {3") == 100
        assert len(sent) < len(said) // 20
        assert b"d OK [APPENDUID " in said
        assert said.endswith(b"e BAD [COMPRESSIONACTIVE] compression is active\r\n+ idling\r\n")
        await site.deliver(b"Subject: new\r\n\r\n.\r\n")  # pushed at once, not kept in the compressor
        await site.settle(link)
        assert b"* 101 EXISTS\r\n" in client.hears(transport)
        link.data_received(client.says(b"DONE\r\ng LOGOUT\r\n"))
        await site.settle(link)
        assert client.hears(transport).endswith(b"f OK back to work\r\n* BYE see you\r\ng OK logged out\r\n")
        assert transport.gone
        await site.tasks.close()

    asyncio.run(run())


def test_a_literal_waits_for_its_plus() -> None:
    async def run() -> None:
        site = ImapSite()
        link, transport = await _compressed(site)
        client = Client(-9)
        link.data_received(client.says(b"b APPEND Sent {6}\r\n"))
        await site.settle(link)
        assert client.hears(transport) == b"+ go ahead\r\n"
        link.data_received(client.says(b"hello!\r\n"))
        await site.settle(link)
        assert client.hears(transport).startswith(b"b OK [APPENDUID ")
        await site.tasks.close()

    asyncio.run(run())


def test_what_was_pipelined_is_not_taken_for_a_stream() -> None:
    async def run() -> None:
        site = ImapSite()
        await site.open()
        link, transport = await site.login()
        said = await site.talk(link, transport, b"a COMPRESS DEFLATE\r\nb NOOP\r\n")
        assert said.startswith(b"a BAD wait for the answer")
        assert said.endswith(b"b OK done\r\n")
        await site.tasks.close()

    asyncio.run(run())


def test_no_stream_ends_the_connection() -> None:
    async def run() -> None:
        site = ImapSite()
        link, transport = await _compressed(site)
        link.data_received(b"b NOOP\r\n\xff\xff\xff\xff")
        await site.settle(link)
        assert Client().hears(transport).startswith(b"* BYE ")
        await asyncio.sleep(0)
        assert transport.gone
        await site.tasks.close()

    asyncio.run(run())


def test_a_few_octets_that_unpack_to_many_are_bounded() -> None:
    deflate, client = Deflate(), Client()
    deflate.feed(client.says(b"x" * (100 * PIECE)))
    assert len(deflate.take()) == PIECE
    assert deflate.waits()


def test_a_bomb_is_a_line_too_long() -> None:
    async def run() -> None:
        site = ImapSite()
        link, transport = await _compressed(site)
        client = Client()
        link.data_received(client.says(b"x" * 50_000_000))
        await site.settle(link)
        assert client.hears(transport).startswith(b"* BYE [LIMIT] line too long")
        await site.tasks.close()

    asyncio.run(run())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=3000), max_size=8), st.lists(st.integers(1, 400), min_size=1, max_size=20))
def test_both_ends_agree(pieces: list[bytes], cuts: list[int]) -> None:
    ours, theirs = Deflate(), Client()
    got = b""
    for number, piece in enumerate(pieces):
        packed = theirs.says(piece)
        while packed:
            cut = cuts[number % len(cuts)]
            ours.feed(packed[:cut])
            packed = packed[cut:]
            while ours.waits():
                got += ours.take()
    assert got == b"".join(pieces)
    back = b"".join(ours.pack(piece, flush=number % 2 == 1) for number, piece in enumerate(pieces)) + ours.pack(b"", flush=True)
    assert theirs.unpack.decompress(back) == b"".join(pieces)
