"""A real server on loopback sockets in a thread of its own, over fakes for directory and database."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from mta.net.clock import SystemClock
from mta.net.listener import ListenerSpec
from mta.testing.smtpd import SmtpSite


class RunningSite:
    """``site`` may be looked at while no client is active; ``submit`` runs a coroutine in the server's loop."""

    def __init__(self, site: SmtpSite, folder: Path) -> None:
        self.site = site
        self.socket_path = str(folder / "sendmail.sock")
        self.port = self.submission = self.tls_port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def _run(self) -> None:
        self.loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._serve())
        self.loop.close()

    async def _serve(self) -> None:
        server, self._stop = self.site.server, asyncio.Event()
        plain = (ListenerSpec("smtp", False, "smtp://"), ListenerSpec("submission", False, "submission://"))
        sockets = [await self.loop.create_server(server.factory(spec), "127.0.0.1", 0) for spec in plain]
        sockets.append(
            await self.loop.create_server(
                server.factory(ListenerSpec("submission", True, "submissions://")), "127.0.0.1", 0, ssl=server.tls
            )
        )
        self.port, self.submission, self.tls_port = (s.sockets[0].getsockname()[1] for s in sockets)
        sockets.append(
            await self.loop.create_unix_server(server.factory(ListenerSpec.sendmail(self.socket_path)), self.socket_path)
        )
        self._ready.set()
        await self._stop.wait()
        for one in sockets:
            one.close()
        await server.drain(1.0)
        await self.site.tasks.close()

    def submit(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def connect(self, port: int | None = None) -> "Peer":
        return Peer(socket.create_connection(("127.0.0.1", port or self.port), timeout=10))


class Peer:
    """A raw client."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.file = sock.makefile("rb")

    def send(self, octets: bytes) -> None:
        self.sock.sendall(octets)

    def reply(self) -> str:
        """The last line of the next reply; "" when the server hung up."""
        while True:
            line = self.file.readline().decode()
            if line[3:4] != "-":
                return line.rstrip("\r\n")

    def lines(self, command: str) -> list[str]:
        """All lines of the reply."""
        self.send(command.encode() + b"\r\n")
        out = [self.file.readline().decode().strip()]
        while out[-1][3:4] == "-":
            out.append(self.file.readline().decode().strip())
        return out

    def ask(self, line: str) -> str:
        self.send(line.encode() + b"\r\n")
        return self.reply()

    def secure(self, context: ssl.SSLContext) -> None:
        self.sock = context.wrap_socket(self.sock, server_hostname="mx.example.test")
        self.file = self.sock.makefile("rb")

    def close(self) -> None:
        self.file.close()
        self.sock.close()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def serve(authority: trustme.CA, tmp_path: Path) -> Iterator[Callable[..., RunningSite]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mx.example.test", "127.0.0.1").configure_cert(context)
    running: list[RunningSite] = []

    def start(**options: Any) -> RunningSite:
        site = SmtpSite(tls=context, data_dir=str(tmp_path), **options)
        site.server.clock, site.server.time, site.pipeline._clock = SystemClock(), SystemClock().monotonic, SystemClock()
        running.append(RunningSite(site, tmp_path))
        return running[-1]

    yield start
    for one in running:
        one.close()
