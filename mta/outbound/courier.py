"""A connection to a destination, kept for one message after another, made anew on the next host when it breaks.

Opportunistic TLS falls back to cleartext on a new connection; a broken connection before the final dot falls back to the next
host; a lost one behind the dot is a deferral, as the message may have arrived.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Protocol

from mta.model.delivery import Leased, QueuedMessage
from mta.model.errors import TemporaryFailure
from mta.model.tls import TlsPolicy, TlsResult
from mta.net.dialer import Dialer
from mta.net.race import race
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.outbound.envelope import most_messages, most_recipients
from mta.outbound.hosts import Destination, Find, Host, NoHost, hosts, source_for
from mta.outbound.link import Link, LinkLost
from mta.outbound.login import log_in
from mta.outbound.secure import First, TlsFailed, choose_policy, demand_promise, start_tls, weaker
from mta.outbound.session import GREETING, Read, Refusal, Session, Transaction, Unfit
from mta.outbound.view import envelope_of
from mta.wire.mime.headers import headers
from mta_hooks.backends.queue import Queue
from mta_hooks.services import Dns

HEADER = 65536  # octets looked at for a header field
MAX_MESSAGES = 100  # on one connection: gives the other hosts of a destination their share


class HopDown(Exception):
    """No host of the destination could be reached or would work with us: holds for all mail to it. The text is a reply with code.

    permanent  the destination takes no mail at all (null MX, no such domain, loop): its recipients fail
    published  only what its domain published about TLS stands in the way
    """

    def __init__(self, text: str, remote: str = "", *, permanent: bool = False, published: bool = False) -> None:
        super().__init__(text)
        self.remote = remote
        self.permanent = permanent
        self.published = published


class Notified(Protocol):
    async def notify(self, **arguments: Any) -> None: ...


class OutboundHooks(Protocol):
    @property
    def mx_lookup(self) -> First | None: ...
    @property
    def tls_policy(self) -> First | None: ...
    @property
    def tls_result(self) -> Notified | None: ...


class NoHooks:
    mx_lookup = tls_policy = tls_result = None


class Result(NamedTuple):
    """What became of one recipient. ``reply`` is a reply with code.

    confirms  the hop sends success reports itself (RFC 3461)
    untimed   the hop does not know the time that the message has (RFC 2852)
    """

    leased: Leased
    code: int
    reply: str
    remote: str
    confirms: bool = False
    untimed: bool = False


class Outbound:
    """Makes couriers. ``smtp_port``: where MX listen (RFC 5321 §4.5.4.2), other than 25 in tests only."""

    def __init__(  # noqa: PLR0913  # what a delivery may touch
        self,
        *,
        hostname: str,
        dns: Dns,
        queue: Queue,
        dialer: Dialer,
        log: Log,
        connect_timeout: float,
        smtp_port: int = 25,
        hooks: OutboundHooks | None = None,
        tasks: Tasks | None = None,
        tls_policies: Mapping[str, str] | None = None,
        greeting_timeout: float = GREETING,
        source_addresses: Sequence[str] = (),
        helo: Mapping[str, str] | None = None,
    ) -> None:
        self.hostname = hostname
        self.dns = dns
        self.queue = queue
        self.dialer = dialer
        self.log = log
        self.connect_timeout = connect_timeout
        self.smtp_port = smtp_port
        self.tasks = tasks or Tasks(log)
        self.tls_policies = tls_policies or {}
        self.greeting_timeout = greeting_timeout
        self.source_addresses = source_addresses
        self.helo = helo or {}
        self.hooks: OutboundHooks = NoHooks() if hooks is None else hooks

    def open(self, destination: Destination) -> "Courier":
        """Nothing is connected before there is something to send."""
        return Courier(self, destination)


class Courier:
    def __init__(self, outbound: Outbound, destination: Destination) -> None:
        self._out = outbound
        self._destination = destination
        self._session: Session | None = None
        self._remote = self._tried = ""
        self._dialing = False
        self._most = MAX_MESSAGES

    @property
    def dialing(self) -> bool:
        """A connection is under way."""
        return self._dialing

    @property
    def hopeful(self) -> bool:
        """It has a connection, or may yet get one."""
        return self._session is not None or self._dialing

    async def deliver(self, message: QueuedMessage, recipients: Sequence[Leased], read: Read | None = None) -> list[Result]:
        """Return a result for each recipient, in any order. Raises HopDown, when nobody was asked.

        ``read`` gives other octets than those stored, of ``message.size - message.skip``.
        """
        results: list[Result] = []
        remaining, failure = list(recipients), ""
        ways = self._ways(message, recipients)
        while remaining:
            try:
                session = await self._ready(ways)
                kept = session.sent > 0
                most = most_recipients(session.features) or len(remaining)
                part, rest = remaining[:most], remaining[most:]
                transaction = Transaction(message, part, read or (lambda start, length: self._read(message, start, length)))
                failure = await self._run(session, transaction)
            except HopDown as exc:
                if not failure and not results:
                    if exc.published and await self._waives_tls(message):
                        return await self._deliver_relaxed(message, recipients, read)
                    raise
                text = f"451 4.4.2 {failure}" if failure else str(exc)
                return results + [Result(one, int(text[:3]), text, self._remote) for one in remaining]
            except TemporaryFailure as exc:
                self._out.log.warning("outbound.unreadable", id=message.id, reason=str(exc))
                return results + [Result(one, 451, "451 4.3.0 message cannot be read at present", "") for one in remaining]
            remaining = self._collect(session, transaction, failure, results) + rest
            if failure and kept:
                ways, failure = self._ways(message, recipients), ""  # a kept connection that went stale says nothing about its host
        return results

    async def _waives_tls(self, message: QueuedMessage) -> bool:
        """RFC 8689 §3, §4.2.2: "TLS-Required: No", as in reports on broken TLS. Raises TemporaryFailure."""
        if self._destination.requiretls or self._destination.relaxed:
            return False
        found = headers(await self._read(message, 0, HEADER))
        return any(name.lower() == "tls-required" and value.lower() == "no" for name, value in found)

    async def _deliver_relaxed(self, message: QueuedMessage, recipients: Sequence[Leased], read: Read | None) -> list[Result]:
        """Over a connection of its own, which carries no other mail."""
        self._out.log.info("outbound.tls_waived", id=message.id, destination=str(self._destination))
        courier = Courier(self._out, replace(self._destination, relaxed=True))
        try:
            return await courier.deliver(message, recipients, read)
        finally:
            courier.close()

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    # ---- transactions

    async def _read(self, message: QueuedMessage, start: int, length: int | None) -> bytes:
        return await self._out.queue.content(message.blob, message.skip + start, length)

    async def _run(self, session: Session, transaction: Transaction) -> str:
        """Return why the connection broke, or "". Raises what reading the message raises; half a message ends a connection."""
        try:
            await session.send(transaction)
        except LinkLost as exc:
            self.close()
            return str(exc)
        except BaseException:
            self.close()
            raise
        return ""

    def _collect(self, session: Session, transaction: Transaction, failure: str, results: list[Result]) -> list[Leased]:
        """Note what is settled; return the recipients that are to be sent again at once."""
        again: list[Leased] = []
        confirms = "DSN" in session.features
        untimed = transaction.message.deliver_by is not None and session.untimed
        taken = any(answer is not None and answer.positive for answer in transaction.answers)
        for leased, answer in zip(transaction.recipients, transaction.answers, strict=True):
            if answer is None and transaction.ended:
                text = f"451 4.4.2 {failure} after the end of the message"
                results.append(Result(leased, 451, text, self._remote))
            elif answer is None or (taken and not failure and answer.code == 452 and answer.enhanced in ("", "4.5.3")):
                # RFC 5321 §4.5.3.1.10: too many for one transaction; those it took are out of the way
                again.append(leased)
            else:
                results.append(Result(leased, answer.code, str(answer), self._remote, confirms, untimed))
        return again

    # ---- connections

    def _ways(self, message: QueuedMessage, recipients: Sequence[Leased]) -> AsyncIterator[list[Host]]:
        plan = self._out.hooks.mx_lookup
        find = None if plan is None else self._finder(plan, message, recipients)
        return hosts(self._out.dns, self._destination, self._out.hostname, self._out.smtp_port, find)

    def _finder(self, plan: First, message: QueuedMessage, recipients: Sequence[Leased]) -> Find:
        async def find(domain: str) -> Sequence[str] | None:
            try:
                names: Sequence[str] | None = await plan.first(domain=domain, envelope=envelope_of(message, recipients))
            except TemporaryFailure as exc:
                raise NoHost(f"451 4.4.3 the mail servers of {domain} are not known for now") from exc
            return names

        return find

    async def _ready(self, ways: AsyncIterator[list[Host]]) -> Session:
        """The connection at hand, or one to the next host that works. Raises HopDown."""
        if self._session is not None:
            if self._session.sent < self._most and self._session.usable:
                return self._session
            self.close()
        problem = "no host is left"
        unfit: str | None = ""  # why all hosts so far are unfit for good; None: one was not
        last: BaseException | None = None
        self._dialing = True
        try:
            async for group in ways:
                while group:
                    try:
                        self._session = await self._greet(group)
                    except (OSError, TimeoutError, LinkLost, Refusal) as exc:
                        problem, last = _reason(exc), exc
                        unfit = problem if isinstance(exc, Unfit) and unfit is not None else None
                        self._unreachable(self._tried, problem)
                    else:
                        self._remote = self._tried
                        self._most = min(MAX_MESSAGES, most_messages(self._session.features) or MAX_MESSAGES)
                        return self._session
        except NoHost as exc:
            raise self._no_way(str(exc)) from exc
        finally:
            self._dialing = False
        if unfit:
            raise HopDown(unfit, self._tried, permanent=True) from last
        published = isinstance(last, TlsFailed) and last.published
        raise HopDown(f"451 4.4.1 {problem}", self._tried or self._remote, published=published) from last

    def _no_way(self, text: str, remote: str = "") -> HopDown:
        """A mistake in a route bounces nobody's mail: the operator can mend it, and as long it waits."""
        permanent = text.startswith("5")
        if permanent and self._destination.route.host is not None:
            return HopDown(f"451 4.3.5 the next hop of a route cannot be used: {text[4:]}", remote)
        return HopDown(text, remote, permanent=permanent)

    def _unreachable(self, remote: str, reason: str) -> None:
        self._out.log.info("outbound.unreachable", destination=str(self._destination), remote=remote, reason=reason)

    async def _greet(self, group: list[Host]) -> Session:
        """A session with a host of ``group``, from which those that were tried are taken.

        Raises OSError, TimeoutError, LinkLost, Refusal; HopDown for a host that is ourselves.
        """
        host = group[0]
        self._tried = str(host)
        told = False
        try:
            policy = await choose_policy(self._out.hooks.tls_policy, self._out.tls_policies, self._destination, host)
            if policy.problem:
                self._tell(host, policy, policy.failure, policy.problem)
                if (then := weaker(policy)) is None:
                    raise TlsFailed(policy.failure, policy.problem, published=bool(policy.source))
                policy, told = then, True
        except BaseException:
            group.clear()  # it is the same for each address of a host
            raise
        host, link = await self._connect(group)
        while True:
            try:
                session = await self._dialogue(host, link, policy)
            except TlsFailed as exc:
                if not told:
                    self._tell(host, policy, exc.failure, str(exc))
                told = True
                if (then := weaker(policy)) is None:
                    exc.published = bool(policy.source)
                    raise
                policy = then
                self._out.log.info("outbound.tls_failed", remote=str(host), reason=str(exc))
                link = await self._dial(host)
            else:
                if not told and policy.level != "none":
                    self._tell(host, policy, "" if session.secure else "starttls-not-supported", local=session.link.local)
                return session

    async def _connect(self, group: list[Host]) -> tuple[Host, Link]:
        """The first of these addresses that answers, which are taken off as they are tried. Raises OSError, TimeoutError."""
        if len(group) == 1:
            return (host := group.pop()), await self._dial(host)
        trying = list(group)

        async def dial(host: Host) -> tuple[Host, Link]:
            group.remove(host)
            try:
                return host, await self._dial(host)
            except asyncio.CancelledError:
                group.append(host)  # another was quicker; should that one not work with us, it is still there
                raise

        dials: list[Callable[[], Awaitable[tuple[Host, Link]]]] = [partial(dial, host) for host in trying]
        outcome = await race(dials, self._out.tasks, _lose)
        found, failures = outcome
        for place, failure in sorted(failures.items()):
            self._tried = str(trying[place])
            if found is not None:
                self._unreachable(self._tried, _reason(failure))
        if found is None:
            raise failures[max(failures)]
        self._tried = str(found[0])
        return found

    async def _dial(self, host: Host) -> Link:
        out, route = self._out, self._destination.route
        return await out.dialer.connect(
            Link,
            timeout=out.connect_timeout,
            address=host.address,
            port=host.port,
            path=host.path,
            tls=out.dialer.context(verify=True) if route.tls == "implicit" else None,
            name=host.name,
            source=source_for(host, self._destination, out.source_addresses),
        )

    def _tell(self, host: Host, policy: TlsPolicy, failure: str, reason: str = "", local: str = "") -> None:
        plan, domain = self._out.hooks.tls_result, self._destination.domain
        if plan is not None and domain:
            result = TlsResult(domain, host.name, host.address, local, policy, failure, reason)
            self._out.tasks.spawn(plan.notify(result=result), "tls-result")

    async def _dialogue(self, host: Host, link: Link, policy: TlsPolicy) -> Session:
        out, route = self._out, self._destination.route
        session = Session(
            link, out.helo.get(link.local, out.hostname) if out.helo else out.hostname, lmtp=route.transport == "lmtp"
        )
        try:
            await session.greet(out.greeting_timeout)
            if self._destination.uses_mx and session.greeting == out.hostname:
                raise self._no_way(f"554 5.4.6 mail for {self._destination} loops: {host} is this server", str(host))
            await session.hello()
            session.secure = session.verified = route.tls == "implicit"
            if not session.secure and policy.level != "none":
                await start_tls(session, out.dialer, host, policy)
            if self._destination.requiretls and route.transport == "smtp":
                await demand_promise(out.dns, self._destination, session, host, policy)
            if route.credentials is not None:
                if not session.secure and not host.is_here:
                    raise Refusal("the next hop offers no TLS, and a password is not sent without")
                if self._destination.uses_mx and not policy.source and not host.is_of(self._destination.domain):
                    raise Refusal(
                        f"a password is not sent to {host.name}, which is not of {self._destination} and comes out of DNS alone"
                    )
                await log_in(session.ask, frozenset(session.features.get("AUTH", "").upper().split()), route)
        except BaseException:
            session.close()
            raise
        return session


def _lose(late: tuple[Host, Link]) -> None:
    late[1].close()


def _reason(exc: Exception) -> str:
    if isinstance(exc, TimeoutError) and not exc.args:
        return "connection timed out"
    if isinstance(exc, OSError) and not isinstance(exc, ssl.SSLError) and exc.errno:
        return os.strerror(exc.errno).lower()
    return str(exc)
