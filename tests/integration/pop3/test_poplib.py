"""poplib and plain sockets against the POP3 server over loopback, with TLS, on both event loops."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import poplib
import socket
import ssl
from collections.abc import Callable

import pytest
import trustme
import uvloop

from mta.net.listener import ListenerSpec
from mta.testing.pop3d import Pop3Site

AUTHORITY = trustme.CA()
MESSAGES = [b"Subject: %d\r\n\r\n.dot\r\nline %d\r\n" % (i, i) for i in range(10)]


@pytest.fixture(params=["asyncio", "uvloop"])
def serve(request: pytest.FixtureRequest) -> Callable[[Pop3Site, Callable[[int], None]], None]:
    def run(site: Pop3Site, client: Callable[[int], None], *, implicit: bool = False) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            factory = site.server.factory(ListenerSpec("pop3", implicit, "pop3://"))
            server = await loop.create_server(factory, "127.0.0.1", 0, ssl=site.server.tls if implicit else None)
            async with server:
                await asyncio.to_thread(client, server.sockets[0].getsockname()[1])
                await site.server.drain(1)
            assert site.server.connections == 0

        with asyncio.Runner(loop_factory=uvloop.new_event_loop if request.param == "uvloop" else None) as runner:
            runner.run(asyncio.wait_for(main(), 30))

    return run


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def use(pop: poplib.POP3) -> None:
    pop.user("alice@example.test")
    pop.pass_("secret")
    assert pop.stat() == (10, sum(map(len, MESSAGES)))
    assert pop.uidl()[1][9] == b"10 77.19"
    for i, octets in enumerate(MESSAGES, 1):
        assert b"".join(line + b"\r\n" for line in pop.retr(i)[1]) == octets
    assert pop.top(1, 1)[1] == [b"Subject: 0", b"", b".dot"]
    pop.dele(3)
    assert pop.quit() == b"+OK bye"


def test_poplib_with_stls(serve: Callable[..., None]) -> None:
    site = Pop3Site(MESSAGES, plaintext=False, tls=server_context())

    def client(port: int) -> None:
        pop = poplib.POP3("localhost", port, timeout=10)
        assert "STLS" in pop.capa()
        with pytest.raises(poplib.error_proto, match="use STLS first"):
            pop.user("alice@example.test")
        pop.stls(client_context())
        assert {"SASL", "USER"} <= set(pop.capa())
        assert "STLS" not in pop.capa()
        use(pop)

    serve(site, client)
    assert site.inbox.removed == [5]


def test_poplib_with_implicit_tls(serve: Callable[..., None]) -> None:
    site = Pop3Site(MESSAGES, plaintext=False, tls=server_context())
    serve(site, lambda port: use(poplib.POP3_SSL("localhost", port, context=client_context(), timeout=10)), implicit=True)


def talk(port: int, octets: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(octets)
        said = b""
        while piece := link.recv(65536):
            said += piece
        return said


def test_octets_behind_stls_end_the_connection(serve: Callable[..., None]) -> None:
    site = Pop3Site(MESSAGES, plaintext=False, tls=server_context())

    def client(port: int) -> None:
        assert talk(port, b"STLS\r\nUSER alice@example.test\r\n") == b"+OK ready\r\n+OK begin the handshake\r\n"
        assert talk(port, b"STLS\r\n" + b"U").endswith(b"handshake\r\n")

    serve(site, client)


def test_a_failed_handshake_leaves_nothing_behind(serve: Callable[..., None]) -> None:
    site = Pop3Site(MESSAGES, plaintext=False, tls=server_context())

    def client(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
            link.sendall(b"STLS\r\n")
            said = b""
            while not said.endswith(b"handshake\r\n"):
                said += link.recv(1000)
            link.sendall(b"USER alice@example.test\r\n" * 10)
            try:
                while link.recv(1000):
                    pass
            except ConnectionResetError:
                pass

    serve(site, client)


def test_everything_at_once(serve: Callable[..., None]) -> None:
    site = Pop3Site([b"A: b\r\n\r\n" + b"x" * 4000 + b"\r\n"] * 3000)

    def client(port: int) -> None:
        retrs = b"".join(b"RETR %d\r\n" % n for n in range(1, 3001))
        said = talk(port, b"USER alice@example.test\r\nPASS secret\r\n" + retrs + b"QUIT\r\n")
        assert said.count(b"+OK 4010 octets\r\n") == 3000
        assert said.endswith(b"+OK bye\r\n")

    serve(site, client)
