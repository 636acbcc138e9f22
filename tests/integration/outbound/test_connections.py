"""How a host is reached: addresses raced, our own address, waits (RFC 8305, RFC 5321 §4.5.3.2)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import socket

import pytest

from mta.outbound import session as module
from mta.testing.sink import Sink

ZONES = """
dest.test      MX 10 mx1.dest.test.
mx1.dest.test  A  127.0.0.2
mx1.dest.test  A  127.0.0.3
"""


@pytest.fixture
def black_hole():
    """``with black_hole(host, port)``: connections to it never come about, as its queue is full."""
    from contextlib import contextmanager

    @contextmanager
    def hole(host, port):
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            listening.listen(0)
            waiting = []
            for _ in range(4):
                client = socket.socket()
                client.setblocking(False)
                client.connect_ex((host, port))
                waiting.append(client)
            try:
                yield
            finally:
                for client in waiting:
                    client.close()

    return hole


def test_an_address_that_swallows_connections_costs_a_moment(relay, sink, black_hole):
    async def main():
        async with relay(ZONES) as r, sink(r, "127.0.0.3") as alive:
            with black_hole("127.0.0.2", r.port):
                started = asyncio.get_running_loop().time()
                for n in range(6):  # whichever address comes first
                    await r.queue(f"x{n}@dest.test")
                assert await r.settled() == []
                assert asyncio.get_running_loop().time() - started < 3
            assert alive.count == 6

    asyncio.run(main())


def test_refused_and_unfriendly_addresses_are_passed_over(relay, sink):
    async def main():
        zones = ZONES + "mx1.dest.test A 127.0.0.4\n"
        async with relay(zones) as r, sink(r, "127.0.0.3") as alive, sink(r, "127.0.0.4") as busy:
            busy.answer("CONNECT", "554 5.3.2 not you")
            for n in range(4):
                await r.queue(f"x{n}@dest.test")
                assert await r.settled() == []
            assert alive.count == 4

    asyncio.run(main())


def test_connections_come_from_the_pool(relay, sink):
    seen = set()

    async def main():
        async with (
            relay(ZONES, outbound={"source_addresses": ["127.0.0.8", "127.0.0.9", "::1"]}, routes={}) as r,
            Listener(r.port, seen),
        ):
            for n in range(12):
                await r.queue(f"x{n}@d{n}.test")
                r.dns.set(f"d{n}.test", MX="10 mx2.dest.test.")
            r.dns.set("mx2.dest.test", A="127.0.0.5")
            await r.settled()

    asyncio.run(main())
    assert seen == {"127.0.0.8", "127.0.0.9"}


class Listener:
    """Notes who comes, and says no."""

    def __init__(self, port, seen):
        self.port, self.seen = port, seen

    async def __aenter__(self):
        async def serve(_reader, writer):
            self.seen.add(writer.get_extra_info("peername")[0])
            writer.write(b"421 4.3.2 no\r\n")
            writer.close()

        self.server = await asyncio.start_server(serve, "127.0.0.5", self.port)

    async def __aexit__(self, *_):
        self.server.close()


def test_a_route_hook_chooses_the_address(relay):
    from mta_hooks import Route, hookimpl

    seen = set()

    async def main():
        async with relay() as r, Listener(r.port, seen):

            @hookimpl
            def route(sender):
                return Route("smtp", "127.0.0.5", r.port, source="127.0.0.7" if sender.local == "news" else "::1")

            from mta.testing.plugins import plugin_of

            r.hooks.change(add=[r.hooks.make("chooser", plugin_of(route), "package", 0)])
            await r.queue("x@dest.test", sender="news@here.test")
            await r.queue("x@dest.test", sender="bob@here.test")
            rows = await r.settled()
            assert "451 4.4.1 cannot assign requested address" in {row.last_reply for row in rows}

    asyncio.run(main())
    assert seen == {"127.0.0.7"}


# ---- waits


@pytest.mark.parametrize(
    ("stage", "wait"),
    [
        ("CONNECT", "GREETING"), ("EHLO", "COMMAND"), ("MAIL", "COMMAND"), ("RCPT", "COMMAND"), ("DATA", "DATA_BEGIN"), ("DOT", "DATA_END"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("pipelining", [True, False])
def test_each_wait_of_rfc_5321_ends(relay, monkeypatch, stage, wait, pipelining):
    """The peer is silent at one stage: exactly that wait ends it, and the next attempt works."""
    for name in ("GREETING", "COMMAND", "DATA_BEGIN", "DATA_PIECE", "DATA_END"):
        monkeypatch.setattr(module, name, 30.0)
    monkeypatch.setattr(module, wait, 0.15)

    async def main():
        keywords = ("PIPELINING", "SIZE 1000000") if pipelining else ("SIZE 1000000",)
        async with Sink(keywords=keywords) as hop:
            hop.answer(stage, "", times=1, delay=5.0)
            config = {"outbound": {"greeting_timeout": 1}} if stage == "CONNECT" else {}
            async with relay(routes={"dest.test": f"smtp://127.0.0.1:{hop.port}"}, **config) as r:
                await r.queue("x@dest.test")
                [row] = await r.settled(5)
                after = " after the end of the message" if stage == "DOT" else ""
                seconds = "1" if stage == "CONNECT" else "0.15"
                assert row.last_reply in (
                    f"451 4.4.1 no reply in {seconds} s",
                    f"451 4.4.2 no reply in {seconds} s{after}",
                )
                assert await r.later(300) == []
                assert hop.count == 1

    asyncio.run(main())


def test_a_peer_that_stops_reading_ends_within_the_wait_for_a_piece(relay, monkeypatch):
    monkeypatch.setattr(module, "DATA_PIECE", 0.2)

    async def main():
        async def serve(reader, writer):
            writer.write(b"220 x\r\n")
            await reader.readline()
            writer.write(b"250 x\r\n")
            for answer in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
                await reader.readline()
                writer.write(answer)
            writer.transport.pause_reading()
            await asyncio.sleep(5)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        octets = b"Subject: big\r\n\r\n" + b"x" * 76 + b"\r\n" + (b"y" * 76 + b"\r\n") * 200_000
        async with relay(routes={"dest.test": f"smtp://127.0.0.1:{port}"}) as r:
            await r.queue("x@dest.test", octets=octets, skip=0)
            [row] = await r.settled(8)
            assert row.last_reply == "451 4.4.2 the other side does not read in 0.2 s"
        server.close()

    asyncio.run(main())


def test_the_waits_are_those_of_the_rfc():
    assert (module.GREETING, module.COMMAND, module.DATA_BEGIN, module.DATA_PIECE, module.DATA_END) == (300, 300, 120, 180, 600)
