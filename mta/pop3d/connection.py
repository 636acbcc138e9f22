"""One TCP connection: octets in, commands obeyed in order, octets out.

No task runs while a client is idle: verbs that need not wait are answered where their octets arrive; one that must wait goes on
in a task, which then obeys what came meanwhile. Bounds: ``_READ_AHEAD`` octets of commands that wait, ``_UNSENT`` octets that
the client has not taken, both stop the other direction; a client that takes nothing for ``_STALLED`` seconds is cut off.
Answers of one turn leave in one write. Nothing that came before the TLS handshake survives it (RFC 2595 §4).
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import secrets
import ssl
from collections.abc import Awaitable, Iterator, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, cast

from mta.model.errors import MailError, TemporaryFailure
from mta.model.verdict import Action
from mta.net.alpn import check_alpn
from mta.net.listener import ListenerSpec, Network
from mta.net.sni import context_for
from mta.pop3d.session import Refusal, Session
from mta.pop3d.verbs import FOREIGN, VERBS, Step, brought_verb
from mta.wire.pop3 import Command, Lines, LineTooLong, err, ok, parse
from mta.wire.pop3.command import MAX_LINE
from mta.wire.proxy import read_proxy

if TYPE_CHECKING:
    from mta.pop3d.server import Pop3Server

_READ_AHEAD = 64 * 1024
_UNSENT = 64 * 1024
_CHUNK = 64 * 1024
_TURN = 200
"""Commands obeyed before other sessions get their turn; a verb that does not wait takes some 5 µs."""
_STALLED = 30.0
_BEFORE_LOGIN = 60.0
_TEMPORARY = err("try again later", "SYS/TEMP")
_BUG = err("internal error", "SYS/TEMP")
_LEAVING = err("server is shutting down", "SYS/TEMP")


class Connection(asyncio.Protocol):
    """The protocol object of one client."""

    def __init__(self, server: "Pop3Server", listener: ListenerSpec) -> None:
        self.server = server
        self.session = Session(server, self)
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._proxy: bytes | None = None  # octets of a PROXY header that is awaited
        self._lines = Lines()
        self._out: list[bytes] = []
        self._out_size = 0
        self._busy = False
        self._waits_turn = False
        self._task: asyncio.Task[None] | None = None
        self._more: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._reading = True
        self._errors = 0
        self._told = False
        self._heard = 0.0
        self._stuck_since = 0.0
        self._stuck_size = -1

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_UNSENT)
        self._heard = self.server.clock.monotonic()
        session = self.session
        session.id = secrets.token_hex(6)
        session.client_ip, session.client_port = _address(transport.get_extra_info("peername"))
        session.local_ip, session.local_port = _address(transport.get_extra_info("sockname"))
        session.tls = self._listener.tls
        if not self.server.join(self):
            session.end("refused")
            self._end(err("too many connections", "SYS/TEMP"))
        elif _is_in(session.client_ip, self._listener.proxy_protocol):
            self._proxy = b""
        else:
            self._begin()

    def _begin(self) -> None:
        """The client is known: greet it."""
        if self.server.hooks.smtp_connect is None:
            self.write(ok("ready"))
            self._flush()
        else:
            self._start(self._greet(), "greeting")

    def data_received(self, data: bytes) -> None:
        self._heard = self.server.clock.monotonic()
        if self.session.ending:
            return
        if self._proxy is not None and not (data := self._read_proxy(self._proxy + data)):
            return
        try:
            self._lines.feed(data)
        except LineTooLong:
            self._end(err("line too long"))
            return
        if self._more is not None and not self._more.done():
            self._more.set_result(None)
        if self._busy or self._waits_turn or self._writable is not None:
            if self._lines.size > _READ_AHEAD:
                self._hold_reading()
        else:
            self._turn()

    def _read_proxy(self, octets: bytes) -> bytes:
        """Take the balancer's word for who the client is (mta.wire.proxy). Returns what follows the header, b"" until then."""
        session = self.session
        try:
            found = read_proxy(octets)
        except ValueError:
            self.server.log.warning("pop3.proxy", session=session.id, client=session.client_ip)
            self._end(b"")
            return b""
        if found is None:
            self._proxy = octets
            return b""
        self._proxy = None
        if found.client_ip:
            session.client_ip, session.client_port = found.client_ip, found.client_port
            session.local_ip, session.local_port = found.local_ip, found.local_port
        self._begin()
        return octets[found.size :]

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._tell_end()
        self.session.ending = True
        self.session.leave()
        self.server.leave(self)
        for future in (self._more, self._writable):
            if future is not None and not future.done():
                future.set_exception(ConnectionResetError())
                future.exception()  # seen, also when nobody waits

    def _tell_end(self) -> None:
        """Once, though a handshake that failed may end the connection twice."""
        told, self._told = self._told, True
        if not told:
            self.server.login.left("pop3", self.session)
        if (plan := self.server.hooks.smtp_disconnect) is not None and not told:
            session = self.session
            reason = session.reason or ("shutdown" if self.server.draining else "closed" if session.ending else "lost")
            self.server.tasks.spawn(plan.notify(session=session, reason=reason), "pop3.notify")

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()
        self._stuck_since, self._stuck_size = self.server.clock.monotonic(), -1

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)
        if not self._busy and not self.session.ending:
            self._turn()

    # ---- Out

    def write(self, octets: bytes) -> None:
        self._out.append(octets)
        self._out_size += len(octets)
        if self._out_size >= _CHUNK:
            self._flush()

    async def drain(self) -> None:
        self._flush()
        if self._transport is None:
            raise ConnectionResetError
        if self._writable is not None:
            await self._writable
        else:
            await asyncio.sleep(0)

    async def line(self) -> bytes:
        while (line := self._lines.next()) is None:
            self._flush()
            self._resume_reading()
            self._more = asyncio.get_running_loop().create_future()
            try:
                await self._more
            finally:
                self._more = None
        return line

    def upcoming(self) -> Iterator[Command]:
        return self._lines.upcoming()

    async def start_tls(self) -> None:
        if self._lines.size or self._transport is None or self.server.tls is None:
            self._flush()
            raise ConnectionResetError
        loop, plain = asyncio.get_running_loop(), self._transport
        try:
            sock = plain.get_extra_info("socket")
            context = await context_for(self.server.tls, self.session, sock, plain.pause_reading, self._flush)
            self._flush()
            transport = await loop.start_tls(plain, self, context, server_side=True, ssl_handshake_timeout=30)
            if transport is not None:
                check_alpn(transport, "pop3")
        except OSError as exc:
            self.server.log.info("pop3.tls.failed", session=self.session.id, client=self.session.client_ip, detail=str(exc))
            transport = None
        if transport is None or self._transport is None:
            plain.abort()
            self.connection_lost(None)  # the loop tells us nothing of a link that was lost amid the handshake
            raise ConnectionResetError
        self._transport = transport
        transport.set_write_buffer_limits(high=_UNSENT)
        self.session.tls = True

    @property
    def listener_hides(self) -> frozenset[str]:
        return self._listener.hide

    @property
    def secured(self) -> ssl.SSLObject | None:
        return None if self._transport is None else self._transport.get_extra_info("ssl_object")

    def _flush(self) -> None:
        if self._out:
            octets = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self._out_size = 0
            if self._transport is not None and not self._transport.is_closing():
                self._transport.write(octets)

    # ---- obeying

    def _turn(self) -> None:
        """Obey the commands that are here until one must wait, the client takes no answers, or others want their turn."""
        for _ in range(_TURN):
            if self.session.ending or self._writable is not None:
                break
            line = self._lines.next()
            if line is None:
                break
            step = self._obey(line)
            if not isinstance(step, bytes):
                self._start(step, parse(line).verb)
                return
            self.write(step)
        else:
            self._waits_turn = True
            asyncio.get_running_loop().call_soon(self._again)
        self._pause()

    def _again(self) -> None:
        self._waits_turn = False
        if not self._busy and not self.session.ending:
            self._turn()

    def _pause(self) -> None:
        """Nothing is at work: send what was answered, listen, or hang up."""
        if self.session.ending:
            self._end(b"")
        elif self.server.draining and self.idle:
            self._end(_LEAVING)
        else:
            self._flush()
            if self._writable is None:
                self._resume_reading()

    def _obey(self, line: bytes) -> Step:
        session = self.session
        command = parse(line)
        verb = VERBS.get(command.verb) or brought_verb(session, command.verb)
        if verb is None or len(line) > MAX_LINE + (12288 if command.verb == "AUTH" else 0):
            session.ending = command.verb in FOREIGN
            return self._refused(err("command not known" if verb is None else "line too long"))
        if verb.state != "any" and (verb.state == "transaction") != (session.maildrop is not None):
            return self._refused(err("log in first" if session.maildrop is None else "logged in already"))
        if verb.argument != "free" and bool(command.argument) != (verb.argument == "one"):
            return self._refused(err("no argument expected" if command.argument else "argument missing"))
        try:
            return verb.run(session, command.argument)
        except Refusal as exc:
            return self._refused(exc.octets)
        except Exception:  # noqa: BLE001  # a bug: logged with its traceback, the connection survives
            self.server.log.error("pop3.bug", session=session.id, user=session.user, command=command.verb, exc_info=True)  # noqa: G201
            return _BUG

    def _refused(self, answer: bytes) -> bytes:
        self._errors += 1
        if self._errors >= self.server.config.limits.errors:
            self.session.end("errors")
        return answer

    def _start(self, work: Awaitable[bytes], name: str) -> None:
        self._busy = True
        self._task = self.server.tasks.spawn(self._work(work, name), "pop3")

    async def _work(self, work: Awaitable[bytes], name: str) -> None:
        """Wait for the answer of one verb, then go on with what came meanwhile."""
        session = self.session
        try:
            answer = await work
        except Refusal as exc:
            answer = self._refused(exc.octets)
        except ConnectionResetError:
            session.ending, answer = True, b""
            self._out.clear()
        except MailError as exc:
            self.server.log.warning("pop3.failed", session=session.id, user=session.user, detail=str(exc))
            answer = _TEMPORARY
        except Exception:  # noqa: BLE001  # as in _obey
            self.server.log.error("pop3.bug", session=session.id, user=session.user, command=name, exc_info=True)  # noqa: G201
            answer = _BUG
        finally:
            self._busy = False
            self._task = None
        if answer:
            self.write(answer)
        if self._transport is None:
            session.leave()
        else:
            self._turn()

    async def _greet(self) -> bytes:
        """Ask the ``smtp_connect`` hooks before anything is said."""
        plan = self.server.hooks.smtp_connect
        try:
            decision = await plan.verdict(session=self.session)  # type: ignore[union-attr]  # asked only when it is there
        except TemporaryFailure:
            self.session.end("refused")
            return _TEMPORARY
        verdict = decision.verdict
        if verdict is not None and verdict.action in (Action.REJECT, Action.DEFER):
            self.session.end("refused")
            return err(verdict.text or "not welcome", "SYS/TEMP" if verdict.action is Action.DEFER else "SYS/PERM")
        return ok("ready")

    # ---- reading and ending

    def _hold_reading(self) -> None:
        if self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self._reading and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    def _end(self, last_words: bytes) -> None:
        self.session.ending = True
        if last_words:
            self.write(last_words)
        self._flush()
        self.session.leave()
        self._stuck_since, self._stuck_size = self.server.clock.monotonic(), -1
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()

    @property
    def working(self) -> bool:
        """There is something to do, and it does not wait for the client."""
        return self._waits_turn or (self._busy and (self._more is None or self._more.done()))

    @property
    def idle(self) -> bool:
        """Can be told to go away without harm: nothing is at work, nothing is marked that QUIT would remove."""
        maildrop = self.session.maildrop
        return not self._busy and not (maildrop is not None and maildrop.deleted)

    def dismiss(self) -> None:
        """The server drains."""
        if self.idle:
            self._end(_LEAVING)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def check_time(self, now: float) -> None:
        """Called every few seconds: end what is silent too long, cut off what takes no octets."""
        transport = self._transport
        if transport is None:
            return
        if self._writable is not None or self.session.ending:
            size = transport.get_write_buffer_size()
            if self._stuck_size < 0 or size < self._stuck_size:
                self._stuck_since, self._stuck_size = now, size
            elif now - self._stuck_since > _STALLED:
                self.server.log.info("pop3.stalled", session=self.session.id, user=self.session.user)
                self.session.end("timeout")
                transport.abort()
            return
        limits = self.server.config.limits
        longest = limits.pop3_idle_timeout if self.session.maildrop is not None else min(_BEFORE_LOGIN, limits.command_timeout)
        if now - self._heard > longest and (not self._busy or self._more is not None):
            self.session.end("timeout")
            self._end(err("idle for too long", "SYS/TEMP"))  # RFC 1939 §3: no UPDATE, nothing is removed


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    return bool(networks and address) and any(ip_address(address) in network for network in networks)


def _address(name: object) -> tuple[str, int]:
    """Address and port of a socket name; a Unix socket has neither."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else ("", 0)
