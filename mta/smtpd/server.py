"""The SMTP server of one worker: what all its connections share, who may connect, and the watchdog over deadlines.

One timer looks at all connections once a second: no connection and no command has a timer of its own, so deadlines are met
within a second, which is all that timeouts of minutes need.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import pwd
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Coroutine
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from mta.config.sections import Config
from mta.directory.login import Login
from mta.directory.resolve import Resolver
from mta.directory.sasl import Sasl
from mta.directory.senders import Senders
from mta.model.message import Origin
from mta.model.reply import Reply
from mta.net.listener import ListenerSpec
from mta.net.prompt import promptly
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.obs.metrics import CONNECTIONS
from mta.pipeline.hooks import Decision, Hooks, Plan
from mta.pipeline.pipeline import Pipeline
from mta.pipeline.refusals import Refusals
from mta.smtpd import replies, simple
from mta.smtpd.auth import auth
from mta.smtpd.bdat import bdat
from mta.smtpd.data import data
from mta.smtpd.ehlo import greet
from mta.smtpd.etrn import etrn
from mta.smtpd.mail import mail
from mta.smtpd.protocol import STALL, SmtpProtocol, Step
from mta.smtpd.proxy import ProxyHeader
from mta.smtpd.rcpt import rcpt
from mta.smtpd.starttls import starttls
from mta.smtpd.verdicts import judge_session
from mta.smtpd.wording import word
from mta.smtpd.xclient import xclient, xforward
from mta.wire.smtp import command as wire
from mta_hooks.services import Clock

_PEERCRED = struct.Struct("3i")

VERBS: dict[type, Callable[[SmtpProtocol, Any], Step]] = {
    wire.Ehlo: greet,
    wire.Helo: greet,
    wire.Lhlo: greet,
    wire.Mail: mail,
    wire.Rcpt: rcpt,
    wire.Data: data,
    wire.Bdat: bdat,
    wire.Auth: auth,
    wire.StartTls: starttls,
    wire.Rset: simple.rset,
    wire.Noop: simple.noop,
    wire.Vrfy: simple.vrfy,
    wire.Expn: simple.expn,
    wire.Help: simple.help,
    wire.Etrn: etrn,
    wire.Xclient: xclient,
    wire.Xforward: xforward,
    wire.Quit: simple.quit,
    wire.Unknown: simple.unknown,
}


class SmtpServer:
    """Makes the protocol objects of every SMTP listener; the app binds the sockets."""

    verbs = VERBS
    word = staticmethod(word)

    def __init__(
        self,
        *,
        config: Config,
        hooks: Hooks,
        login: Login,
        pipeline: Pipeline,
        resolver: Resolver,
        clock: Clock,
        log: Log,
        tls: ssl.SSLContext | None,
        tasks: Tasks,
        refusals: Refusals | None = None,
    ) -> None:
        """``refusals``: where what is not taken is noted for the trace."""
        self.hooks, self.login, self.pipeline, self.resolver = hooks, login, pipeline, resolver
        self.clock, self.log, self.tls, self.tasks = clock, log, tls, tasks
        self.sasl = Sasl("smtp", hooks, login, config.auth)
        self.time = clock.monotonic
        self.refusals = refusals
        self.flush: Callable[[str], Awaitable[int]] | None = None  # makes what waits for a domain due, for ETRN
        self.hostname = config.hostname or socket.gethostname()
        limits = config.limits
        self.message_size, self.memory = limits.message_size, limits.memory_per_message
        self.max_recipients, self.max_errors = limits.recipients, limits.errors
        self.command_timeout, self.data_timeout = limits.command_timeout, limits.data_timeout
        self.transaction_timeout, self.data_rate = limits.transaction_timeout, limits.data_rate
        self._greeting_delay, self.error_delay = config.smtp.greeting_delay, config.smtp.error_delay
        self.max_failures, self.failure_delay = config.auth.max_failures, config.auth.failure_delay
        self.spool_folder = os.path.join(config.data_dir, "tmp")
        self._plaintext = config.auth.plaintext_without_tls
        self._max_connections, self._max_per_client = limits.connections, limits.connections_per_client
        self.future_release, self.deliver_by_minimum = config.smtp.future_release, config.smtp.deliver_by_minimum
        self.etrn = frozenset(config.smtp.etrn)
        self.offers = offers(config)
        self.senders = Senders(resolver, config.submission.senders)
        self.sender_check, self.from_check = config.submission.sender_check == "own", config.submission.from_check == "own"
        self._proxies = tuple(ip_network(text, strict=False) for text in config.smtp.xclient)
        self._relay = tuple(ip_network(text, strict=False) for text in config.relay.networks)
        self._is_relay = lru_cache(maxsize=4096)(self._in_relay_network)
        self._links: set[SmtpProtocol] = set()
        self._clients: dict[str, int] = {}
        self._prefix = os.urandom(4).hex()
        self._made = 0
        self._watch: asyncio.TimerHandle | None = None
        self._draining = False
        self._emptied: asyncio.Event | None = None

    def factory(self, listener: ListenerSpec) -> Callable[[], SmtpProtocol]:
        """What the loop's ``create_server`` calls for each connection of this listener."""
        return lambda: SmtpProtocol(self, listener)

    @property
    def connections(self) -> int:
        return len(self._links)

    def takes_passwords(self, link: SmtpProtocol) -> bool:
        return (link.peer.tls or self._plaintext) and not link.spec.local

    def origin(self, link: SmtpProtocol) -> Origin:
        if link.spec.local:
            return "local"
        if link.peer.user or link.spec.protocol == "submission":
            return "submission"
        return "lmtp" if link.spec.protocol == "lmtp" else "smtp"

    @property
    def latest_release(self) -> float:
        """Until when a message may be held, wall clock: a full hour, so that what EHLO says does not change by the second."""
        return -(-(self.clock.now() + self.future_release) // 3600.0) * 3600.0

    # ---- connections

    def opened(self, link: SmtpProtocol, transport: asyncio.Transport) -> None:
        """A connection was accepted: say who it is, then greet it or wait for its PROXY header."""
        self._links.add(link)
        if self._watch is None:
            self._watch = asyncio.get_running_loop().call_later(1.0, self._look)
        link.deadline = self.time() + self.command_timeout
        peer, spec = link.peer, link.spec
        self._made += 1
        peer.id = f"{self._prefix}-{self._made:x}"
        peer.protocol = "local" if spec.local else spec.protocol
        CONNECTIONS[peer.protocol].value += 1
        if spec.path:
            if spec.local:
                link.trusted = True
                peer.user = f"{_unix_user(transport)}@{self.hostname}"
        else:
            peer.client_ip, peer.client_port = _end(transport.get_extra_info("peername"))
            peer.local_ip, peer.local_port = _end(transport.get_extra_info("sockname"))
        if spec.tls:
            peer.tls, peer.cipher = True, link.tls_cipher
        if spec.proxy_protocol and peer.client_ip and any(ip_address(peer.client_ip) in net for net in spec.proxy_protocol):
            link.reader = ProxyHeader(link)
            link.deadline = link.reader.deadline
            return
        self.introduce(link)
        link.start(self.admit(link))

    def introduce(self, link: SmtpProtocol) -> None:
        """The machine at the other end is known by now: may it speak for others?"""
        if self._proxies and link.peer.client_ip:
            address = ip_address(link.peer.client_ip)
            link.speaks_for_others = any(address in network for network in self._proxies)

    def admit(self, link: SmtpProtocol) -> Step:
        """The greeting, or why there is none. The client's address is the true one by now."""
        peer, spec = link.peer, link.spec
        if peer.client_ip:
            link.trusted = self._is_relay(peer.client_ip)
            link.counted = site_of(peer.client_ip)
            self._clients[link.counted] = count = self._clients.get(link.counted, 0) + 1
            if count > self._max_per_client and not link.trusted:
                self.log.info("smtp.too_many_connections", client=peer.client_ip, session=peer.id)
                if self.refusals is not None:
                    self.refusals.add("connect", replies.TOO_MANY_CONNECTIONS, peer)
                link.reason = "refused"
                return replies.TOO_MANY_CONNECTIONS
        room = self._max_connections
        if spec.protocol == "smtp" and not link.trusted:
            room -= room // 10  # users and our own hosts come in when strangers fill the rest
        if self._draining or len(self._links) > room:
            link.reason = "refused"
            return replies.SHUTDOWN if self._draining else replies.BUSY
        self.log.debug("smtp.connected", session=peer.id, client=peer.client_ip, listener=link.spec.url)
        if self._greeting_delay and spec.protocol == "smtp" and not link.trusted:
            return self._quiet(link)
        return self._met(link)

    async def _quiet(self, link: SmtpProtocol) -> Reply:
        """Who speaks before the greeting is no mail server (RFC 5321 §3.1)."""
        await self.clock.sleep(self._greeting_delay)
        if link.lines.waiting:
            link.reason = "refused"
            self.log.info("smtp.early", session=link.peer.id, client=link.peer.client_ip)
            if self.refusals is not None:
                self.refusals.add("connect", replies.EARLY, link.peer)
            return replies.EARLY
        greeting = self._met(link)
        return greeting if isinstance(greeting, Reply) else await greeting

    def _met(self, link: SmtpProtocol) -> Reply | Coroutine[Any, Any, Reply]:
        peer = link.peer
        connect, tls = self.hooks.smtp_connect, self.hooks.smtp_tls if peer.tls else None
        asked = None if connect is None else connect.prompt_verdict(session=peer)
        if asked is None and tls is None:
            return self._greeting(link)
        return promptly(self._judged(link, asked))

    async def _judged(self, link: SmtpProtocol, asked: Coroutine[Any, Any, Decision] | None) -> Reply:
        """What plugins say of the connection, then of the TLS session it began with."""
        reply = None if asked is None else judge_session(link, "smtp.connect.refused", await asked)
        if reply is None and link.peer.tls and (plan := self.hooks.smtp_tls) is not None:
            reply = judge_session(link, "smtp.tls.refused", await plan.verdict(session=link.peer, tls=link.tls))
        if reply is None:
            return self._greeting(link)
        link.reason = "refused"
        code = 421 if reply.temporary else 554  # RFC 5321 §4.3.2: the only refusals a greeting knows
        return Reply(code, reply.enhanced, reply.text, close=True)

    def _greeting(self, link: SmtpProtocol) -> Reply:
        return Reply(220, "", f"{self.hostname} {'LMTP' if link.spec.protocol == 'lmtp' else 'ESMTP'}")

    def tell(self, plan: Plan, **arguments: Any) -> None:
        """Let plugins know; nobody waits for them."""
        if (told := plan.prompt_notify(**arguments)) is not None:
            self.tasks.start(told, "smtp-notify")

    def closed(self, link: SmtpProtocol) -> None:
        if link in self._links:
            link.end_transaction("disconnect")
            if link.peer.user and not link.spec.local:
                self.login.left("smtp", link.peer)
            if (plan := self.hooks.smtp_disconnect) is not None:
                self.tell(plan, session=link.peer, reason=link.reason or "lost")
        self._links.discard(link)
        self.uncount(link)
        if not self._links and self._emptied is not None:
            self._emptied.set()

    def uncount(self, link: SmtpProtocol) -> None:
        """It is no more a connection of the client it counted for."""
        if link.counted:
            left = self._clients[link.counted] - 1
            if left:
                self._clients[link.counted] = left
            else:
                del self._clients[link.counted]
            link.counted = ""

    # ---- time

    def _look(self) -> None:
        """Once a second: end what waited too long."""
        now = self.time()
        for link in list(self._links):
            if link.stalled and not link.closing:
                buffered = link.buffered
                if buffered < link.unsent:
                    link.unsent, link.deadline = buffered, now + STALL
                elif now > link.deadline:
                    self.log.info("smtp.stalled", session=link.peer.id, client=link.peer.client_ip, unsent=buffered)
                    link.abort()
            elif now > link.deadline:
                if link.closing:
                    link.abort()
                else:
                    self.log.info("smtp.timeout", session=link.peer.id, client=link.peer.client_ip)
                    link.dismiss(link.reader.overdue if link.reader is not None else replies.IDLE, "timeout")
            elif self._draining and link.idle and not link.closing:
                link.dismiss(replies.SHUTDOWN, "shutdown")
        self._watch = asyncio.get_running_loop().call_later(1.0, self._look) if self._links else None

    async def drain(self, grace: float) -> None:
        """Greet nobody any more, say 421 to whoever waits for nothing, let the others finish for ``grace`` seconds, then cut."""
        self._draining = True
        self._emptied = asyncio.Event()
        for link in list(self._links):
            if link.idle and not link.closing:
                link.dismiss(replies.SHUTDOWN, "shutdown")
        if self._links:
            try:
                await asyncio.wait_for(self._emptied.wait(), grace)
            except TimeoutError:
                pass
        for link in list(self._links):
            link.abort()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _in_relay_network(self, client: str) -> bool:
        address = ip_address(client)
        return any(address in network for network in self._relay)


@lru_cache(maxsize=4096)
def site_of(client: str) -> str:
    """Who counts as one client: an IPv4 address, or the /64 that one IPv6 host can draw from."""
    return str(ip_network(f"{client}/64", strict=False)) if ":" in client else client


def offers(config: Config) -> tuple[str, ...]:
    """Extensions that are offered to everybody alike, with what they say of us."""
    lines = [
        f"LIMITS RCPTMAX={config.limits.recipients}",  # RFC 9422
        f"DELIVERBY {int(config.smtp.deliver_by_minimum)}",  # RFC 2852 §4
        "MT-PRIORITY",  # RFC 6710
    ]
    if config.smtp.etrn:
        lines.append("ETRN")
    return tuple(lines)


def _end(name: object) -> tuple[str, int]:
    """Address and port of a socket's end; IPv4 behind an IPv6 socket is IPv4."""
    if not isinstance(name, tuple) or len(name) < 2:
        return "", 0
    ip = str(name[0])
    if ip.startswith("::ffff:") and "." in ip:
        ip = ip[7:]
    return ip.partition("%")[0], int(name[1])


def _unix_user(transport: asyncio.Transport) -> str:
    """The name of the account on the other side of a Unix socket, by the kernel's word."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return "unknown"
    _, uid, _ = _PEERCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size))
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid{uid}"
