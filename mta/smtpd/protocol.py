"""One SMTP connection: octets to commands, replies to octets, and the order between them.

``SmtpProtocol`` stands on aiosmtpd's ``SMTP`` class and keeps its place in the event loop (a protocol that the loop's server
makes, whose transport is exchanged by STARTTLS); PROXY headers go through aiosmtpd's parser (proxy.py). What that class lacks
or gets wrong is replaced here: its constructor reflects over every method and asks the resolver for its own name; its reader
stops at 1,001 octets; it writes each reply alone, knows no PIPELINING and shares its size limits between sessions.

No task runs while a client is idle. ``data_received`` obeys what it can at once, hooks that do not wait included; the first verb
that must wait (the directory, the commit) goes on in one task, which then obeys what has arrived meanwhile and ends. Replies of
one turn leave in one write (RFC 2920 §3.2). A turn ends after ``TURN`` commands, so that no peer holds the loop.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any, cast

import aiosmtpd.smtp

from mta.model.errors import Refused, TemporaryFailure
from mta.model.reply import Reply
from mta.net.alpn import check_alpn
from mta.net.listener import ListenerSpec
from mta.net.prompt import own_task, promptly
from mta.net.sni import context_for
from mta.pipeline.session import MailSession
from mta.pipeline.transaction import MailTransaction
from mta.smtpd import replies
from mta.smtpd.lines import Lines
from mta.smtpd.reader import Reader
from mta.wire.smtp.command import MAX_AUTH_LINE, MAX_LINE, parse
from mta_hooks.views import Tls

if TYPE_CHECKING:
    from mta.smtpd.bdat import Chunks
    from mta.smtpd.server import SmtpServer

Step = Reply | None | Coroutine[Any, Any, Reply | None]
"""What a verb gives: its reply, nothing to say, or work that must wait and then says it."""


async def settled(step: Step) -> Reply | None:
    """What a step comes to. From here on there is a task: a step may need one before it first waits."""
    if step is None or isinstance(step, Reply):
        return step
    await own_task()
    return await step


TURN = 200  # commands in one turn of the event loop: about 5 ms
HIGH_WATER = 65536  # octets unread by us, or unsent by the peer's reading, at which the other direction stops
STALL = 30.0  # seconds that a peer may read nothing of what waits for it
LINGER = 5.0  # seconds a refused peer may go on sending before the connection is cut, so that it can read why
NEVER = float("inf")


class SmtpProtocol(aiosmtpd.smtp.SMTP):
    """One connection.

    peer         the session as hooks see it
    trusted      a relay network or the local socket: may send to any domain
    speaks_for_others  the machine at the other end may name its clients (XCLIENT); stays so when it does
    counted      the client address it counts for
    failures     wrong passwords; ``errors``: refused commands; ``junk``: commands since the last message that did no work
    dialogue     who takes the next line instead of the verbs: an AUTH exchange
    reader       who takes octets instead of lines: a message
    chunks       the message that comes by BDAT, between its chunks too
    deadline     loop time at which the watchdog ends the wait for the peer
    command      the one under way, "." for the end of a message, "" before the first or when it could not be read
    reason       why the connection ended, for ``smtp_disconnect``
    unsent       octets that the peer had not read when the watchdog last looked
    """

    def __init__(self, server: "SmtpServer", spec: ListenerSpec) -> None:  # aiosmtpd's own is not called: see above
        self.server = server
        self.spec = spec
        self.peer = MailSession("", "")
        self.transaction: MailTransaction | None = None
        self.reader: Reader | None = None
        self.chunks: Chunks | None = None
        self.dialogue: Callable[[bytes], Step] | None = None
        self.trusted = self.speaks_for_others = False
        self.failures = self.errors = self.junk = 0
        self.deadline = NEVER
        self.counted = ""
        self.reason = ""
        self.command: object = ""
        self.lines = Lines()
        self.unsent = 0
        self._link: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._busy = False
        self._stalled = False
        self._paused = False
        self._closing = False
        self._ended = False
        self._scheduled = False

    # ---- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._link = cast(asyncio.Transport, transport)
        self._link.set_write_buffer_limits(high=HIGH_WATER)
        self.server.opened(self, self._link)

    def data_received(self, octets: bytes) -> None:
        if self._closing:
            return
        self.lines.add(octets)
        if self._busy or self._stalled or self._scheduled:
            self._hold()
            return
        self._advance()

    def eof_received(self) -> bool:
        """A peer may send everything, close its half and read the replies: what is under way is finished first."""
        self._ended = True
        return self.working and not self.peer.tls

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        self._link = None
        self._out.clear()
        self.reader = None
        self.server.closed(self)

    def pause_writing(self) -> None:
        """More than ``HIGH_WATER`` octets wait for the peer to read: obey nothing more until it does."""
        self._stalled = True
        self.unsent = self.buffered
        self.deadline = self.server.time() + STALL
        self._hold(always=True)

    def resume_writing(self) -> None:
        self._stalled = False
        self.lines.progressed = True
        if self._busy:
            self.deadline = NEVER
        else:
            self._again()

    # ---- called by the verbs and the server

    @property
    def stalled(self) -> bool:
        return self._stalled

    @property
    def closing(self) -> bool:
        return self._closing

    @property
    def idle(self) -> bool:
        """Waits for a command: can be told to go away without harm."""
        return not self._busy and self.reader is None

    @property
    def working(self) -> bool:
        """Something is under way that needs no octets of the peer."""
        return self._busy or self._scheduled

    @property
    def buffered(self) -> int:
        """Octets the peer has not read yet."""
        return self._link.get_write_buffer_size() if self._link is not None else 0

    def say(self, reply: Reply) -> None:
        """Add a reply to what this turn writes; counts errors."""
        if self._closing:
            return
        self._out.append(reply.encode())
        if reply.code >= 500:
            self.errors += 1
        if self.errors >= self.server.max_errors and not reply.close:
            self._out.append(replies.TOO_MANY_ERRORS.encode())
            self.reason = self.reason or "errors"
            self.close()
        if reply.close:
            self.reason = self.reason or "closed"
            self.close()

    def end_transaction(self, reason: str) -> None:
        """The transaction, if there is one, is over before its message was complete."""
        transaction, self.transaction, self.chunks = self.transaction, None, None
        if transaction is not None:
            self.tell_reset(transaction, reason)

    def tell_reset(self, transaction: MailTransaction, reason: str) -> None:
        if (plan := self.server.hooks.smtp_reset) is not None:
            self.server.tell(plan, session=self.peer, reason=reason, transaction=transaction)

    def start(self, step: Step) -> None:
        """Take a step that no octets caused: the greeting."""
        if step is not None and self.server.hooks.smtp_reply is not None:
            step = self._guard(self._worded, step)
        if isinstance(step, CoroutineType):
            self._begin(step)
        else:
            if isinstance(step, Reply):
                self.say(step)
            self._advance()

    def flush(self) -> None:
        if self._out and self._link is not None:
            self._link.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
        self._out.clear()

    def close(self) -> None:
        """Send what is to be sent, then hang up; the watchdog cuts a peer that does not let go."""
        self.flush()
        if self._closing:
            return
        self._closing = True
        self.end_transaction("disconnect")
        self.reader = None
        self.deadline = self.server.time() + LINGER
        if self._link is None:
            return
        if not self._ended and self._link.can_write_eof():
            if self._paused:
                self._paused = False
                self._link.resume_reading()
            self._link.write_eof()
        else:
            self._link.close()

    def abort(self) -> None:
        """Cut the connection at once; nothing buffered is obeyed or sent."""
        self._closing = True
        if self._link is not None:
            self._link.abort()

    def dismiss(self, reply: Reply, reason: str) -> None:
        """End the session from outside: time-out, shutdown."""
        self.reason = self.reason or reason
        self.say(reply)
        self.close()

    async def secure(self, context: ssl.SSLContext) -> bool:
        """Exchange the transport for one under TLS. Returns False when the handshake failed and the link is gone."""
        link = self._link
        if link is None:
            return False
        loop = asyncio.get_running_loop()
        try:
            context = await context_for(context, self.peer, link.get_extra_info("socket"), link.pause_reading, self.flush)
            self.flush()
            secured = await loop.start_tls(link, self, context, server_side=True, ssl_handshake_timeout=30.0)
            if secured is not None:
                check_alpn(secured, self.spec.protocol)
        except (OSError, ssl.SSLError) as exc:
            self.server.log.info("smtp.tls.failed", session=self.peer.id, client=self.peer.client_ip, detail=str(exc))
            secured = None
        if secured is None or self._link is None:
            link.abort()
            if self._link is not None:
                self.connection_lost(None)
            return False
        self._link = secured
        self._link.set_write_buffer_limits(high=HIGH_WATER)
        return True

    @property
    def tls_cipher(self) -> str:
        cipher = self._link.get_extra_info("cipher") if self._link is not None else None
        return str(cipher[0]) if cipher else ""

    @property
    def secured(self) -> ssl.SSLObject | None:
        return self._link.get_extra_info("ssl_object") if self._link is not None else None

    @property
    def tls(self) -> Tls:
        """What ``smtp_tls`` is told of the session."""
        secured = self.secured
        if secured is None:
            return Tls("", self.peer.cipher)
        return Tls(secured.version() or "", self.peer.cipher, secured.getpeercert(True))

    # ---- the turn

    def _advance(self) -> None:
        step = self._turn()
        if step is not None:
            self._begin(step)

    def _begin(self, step: Coroutine[Any, Any, Reply | None]) -> None:
        self._busy = True
        self.deadline = NEVER
        self.server.tasks.spawn(self._work(step), "smtp")

    def _turn(self) -> Coroutine[Any, Any, Reply | None] | None:
        """Obey buffered octets until one step has to wait, and return that one; else send the replies and return None."""
        for _ in range(TURN):
            if self._stalled or self._closing:
                break
            if self.reader is not None:
                if not self.lines.waiting:
                    break
                step = self._guard(self.reader.feed, self.lines.take())
            else:
                line = self.lines.next(MAX_AUTH_LINE if self.dialogue is not None or self.lines.starts_auth else MAX_LINE)
                if line is None:
                    break
                step = self._guard(self._obey, line)
            if step is not None and self.server.hooks.smtp_reply is not None:
                step = self._guard(self._worded, step)
            if step.__class__ is Reply:
                self.say(step)
            elif step is not None:
                return cast("Coroutine[Any, Any, Reply | None]", step)
        else:
            self._scheduled = True
            self._hold()
            asyncio.get_running_loop().call_soon(self._next_turn)
        self.flush()
        self._wait()
        return None

    async def _work(self, step: Coroutine[Any, Any, Reply | None] | None) -> None:
        """Finish a step that waits, then obey what came meanwhile."""
        steps = 0
        while step is not None:
            steps += 1
            if steps % TURN == 0:  # steps may find their answer without waiting, one after the other
                await asyncio.sleep(0)
            try:
                reply = await step
            except Exception as exc:  # noqa: BLE001  # a bug costs the command, not the connection
                reply = self._answer(exc)
            if reply is not None:
                self.say(reply)
            step = self._turn()
        self._busy = False
        self._rest()

    def _next_turn(self) -> None:
        self._scheduled = False
        self._again()

    def _again(self) -> None:
        if self._busy or self._stalled or self._closing or self._scheduled:
            return
        self._advance()
        self._rest()

    def _rest(self) -> None:
        """Nothing more can be done without the peer: read on, or hang up when it has said its last."""
        if self._ended and not self.working:
            self.close()
            if self._link is not None:
                self._link.close()
        else:
            self._release()

    def _obey(self, line: bytes) -> Step:
        if line is Lines.TOO_LONG or line is Lines.BARE_LF:
            self.dialogue = None
            return replies.TOO_LONG if line is Lines.TOO_LONG else replies.BARE_LF
        if self.dialogue is not None:
            return self.dialogue(line)
        self.command = ""
        self.command = command = parse(line, utf8=self.peer.esmtp)
        return self.server.verbs[command.__class__](self, command)

    def _worded(self, step: Reply | Coroutine[Any, Any, Reply | None]) -> Step:
        """The step with its reply in the words of plugins."""
        if not isinstance(step, Reply):
            return self._word(step)
        worded = self.server.word(self, step)
        return worded if isinstance(worded, Reply) else promptly(worded)

    async def _word(self, step: Coroutine[Any, Any, Reply | None]) -> Reply | None:
        reply = await step
        worded = None if reply is None else self.server.word(self, reply)
        return worded if worded is None or isinstance(worded, Reply) else await worded

    def _guard(self, function: Callable[[Any], Step], what: Any) -> Step:
        try:
            return function(what)
        except Exception as exc:  # noqa: BLE001  # a bug costs the command, not the connection
            return self._answer(exc)

    def _answer(self, exc: Exception) -> Reply:
        if isinstance(exc, Refused):
            return exc.reply
        if isinstance(exc, TemporaryFailure):
            self.server.log.warning("smtp.deferred", session=self.peer.id, detail=str(exc))
            if (refusals := self.server.refusals) is not None:
                stage = "message" if self.command == "." else self.command.__class__.__name__.lower()
                who = [str(address)] if (address := getattr(self.command, "address", None)) is not None else []
                steps = [{"error": str(exc)[:500]}]
                refusals.add(stage, replies.TEMPORARY, self.peer, transaction=self.transaction, recipients=who, steps=steps)
            return replies.TEMPORARY
        self.server.log.error("smtp.bug", session=self.peer.id, client=self.peer.client_ip, exc_info=True)  # noqa: LOG014
        return replies.BUG

    def _wait(self) -> None:
        """Set the deadline for what the peer owes us now. Pieces of a command do not move it, pieces of a message do."""
        if self._closing or self._stalled:
            return
        if self.reader is not None:
            self.deadline = min(self.server.time() + self.server.data_timeout, self.reader.deadline)
        elif self.lines.progressed:
            self.lines.progressed = False
            self.deadline = self.server.time() + self.server.command_timeout

    def _hold(self, *, always: bool = False) -> None:
        if not self._paused and self._link is not None and (always or self.lines.waiting > HIGH_WATER):
            self._paused = True
            self._link.pause_reading()

    def _release(self) -> None:
        """Read on, when nothing that made us stop is left."""
        if not self._paused or self._busy or self._stalled or self._closing or self.lines.waiting > HIGH_WATER:
            return
        if self._link is not None:
            self._paused = False
            self._link.resume_reading()
