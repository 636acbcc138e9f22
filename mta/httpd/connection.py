"""One connection: uvicorn's HTTP/1.1 protocol (over h11), with the bounds that it does not set itself.

A request's line and header have ``http.header_timeout`` seconds and ``http.header_size`` octets, a client that takes nothing of
an answer ``http.send_timeout``. Between requests uvicorn's own timer waits ``http.idle_timeout``. The body is ``app``'s to bound.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import secrets
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from mta.net.listener import ListenerSpec
from mta.obs.metrics import CONNECTIONS

if TYPE_CHECKING:
    from mta.httpd.server import HttpServer

_FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"
_TEXTS = {
    400: "this is no HTTP request",
    408: "the request took too long",
    414: "the request line is too long",
    431: "the header is too large",
    501: "this transfer coding is not known",
}
_PEER = struct.Struct("3i")  # pid, uid, gid of SO_PEERCRED


class Connection(H11Protocol):
    """``id`` joins log lines; ``peer_uid`` who speaks over a Unix socket, None elsewhere; ``failures``: wrong passwords so far."""

    def __init__(self, server: "HttpServer", spec: ListenerSpec) -> None:
        super().__init__(server.uvicorn, server.state, {"connection": self}, asyncio.get_running_loop())
        self.ours = server
        self.spec = spec
        self.id = ""
        self.client_ip = self.local_ip = ""
        self.client_port = self.local_port = 0
        self.peer_uid: int | None = None
        self.failures = 0
        self.access_log = False
        self.logger = server.quiet
        self._joined = False
        self._head_since = 0.0
        self._unsent = 0
        self._unsent_since = 0.0

    @property
    def tls(self) -> bool:
        return self.scheme == "https"

    @property
    def idle(self) -> bool:
        """No request is at work."""
        return self.cycle is None or bool(self.cycle.response_complete)  # type: ignore[redundant-expr]  # None before the first

    # ---- asyncio

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.id = secrets.token_hex(6)
        self._look(transport)
        self._joined = self.ours.join(self)
        if not self._joined:
            transport.write(_FULL)
            transport.close()
            return
        CONNECTIONS["http"].value += 1
        self._head_since = self.ours.clock.monotonic()

    def _look(self, transport: asyncio.Transport) -> None:
        if self.spec.path:
            sock = transport.get_extra_info("socket")
            self.peer_uid = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[1]
            return
        for name, address in (("client", transport.get_extra_info("peername")), ("local", transport.get_extra_info("sockname"))):
            if isinstance(address, tuple):
                host = str(address[0])
                setattr(self, f"{name}_ip", host.removeprefix("::ffff:") if "." in host else host)
                setattr(self, f"{name}_port", int(address[1]))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.ours.leave(self)

    def data_received(self, data: bytes) -> None:
        if not self._joined or self.transport.is_closing():
            return
        if self.idle and not self._head_since:
            self._head_since = self.ours.clock.monotonic()
        try:
            super().data_received(data)
        except h11.LocalProtocolError:  # an answer was under way when what came turned out to be no HTTP
            self.transport.abort()
            return
        if not self.idle:
            self._head_since = 0.0

    def on_response_complete(self) -> None:
        self._head_since = 0.0
        super().on_response_complete()

    # ---- bounds

    def check_time(self, now: float) -> None:
        """Asked once a second."""
        config = self.ours.config.http
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        elif now - self._unsent_since > config.send_timeout:
            self.transport.abort()
            return
        if self._head_since and self.idle and now - self._head_since > config.header_timeout:
            self._head_since = 0.0
            if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
                self._answer(408)
            else:
                self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """What came is no request: h11 says what is wrong with it."""
        exc = sys.exception()
        status = exc.error_status_hint if isinstance(exc, h11.RemoteProtocolError) else 400
        self.ours.log.info("http.refused", session=self.id, client=self.client_ip, status=status, problem=str(exc))
        self._answer(status)

    def _answer(self, status: int) -> None:
        """Say what is wrong and hang up."""
        text = _TEXTS.get(status, "this cannot be answered").encode() + b"\n"
        header = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(text))), ("connection", "close")]
        events: tuple[Any, ...] = (
            h11.Response(status_code=status, headers=header, reason=b""),
            h11.Data(data=text),
            h11.EndOfMessage(),
        )
        try:
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # in the middle of an answer
            self.transport.abort()
            return
        self.ours.count(status)
        self.transport.close()

    def dismiss(self) -> None:
        """The server stops: end now when no request is at work, else after its answer."""
        if self.idle and self.transport is not None:
            self.transport.close()
        elif self.cycle is not None:
            self.cycle.keep_alive = False

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()
