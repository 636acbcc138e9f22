"""Which certificate a client is shown: by the name it asks for (SNI, RFC 6066 §3), from the config or from ``tls_certificate``.

Those of the config are chosen inside the handshake, by a look into a table. A plugin may have to wait for its answer, which a
handshake cannot: where somebody implements the hook, the ClientHello is read ahead (it stays in the socket) and the
plugin asked before the handshake begins, so that neither the loop nor another session waits for it.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import hashlib
import os
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from mta.model.errors import TemporaryFailure
from mta.obs.log import Log
from mta.wire.client_hello import MAX_HELLO, server_name
from mta_hooks.views import TlsCertificate

MOST = 1000
"""Contexts made of plugins' answers that are kept ready, about 100 KB each."""
_HELLO = 10.0  # seconds for the ClientHello
_AGAIN = 0.02


def _nothing() -> None:
    """Nobody reads, nobody waits."""


class First(Protocol):
    async def first(self, **arguments: Any) -> Any: ...


class Hooks(Protocol):
    @property
    def tls_certificate(self) -> First | None: ...


class ByName:
    """Contexts by the names in their certificates; "*.example.org" stands for one label."""

    def __init__(self, contexts: Mapping[str, ssl.SSLContext]) -> None:
        self._contexts = dict(contexts)

    def find(self, name: str) -> ssl.SSLContext | None:
        name = name.lower().rstrip(".")
        return self._contexts.get(name) or self._contexts.get("*." + name.partition(".")[2])

    def __call__(self, session: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        """As ``SSLContext.sni_callback``: without a match the client is shown what the listener has."""
        if name and (found := self.find(name)) is not None:
            session.context = found


class Chooser:
    """Asks ``tls_certificate``. ``make``: a context out of PEM files' paths, with the options of the config."""

    def __init__(self, hooks: Hooks, default: ssl.SSLContext, make: Callable[[str, str], ssl.SSLContext], log: Log) -> None:
        self._hooks = hooks
        self._default = default
        self._make = make
        self._log = log
        self._made: OrderedDict[bytes, ssl.SSLContext] = OrderedDict()

    @property
    def wanted(self) -> bool:
        return self._hooks.tls_certificate is not None

    async def choose(self, session: Any, sock: Any) -> ssl.SSLContext:
        """For the connection behind ``sock``, which nobody reads from meanwhile. Raises OSError where a plugin that failed shall
        keep clients out (``on_error``)."""
        plan = self._hooks.tls_certificate
        if plan is None:
            return self._default
        name = await read_server_name(sock)
        try:
            answer = await plan.first(session=session, server_name=name)
        except TemporaryFailure as exc:
            raise ConnectionAbortedError(str(exc)) from exc
        if answer is None:
            return self._default
        key = hashlib.sha256(f"{answer.chain}\0{answer.key}".encode("utf-8", "replace")).digest()
        made = self._made.get(key)
        if made is None:
            try:
                made = await asyncio.get_running_loop().run_in_executor(None, self._context, answer)
            except (OSError, ValueError, TypeError, AttributeError) as exc:  # ssl.SSLError is an OSError; others: no texts
                self._log.error("tls.certificate_refused", name=name, problem=str(exc))
                return self._default
            self._made[key] = made
            if len(self._made) > MOST:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return made

    def _context(self, answer: TlsCertificate) -> ssl.SSLContext:
        """OpenSSL reads files only: these have no name on any disk."""
        files = []
        try:
            for text in (answer.chain, answer.key):
                fd = os.memfd_create("certificate", os.MFD_CLOEXEC)
                files.append(fd)
                os.write(fd, text.encode())
            return self._make(*(f"/proc/self/fd/{fd}" for fd in files))
        finally:
            for fd in files:
                os.close(fd)


async def context_for(
    context: ssl.SSLContext, session: Any, sock: Any, pause: Callable[[], None] = _nothing, invite: Callable[[], None] = _nothing
) -> ssl.SSLContext:
    """The context for one connection: ``context``, or what a plugin says. ``pause`` keeps the transport's hands off the socket
    before ``invite`` tells the client to begin; neither is called when no plugin is asked. Raises OSError."""
    chooser: Chooser | None = getattr(context, "chooser", None)
    if chooser is None or not chooser.wanted or sock is None:
        return context
    pause()
    invite()
    return await chooser.choose(session, sock)


async def read_server_name(sock: Any) -> str:
    """The name in the ClientHello that is about to come; "" when there is none, or it does not come. Leaves it in the socket."""
    try:
        with socket.socket(fileno=os.dup(sock.fileno())) as peeked:  # the transport's own number is taken in the loop
            peeked.setblocking(False)
            async with asyncio.timeout(_HELLO):
                while True:
                    octets = await _peek(peeked)
                    name = server_name(octets) if octets else ""
                    if name is not None:
                        return name
                    await asyncio.sleep(_AGAIN)  # the socket is readable all the time: what is there already was seen
    except (OSError, TimeoutError):
        return ""


async def _peek(sock: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    while True:
        with suppress(BlockingIOError, InterruptedError):
            return sock.recv(MAX_HELLO, socket.MSG_PEEK)
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(sock.fileno(), _set, ready)
        try:
            await ready
        finally:
            loop.remove_reader(sock.fileno())


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
