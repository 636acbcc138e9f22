"""One worker's share of the listening sockets, which all workers have in common.

One connection for each turn of the loop, and a worker that has more connections than another waits a millisecond first:
so sessions spread evenly, and a busy worker does not hoard them. No file descriptors left but those that sessions need for
their own work, or as many connections as ``limits.connections`` allows: the listeners rest, clients wait in the backlog,
sessions that exist go on.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import errno
import os
import resource
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from typing import Any

from mta.app.proxied import from_balancer, read_header
from mta.app.sockets import Listening
from mta.net.alpn import Gate
from mta.net.listener import ListenerSpec
from mta.net.sni import context_for
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.obs.metrics import HANDSHAKES_FAILED
from mta.pipeline.session import MailSession

Factory = Callable[[], asyncio.Protocol]

_POLITE = 0.001
_REST = 0.25
_HANDSHAKE = 30.0  # seconds for the TLS handshake of an implicit-TLS port
_FILES_OF_SESSIONS = 64
"""Connections of the database (three files each), bodies, sockets of deliveries; an eighth where the limit is low."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """``others_least()``: connections of the least loaded other worker, None when alone; ``count()``: our own, told the others by ``tell()``."""

    def __init__(
        self,
        doors: Sequence[tuple[Listening, Factory]],
        *,
        tls: ssl.SSLContext,
        count: Callable[[], int],
        tell: Callable[[], None],
        others_least: Callable[[], int | None],
        limit: int,
        tasks: Tasks,
        log: Log,
    ) -> None:
        self._doors = doors
        self._tls = tls
        self._count = count
        self._tell = tell
        self._others_least = others_least
        self._limit = limit
        self._tasks = tasks
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._arriving = 0
        self._open = False
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._files = sys.maxsize if files == resource.RLIM_INFINITY else files - min(_FILES_OF_SESSIONS, files // 8)

    @property
    def arriving(self) -> int:
        """Accepted, and not yet with a protocol (TLS handshakes among them)."""
        return self._arriving

    def start(self) -> None:
        self._open = True
        for door in self._doors:
            self._listen(door)

    def stop(self) -> None:
        """No further connection; who waits in the backlog is another worker's, or the next process's."""
        self._open = False
        for listening, _ in self._doors:
            self._loop.remove_reader(listening.sock.fileno())

    def _listen(self, door: tuple[Listening, Factory]) -> None:
        if self._open:
            self._loop.add_reader(door[0].sock.fileno(), self._knock, door)

    def _pause(self, door: tuple[Listening, Factory], seconds: float, then: Callable[[tuple[Listening, Factory]], None]) -> None:
        self._loop.remove_reader(door[0].sock.fileno())
        self._loop.call_later(seconds, then, door)

    def _knock(self, door: tuple[Listening, Factory]) -> None:
        mine = self._count() + self._arriving
        if mine >= self._limit:
            self._rest("listener.full", mine)
            return
        self._tell()
        least = self._others_least()
        if least is not None and mine > least:
            self._pause(door, _POLITE, self._after_waiting)
            return
        self._accept(door)

    def _after_waiting(self, door: tuple[Listening, Factory]) -> None:
        if self._open and self._accept(door):
            self._listen(door)

    def _accept(self, door: tuple[Listening, Factory]) -> bool:
        """False when the listeners were sent to rest."""
        listening, factory = door
        if self._short_of_files(listening):
            self._rest("listener.no_files", self._count())
            return False
        try:
            sock, address = listening.sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return True
        except OSError as exc:
            if exc.errno not in _EXHAUSTED:
                self._log.warning("listener.failed", url=listening.spec.url, problem=exc.strerror)
                return True
            self._rest("listener.no_files", self._count())
            return False
        sock.setblocking(False)
        self._arriving += 1
        self._tell()
        attach = self._attach_tls(sock, listening.spec, address, factory) if listening.spec.tls else self._attach(sock, factory)
        self._tasks.spawn(attach, "accept")
        return True

    def _short_of_files(self, listening: Listening) -> bool:
        """Asked before each accept, 2 us: the lowest free number tells how many are taken."""
        try:
            free = os.dup(listening.sock.fileno())
        except OSError:
            return True
        os.close(free)
        return free >= self._files

    async def _attach(self, sock: socket.socket, factory: Factory) -> None:
        try:
            await self._loop.connect_accepted_socket(factory, sock)
        except OSError as exc:
            self._log.debug("accept.failed", problem=str(exc))
            sock.close()
        finally:
            self._arriving -= 1

    async def _attach_tls(self, sock: socket.socket, spec: ListenerSpec, address: Any, factory: Factory) -> None:
        loop = self._loop
        try:
            header = await read_header(loop, sock) if from_balancer(spec, address) else b""
            protocol = factory()
            context = await context_for(self._tls, _early_session(spec, address, sock), sock)
            gate = Gate(protocol, spec.protocol)
            await loop.connect_accepted_socket(lambda: gate, sock, ssl=context, ssl_handshake_timeout=_HANDSHAKE)
            if gate.refused:
                raise ConnectionAbortedError(gate.refused)
            if header:
                protocol.data_received(header)
        except (OSError, EOFError, TimeoutError, ValueError) as exc:  # ssl.SSLError is an OSError; the peer's business
            HANDSHAKES_FAILED[spec.protocol].value += 1
            self._log.debug("tls.handshake_failed", problem=str(exc))
            sock.close()
        finally:
            self._arriving -= 1

    def _rest(self, event: str, connections: int) -> None:
        self._log.warning(event, connections=connections, seconds=_REST)
        for listening, _ in self._doors:
            self._loop.remove_reader(listening.sock.fileno())
        self._loop.call_later(_REST, self._wake)

    def _wake(self) -> None:
        for door in self._doors:
            self._listen(door)


def _early_session(spec: ListenerSpec, address: Any, sock: socket.socket) -> MailSession:
    """What is known of a client before its handshake; the session itself begins behind it."""
    session = MailSession("", spec.protocol)
    if isinstance(address, tuple):
        session.client_ip, session.client_port = str(address[0]), int(address[1])
        session.local_ip, session.local_port = sock.getsockname()[:2]
    return session
