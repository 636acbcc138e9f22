"""One TCP connection: octets in, commands run in order, octets out.

There is a task only while commands wait, so an idle connection is a few objects; commands that need not wait are run where their
octets arrive. Bounds: input beyond ``_READ_AHEAD``
stops reading from the socket; unsent output beyond ``_UNSENT`` stops the command that makes it; a client that takes nothing
for ``_STALLED`` seconds is cut off. Nothing that came before the TLS handshake survives it (RFC 9051 §6.2.1).
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import secrets
import ssl
from collections.abc import Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, cast

from mta.imapd import answer
from mta.imapd.deflate import Deflate
from mta.imapd.incoming import Incoming
from mta.imapd.message_limit import LIMITED, run_limited
from mta.imapd.place import recheck
from mta.imapd.session import Peer, Session
from mta.imapd.verbs import VERBS, greeting
from mta.model.errors import MailError, OverQuota, TemporaryFailure
from mta.model.verdict import Action
from mta.net.alpn import check_alpn
from mta.net.listener import ListenerSpec, Network
from mta.net.sni import context_for
from mta.wire.imap.command import Command
from mta.wire.imap.decoder import BEFORE_LOGIN, Overflow, Wanted
from mta.wire.proxy import read_proxy

if TYPE_CHECKING:
    from mta.imapd.contexts import Contexts
    from mta.imapd.selected import Selected
    from mta.imapd.server import ImapServer

_READ_AHEAD = 256 * 1024
_UNSENT = 64 * 1024
_CHUNK = 64 * 1024
_STALLED = 30.0
_TURN = 0.005
"""Seconds of work after which other sessions get their turn."""
_BEFORE_LOGIN = 60.0


class Connection(asyncio.Protocol):
    """The protocol object of one client."""

    def __init__(self, server: "ImapServer", listener: ListenerSpec) -> None:
        self.server = server
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._out_size = 0
        self._task: asyncio.Task[None] | None = None
        self._at_work = False
        self._more: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._reading = True
        self._proxy: bytes | None = None
        """What came of the header that a balancer sends first; None: no balancer, or it is complete."""
        self._deflate: Deflate | None = None
        self._errors = 0
        self._turn = 0.0
        self.heard = 0.0
        self._stuck_since = 0.0
        self._stuck_size = 0
        self.session = Session(server, self, Peer(""))
        self._incoming = Incoming(server, self.session)
        self._decoder = self._incoming.decoder

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_UNSENT, low=_UNSENT // 4)
        self.heard = self.server.clock.monotonic()
        peer = self.session.peer
        peer.id = secrets.token_hex(6)
        peer.client_ip, peer.client_port = _address(transport.get_extra_info("peername"))
        peer.local_ip, peer.local_port = _address(transport.get_extra_info("sockname"))
        peer.tls = self._listener.tls or transport.get_extra_info("ssl_object") is not None
        if not self.server.join(self):
            self.session.end("refused")
            self._end(b"* BYE [UNAVAILABLE] too many connections\r\n")
        elif self._listener.proxy_protocol and _is_in(peer.client_ip, self._listener.proxy_protocol):
            self._proxy = b""
        else:
            self._begin()

    def _begin(self) -> None:
        """The client is known: greet it."""
        if self.server.hooks.smtp_connect is None:
            self.write(greeting(self.session))
            self._flush()
        else:
            self._task = self.server.tasks.spawn(self._greet(), "imap.greet")

    def data_received(self, data: bytes) -> None:
        self.heard = self.server.clock.monotonic()
        if self._proxy is not None:
            data = self._read_proxy(self._proxy + data)
            if not data:
                return
        if self._deflate is None:
            self._decoder.feed(data)
        else:
            self._deflate.feed(data)
            self._unpack()
        if self._decoder.buffered > _READ_AHEAD and self._reading and self._task is not None and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()
        if self._more is not None:
            if not self._more.done():
                self._more.set_result(None)
        elif not self.working and not self.session.ending:
            if self.session.user is not None and self.server.prompt:
                self._at_work = True
                self._task = self.server.tasks.start(self._run(), "imap.session")
            else:
                self._task = self.server.tasks.spawn(self._run(), "imap.session")

    def _unpack(self) -> bool:
        """Give the decoder compressed octets that wait, unless it has enough. False: there are none."""
        deflate = self._deflate
        if deflate is None or not deflate.waits():
            return False
        enough = self._decoder.buffered > _READ_AHEAD
        if not enough:
            try:
                self._decoder.feed(deflate.take())
            except ValueError:
                self.session.end("errors")
                self._end(b"* BYE what you send is not compressed as it should be\r\n")
                return False
        if deflate.waits() and self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()
        return not enough

    def _read_proxy(self, octets: bytes) -> bytes:
        """Take the balancer's word for who the client is (mta.wire.proxy). Returns what follows."""
        try:
            found = read_proxy(octets)
        except ValueError:
            self.server.log.warning("imap.proxy", session=self.session.peer.id, client=self.session.peer.client_ip)
            self._end(b"")
            return b""
        if found is None:
            self._proxy = octets
            return b""
        self._proxy = None
        if found.client_ip:
            peer = self.session.peer
            peer.client_ip, peer.client_port = found.client_ip, found.client_port
            peer.local_ip, peer.local_port = found.local_ip, found.local_port
        self._begin()
        return octets[found.size :]

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._decoder.forget()
        self.session.ahead.clear()
        self._tell_end()
        self.session.ending = True
        if self.session.watch is not None:
            self.session.watch.close()
        self.server.leave(self)
        if self._task is not None:
            self._task.cancel()
        for future in (self._more, self._writable):
            if future is not None and not future.done():
                future.set_result(None)
        self.session.leave()

    def _tell_end(self) -> None:
        self.server.login.left("imap", self.session.peer)
        if (plan := self.server.hooks.smtp_disconnect) is not None:
            session = self.session
            reason = session.reason or ("shutdown" if self.server.draining else "closed" if session.ending else "lost")
            self.server.tasks.spawn(plan.notify(session=session.peer, reason=reason), "imap.notify")

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()
        self._stuck_since, self._stuck_size = self.server.clock.monotonic(), -1

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # ---- Out

    def write(self, octets: bytes) -> None:
        self._out.append(octets)
        self._out_size += len(octets)
        if self._out_size >= _CHUNK:
            self._flush(whole=False)

    def _flush(self, *, whole: bool = True) -> None:
        """``whole``: the client is to have all of it now; more is coming otherwise."""
        if self._out or (whole and self._deflate is not None and self._deflate.held):
            octets = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self._out_size = 0
            if self._deflate is not None:
                octets = self._deflate.pack(octets, flush=whole)
            if self._transport is not None and not self._transport.is_closing():
                self._transport.write(octets)

    def flush(self) -> None:
        self._flush()

    async def drain(self) -> None:
        if self._transport is None:
            raise ConnectionResetError
        if self._writable is not None:
            await self._writable
            if self._transport is None:
                raise ConnectionResetError
            self._turn = self.server.clock.monotonic()
        elif self.server.clock.monotonic() - self._turn > _TURN:
            await asyncio.sleep(0)
            self._turn = self.server.clock.monotonic()

    async def line(self, longest: int) -> bytes:
        while True:
            line = self._decoder.line(longest)
            if isinstance(line, Overflow):
                raise answer.bad(b"line too long")
            if line is not None:
                return line
            if self._unpack():
                continue
            self._flush()
            self._more = asyncio.get_running_loop().create_future()
            self._resume_reading()
            try:
                await self._more
            finally:
                self._more = None
            if self._transport is None:
                raise ConnectionResetError

    async def start_tls(self) -> None:
        """Answer was written; octets that the client sent beyond its command end the connection."""
        plain = self._transport
        if self._decoder.buffered or plain is None or self.server.tls is None:
            self._end(b"")
            return
        loop = asyncio.get_running_loop()
        try:
            sock = plain.get_extra_info("socket")
            context = await context_for(self.server.tls, self.session.peer, sock, plain.pause_reading, self._flush)
            self._flush()
            transport = await loop.start_tls(plain, self, context, server_side=True, ssl_handshake_timeout=30)
            if transport is not None:
                check_alpn(transport, "imap")
        except (OSError, TimeoutError):
            self._end(b"")
            return
        if transport is None:
            return
        self._transport = transport
        transport.set_write_buffer_limits(high=_UNSENT, low=_UNSENT // 4)
        self.session.peer.tls = True

    def compress(self) -> None:
        self._flush()
        self._deflate = Deflate()

    @property
    def compressed(self) -> bool:
        return self._deflate is not None

    @property
    def pipelined(self) -> bool:
        return self._decoder.buffered > 0

    @property
    def listener_hides(self) -> frozenset[str]:
        return self._listener.hide

    @property
    def secured(self) -> ssl.SSLObject | None:
        return None if self._transport is None else self._transport.get_extra_info("ssl_object")

    def logged_in(self) -> None:
        self._decoder.bounds = self.server.bounds

    def logged_out(self) -> None:
        self._decoder.bounds = BEFORE_LOGIN

    # ---- running

    async def _greet(self) -> None:
        """Ask the ``smtp_connect`` hooks before anything is said."""
        refusal = await self._refusal()
        if refusal:
            self._task = None
            self.session.end("refused")
            self._end(b"* BYE %b\r\n" % refusal)
            return
        self.write(greeting(self.session))
        await self._run()

    async def _refusal(self) -> bytes:
        """Why this client is not served, or nothing."""
        try:
            plan = self.server.hooks.smtp_connect
            verdict = None if plan is None else (await plan.verdict(session=self.session.peer)).verdict
        except TemporaryFailure:
            return b"[UNAVAILABLE] try again later"
        except Exception:  # noqa: BLE001  # a bug of ours or of a hook's plan; the client hears nothing of it
            self.server.log.error("imap.failed", session=self.session.peer.id, command="greeting", exc_info=True)  # noqa: G201
            return b"[SERVERBUG] internal error"
        if verdict is None or verdict.action not in (Action.REJECT, Action.DEFER):
            return b""
        code = b"UNAVAILABLE" if verdict.action is Action.DEFER else b"CONTACTADMIN"
        return b"[%b] %b" % (code, answer.readable(verdict.text) or b"not welcome")

    async def _run(self) -> None:
        """Run the commands that are here, then end; the next octets start another task."""
        try:
            self._turn = self.server.clock.monotonic()
            while not self.session.ending:
                command = self._incoming.next()
                if isinstance(command, Command):
                    await self._execute(command)
                elif isinstance(command, Wanted):
                    self.write(b"+ go ahead\r\n")
                    self._flush()
                elif command is not None:
                    self._end(b"* BYE [LIMIT] %b\r\n" % command.text.encode("ascii"))
                elif not await self._incoming.make_room() and not self._unpack():
                    if self.session.watch is None or not self.session.watch.due:
                        break
                    await self.session.watch.tell()
                if self.server.clock.monotonic() - self._turn > _TURN or self._writable is not None:
                    await self.drain()
        except ConnectionResetError:
            self.session.ending = True
        finally:
            self._task = None
            self._at_work = False
        if self.session.ending:
            self._end(b"")
        elif self.server.draining:
            self._end(b"* BYE [UNAVAILABLE] server is shutting down\r\n")
        else:
            self._flush()
            self._resume_reading()

    def _resume_reading(self) -> None:
        if not self._reading and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    async def _execute(self, command: Command) -> None:
        """Run one command and write its tagged answer."""
        session = self.session
        session.tag = command.tag
        try:
            if not command.verb:
                raise command.value
            verb = VERBS[command.verb]
            verb.check(session)
            if session.selected is not None and session.selected.reader:
                await recheck(session, session.selected)
            if self.server.config.limits.imap_messages and command.verb in LIMITED:
                reply = await run_limited(session, command.verb, verb, command.value)
            else:
                reply = await verb.run(session, command.value)
            if reply is None:
                return
            if session.selected is not None:
                await session.catch_up(expunge=verb.expunge)
        except answer.Answer as exc:
            reply = exc.octets
            if reply.startswith(b"BAD"):
                self._errors += 1
        except ConnectionResetError:
            raise
        except MailError as exc:
            reply = answer.of_error(exc, target=command.verb in _TARGETS)
            if isinstance(exc, OverQuota) and (hooks := self.server.hooks).mailbox_event is not None:
                hooks.occurrences.tell("QuotaExceed", self.session.peer.user, command=command.verb)
            if reply is answer.SERVERBUG or isinstance(exc, TemporaryFailure):
                self.server.log.warning("imap.refused", session=session.peer.id, command=command.verb, detail=str(exc))
        except Exception:  # noqa: BLE001  # a bug: logged with its traceback, the connection survives
            log = self.server.log.bind(session=session.peer.id, user=session.peer.user)
            log.error("imap.failed", command=command.verb, exc_info=True)  # noqa: G201
            reply = answer.SERVERBUG
        session.reply(reply)
        if self._errors >= self.server.config.limits.errors:
            self.write(b"* BYE too many errors\r\n")
            session.end("errors")

    # ---- ending

    def _end(self, last_words: bytes) -> None:
        self.session.ending = True
        if last_words:
            self.write(last_words)
        self._flush()
        self.session.leave()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()

    @property
    def working(self) -> bool:
        """A command runs."""
        return self._task is not None or self._at_work

    @property
    def waiting(self) -> bool:
        """The command at work waits for a line of the client."""
        return self._more is not None and not self._more.done()

    def dismiss(self) -> None:
        """The server drains: a client that waits is told at once, a busy one after its commands."""
        if not self.working:
            self._end(b"* BYE [UNAVAILABLE] server is shutting down\r\n")

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
            if self._stuck_size < 0 or size < self._stuck_size or not self._stuck_since:
                self._stuck_since, self._stuck_size = now, size
            elif now - self._stuck_since > _STALLED:
                self.server.log.info("imap.stalled", session=self.session.peer.id, user=self.session.peer.user)
                self.session.end("timeout")
                transport.abort()
            return
        limits = self.server.config.limits
        if self.session.user is None:
            longest = min(_BEFORE_LOGIN, limits.command_timeout)
        elif self._decoder.amid and not self.working:
            longest = limits.data_timeout
        else:
            longest = limits.imap_idle_timeout
        if now - self.heard > longest and (not self.working or self._more is not None):
            self.session.end("timeout")
            self._end(b"* BYE [UNAVAILABLE] idle for too long\r\n")

    def notify(self) -> None:
        """A command at work tells when it is done."""
        if not self.working and not self.session.ending and self._transport is not None:
            self._task = self.server.tasks.spawn(self._run(), "imap.notify")

    def push(self) -> None:
        """Tell a client in IDLE what changed."""
        session = self.session
        if session.selected is None or session.ending:
            return
        if not session.idling:
            if session.watch is not None:
                session.watch.open_changed = True
                self.notify()
            return
        if session.selected.view.dead:
            self._end(b"* BYE [UNAVAILABLE] the selected mailbox was deleted\r\n")
        elif session.selected.revoked:
            self._end(b"* BYE [NOPERM] the selected mailbox may not be read any more\r\n")
        elif session.selected.behind:
            contexts = session.selected.contexts
            if contexts is not None:
                contexts.going(session, session.selected)
            self.write(b"".join(session.selected.catch_up(expunge=True)))
            self._flush()
            if contexts is not None:
                self.server.tasks.spawn(self._push_results(contexts, session.selected), "imap.push")

    async def _push_results(self, contexts: "Contexts", selected: "Selected") -> None:
        """Searches that are kept up to date for a client in IDLE: that takes looking into messages."""
        try:
            await contexts.changed(self.session, selected, idle=True)
        except (MailError, ConnectionResetError) as exc:  # it is told with its next command
            self.server.log.info("imap.wake", session=self.session.peer.id, detail=str(exc))
        if self.session.idling:
            self._flush()


def _address(info: Any) -> tuple[str, int]:
    """Address and port of a socket name; a Unix socket has neither."""
    if isinstance(info, Iterable) and not isinstance(info, str | bytes):
        parts = list(info)
        if len(parts) >= 2:
            return str(parts[0]), int(parts[1])
    return "", 0


def _is_in(address: str, networks: Iterable[Network]) -> bool:
    try:
        client = ip_address(address)
    except ValueError:
        return False
    return any(client in network for network in networks)


_TARGETS = frozenset({"APPEND", "COPY", "UID COPY", "MOVE", "UID MOVE", "REPLACE", "UID REPLACE"})
