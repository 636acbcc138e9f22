"""A client without a network: the real protocol object over a transport in memory, for programs that ask "what would you say?".

The server's own code runs, from the greeting to QUIT: limits, hooks, states, replies. What the operating system knows of a
connection is said instead: addresses, TLS, and the account at the other end of a Unix socket.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import re
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mta.net.listener import ListenerSpec
from mta.smtpd.server import SmtpServer

_REPLY = re.compile(rb"(?:\d{3}-[^\r\n]*\r\n)*\d{3}(?: [^\r\n]*)?\r\n")
_DOTS = re.compile(rb"^\.", re.MULTILINE)
_SPINS = 200


class Silent(Exception):
    """No answer came in time; ``command`` is what was said last."""

    def __init__(self, command: str) -> None:
        super().__init__(f"no answer to {command!r}")
        self.command = command


@dataclass(frozen=True, slots=True)
class Caller:
    """Who speaks. ``uid``: of a local account, for the socket of the sendmail command; ``tls``: the session is under TLS."""

    ip: str = "127.0.0.1"
    port: int = 40000
    tls: bool = False
    uid: int = 0


class _Socket:
    """The part of a Unix socket that the server asks for."""

    def __init__(self, uid: int) -> None:
        self._uid = uid

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        if (level, option) != (socket.SOL_SOCKET, socket.SO_PEERCRED):
            raise OSError(f"nothing is known of option {option}")
        return struct.pack("3i", 1, self._uid, self._uid)[:size]


class MemoryTransport(asyncio.Transport):
    """Keeps what the server writes."""

    def __init__(self, caller: Caller) -> None:
        extra: dict[str, Any] = {"peername": (caller.ip, caller.port), "sockname": ("127.0.0.1", 25), "socket": _Socket(caller.uid)}
        if caller.tls:
            extra["cipher"] = ("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256)
        super().__init__(extra)
        self.written = bytearray()
        self.gone = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.gone = True

    def is_closing(self) -> bool:
        return self.gone

    def close(self) -> None:
        self.gone = True

    def abort(self) -> None:
        self.gone = True


class Conversation:
    """One connection. ``timeout``: seconds that one answer may take, hooks included."""

    def __init__(
        self,
        server: SmtpServer,
        spec: ListenerSpec,
        caller: Caller,
        *,
        timeout: float = 300.0,
        time: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout, self._time = timeout, time
        self._transport = MemoryTransport(caller)
        self._link = server.factory(spec)()

    @property
    def gone(self) -> bool:
        """The server hung up."""
        return self._transport.gone

    async def greeting(self) -> str:
        """Raises Silent."""
        self._link.connection_made(self._transport)
        return "\n".join(await self._settled("(connection)"))

    async def say(self, line: str) -> str:
        """Send a command and return the reply, lines joined by line feeds. Raises Silent."""
        return "\n".join(await self._sent(f"{line}\r\n".encode("utf-8", "surrogateescape"), line))

    async def send(self, message: bytes) -> Sequence[str]:
        """Send the message after 354, CRLF line ends, and return the replies: one, or with LMTP one for each recipient."""
        stuffed = _DOTS.sub(b"..", message)
        end = b".\r\n" if not stuffed or stuffed.endswith(b"\r\n") else b"\r\n.\r\n"
        return await self._sent(stuffed + end, "(message)")

    async def _sent(self, octets: bytes, name: str) -> list[str]:
        self._link.data_received(octets)
        return await self._settled(name)

    async def _settled(self, name: str) -> list[str]:
        until, spins = self._time() + self._timeout, 0
        while self._link.working:
            spins += 1
            await asyncio.sleep(0 if spins < _SPINS else 0.002)
            if self._time() > until:
                raise Silent(name)
        replies = [match[0].decode("utf-8", "replace").rstrip("\r\n") for match in _REPLY.finditer(bytes(self._transport.written))]
        self._transport.written.clear()
        return [reply.replace("\r\n", "\n") for reply in replies]

    def end(self) -> None:
        """Hang up."""
        self._link.connection_lost(None)
