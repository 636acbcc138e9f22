"""One connection to a peer as lines out and answers in, with a deadline for every wait."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import ssl
from collections import deque

from mta.outbound.answer import Answer, AnswerReader, ProtocolError

MAX_UNREAD = 1000  # answers nobody waited for: 100 recipients in one write need 102; more is a peer that talks to itself


class LinkLost(Exception):
    """The connection is gone, silent for too long, or speaks no SMTP. The text says which; it may be shown to a sender."""


class Link(asyncio.Protocol):
    """Made by mta.net.dialer."""

    def __init__(self) -> None:
        self._reader = AnswerReader()
        self._answers: deque[Answer] = deque()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._paused = False
        self.lost = ""

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        try:
            self._answers.extend(self._reader.feed(data))
        except ProtocolError as exc:
            self._end(str(exc))
            return
        if len(self._answers) > MAX_UNREAD:
            self._end("too many replies")
        elif self._answers:
            _wake(self._waiting)

    def eof_received(self) -> None:
        self._end("connection closed by the other side")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"connection lost: {exc}" if exc else "connection closed by the other side")

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        _wake(self._writable)

    # ---- for the session

    @property
    def quiet(self) -> bool:
        """Nothing was received that nobody has read."""
        return not self._answers and self._reader.empty

    async def answer(self, timeout: float) -> Answer:
        """The next reply. Raises LinkLost."""
        if not self._answers:
            if self.lost:
                raise LinkLost(self.lost)
            self._waiting = self._loop.create_future()
            await self._wait(self._waiting, timeout, "no reply")
            if not self._answers:
                raise LinkLost(self.lost)
        return self._answers.popleft()

    def write(self, octets: bytes) -> None:
        if self._transport is not None and not self.lost:
            self._transport.write(octets)

    async def drain(self, timeout: float) -> None:
        """Wait until the peer has taken what was written, but for one buffer. Raises LinkLost."""
        if self.lost:
            raise LinkLost(self.lost)
        if self._paused:
            self._writable = self._loop.create_future()
            await self._wait(self._writable, timeout, "the other side does not read")
            if self.lost:
                raise LinkLost(self.lost)

    async def start_tls(self, context: ssl.SSLContext, name: str, timeout: float) -> None:
        """Raises LinkLost when the handshake fails, or when something was sent in clear behind the answer to STARTTLS."""
        if not self.quiet:
            self._end("something was sent before TLS")
        if self.lost or self._transport is None:
            raise LinkLost(self.lost)
        try:
            transport = await self._loop.start_tls(
                self._transport, self, context, server_hostname=name, ssl_handshake_timeout=timeout
            )
        except (OSError, ssl.SSLError, TimeoutError) as exc:
            self._end(f"TLS handshake failed: {exc}".removesuffix(": "))
            raise LinkLost(self.lost) from exc
        if transport is None:  # closed meanwhile
            raise LinkLost("TLS handshake failed")
        self._transport = transport

    def certificates(self) -> list[bytes]:
        """What the peer showed under TLS, unjudged: DER, its own first."""
        found = None if self._transport is None else self._transport.get_extra_info("ssl_object")
        if found is None:
            return []
        if hasattr(found, "get_unverified_chain"):  # Python 3.13
            return list(found.get_unverified_chain() or ())
        chain = found._sslobj.get_unverified_chain()  # noqa: SLF001  # there since 3.10, without a public name before 3.13
        return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in chain or ()]

    @property
    def local(self) -> str:
        """Our address, or ""."""
        name = None if self._transport is None else self._transport.get_extra_info("sockname")
        return str(name[0]) if isinstance(name, tuple) else ""

    def close(self, last: bytes = b"") -> None:
        """Send ``last`` and hang up; waits for nothing."""
        if self._transport is not None and not self.lost:
            if last:
                self._transport.write(last)
            self.lost = "closed"
            self._transport.close()

    async def _wait(self, future: "asyncio.Future[None]", timeout: float, problem: str) -> None:
        timer = self._loop.call_later(timeout, self._end, f"{problem} in {timeout:g} s")
        try:
            await future
        finally:
            timer.cancel()

    def _end(self, reason: str) -> None:
        if not self.lost:
            self.lost = reason
            if self._transport is not None:
                self._transport.abort()
        _wake(self._waiting)
        _wake(self._writable)


def _wake(future: "asyncio.Future[None] | None") -> None:
    if future is not None and not future.done():
        future.set_result(None)
