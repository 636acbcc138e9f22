"""Cached, asynchronous DNS look-ups: the ``ctx.dns`` of plugins and the MX of the queue (RFC 1035, RFC 2308, RFC 6891).

A stub of a recursive resolver, in dnspython's wire format over sockets of our own: one UDP socket with its own random port for
each question, TCP when the answer is truncated. Equal questions asked at once are sent once. Replies that do not fit the
question are passed over until the time is up, so that a forged or broken packet cannot end a look-up. DNSSEC is validated by the
resolver; where config says that it does and that the way to it is safe, its AD bit is believed (RFC 4035 §3.2.3, RFC 6840 §5.7).
Left out: validation of our own, search lists (names are always complete).
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.reversename
from dns.flags import AD, TC

from mta.config.sections import Dns as DnsSection
from mta.model.tls import Tlsa
from mta.net.tasks import Tasks
from mta_hooks.services import DnsError, Validated

CACHE_SIZE = 20_000  # answers; about 1 KiB each
MAX_TTL = 86400.0
MAX_NEGATIVE_TTL = 900.0  # RFC 2308 §5 allows hours; a domain being set up should not wait that long
FAILURE_TTL = 1.0  # RFC 2308 §7: spares a resolver that is down, without hiding its recovery
MAX_QUESTIONS = 250  # on the wire at once: bounds sockets

_PAYLOAD = 1232  # EDNS size that no path fragments
_Server = tuple[str, int]


class DnsResolver:
    """Fulfils mta_hooks.services.Dns. One for each process; use from one event loop."""

    def __init__(self, config: DnsSection, tasks: Tasks, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._servers = [parse_server(text) for text in config.servers] or _system_servers()
        self._timeout = config.timeout
        self.validating = config.validating
        self._tasks = tasks
        self._monotonic = monotonic
        self._cache: OrderedDict[tuple[str, str], tuple[float, Validated | DnsError]] = OrderedDict()
        self._running: dict[tuple[str, str], asyncio.Task[Validated | DnsError]] = {}
        self._free = asyncio.Semaphore(MAX_QUESTIONS)

    async def a(self, name: str) -> list[str]:
        return await self._list(name, "A")

    async def aaaa(self, name: str) -> list[str]:
        return await self._list(name, "AAAA")

    async def mx(self, name: str) -> list[tuple[int, str]]:
        return await self._list(name, "MX")

    async def txt(self, name: str) -> list[bytes]:
        return await self._list(name, "TXT")

    async def ptr(self, address: str) -> list[str]:
        try:
            name = dns.reversename.from_address(address).to_text(omit_final_dot=True)
        except (ValueError, dns.exception.DNSException):
            return []
        return await self._list(name, "PTR")

    async def _list(self, name: str, kind: str) -> list[Any]:
        return list((await self.validated(name, kind)).records)

    async def validated(self, name: str, kind: str) -> Validated:
        if kind not in _CONVERT:
            raise ValueError(f"{kind} is no type that is looked up here")
        key = (name.lower().rstrip("."), kind)
        if (known := self._cache.get(key)) is not None and self._monotonic() < known[0]:
            self._cache.move_to_end(key)
            answer = known[1]
        else:
            if (task := self._running.get(key)) is None:
                task = self._tasks.spawn(self._ask(key), f"dns {kind} {name}")
                self._running[key] = task
                task.add_done_callback(lambda _: self._running.pop(key, None))
            answer = await asyncio.shield(task)  # one caller that gives up must not take the answer from the others
        if isinstance(answer, DnsError):
            raise DnsError(*answer.args)
        return answer

    async def _ask(self, key: tuple[str, str]) -> Validated | DnsError:
        answer: Validated | DnsError
        try:
            async with asyncio.timeout(self._timeout), self._free:
                answer, ttl = await self._resolve(*key)
        except TimeoutError:
            answer, ttl = DnsError(f"{key[1]} {key[0]}: no answer in {self._timeout:g} s"), FAILURE_TTL
        except DnsError as exc:
            answer, ttl = exc, FAILURE_TTL
        self._cache[key] = (self._monotonic() + max(ttl, 1.0), answer)
        self._cache.move_to_end(key)
        if len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
        return answer

    async def _resolve(self, name: str, kind: str) -> tuple[Validated, float]:
        """Ask the servers in turn, twice when there is only one, as a packet may get lost."""
        try:
            question = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError):
            return Validated((), False, name), MAX_NEGATIVE_TTL  # what is no name does not exist
        rounds = self._servers if len(self._servers) > 1 else self._servers * 2
        problem = "no server"
        for server in rounds:
            try:
                async with asyncio.timeout(self._timeout / len(rounds)):
                    reply = await self._exchange(question, kind, server)
            except TimeoutError:
                problem = f"{server[0]}:{server[1]} does not answer"
                continue
            except (OSError, EOFError, dns.exception.DNSException) as exc:
                problem = f"{server[0]}:{server[1]}: {exc}"
                continue
            if reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                return _answer(reply, kind, secure=self.validating and bool(reply.flags & AD))
            problem = f"{server[0]}:{server[1]} says {dns.rcode.to_text(reply.rcode())}"
        raise DnsError(f"{kind} {name}: {problem}")

    async def _exchange(self, name: dns.name.Name, kind: str, server: _Server) -> dns.message.QueryMessage:
        query = dns.message.make_query(name, kind, use_edns=0, payload=_PAYLOAD)
        if self.validating:
            query.flags |= AD
        reply = await _over_udp(query, server)
        if reply.rcode() == dns.rcode.FORMERR:  # a server from before EDNS
            query.use_edns(False)
            reply = await _over_udp(query, server)
        if reply.flags & TC:
            reply = await _over_tcp(query, server)
        return reply


def parse_server(text: str) -> _Server:
    """Take "192.0.2.1", "192.0.2.1:5353", "2001:db8::1" or "[2001:db8::1]:53" apart. Raises ValueError."""
    host, port = text, "53"
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r}: port must be 1 to 65535")
    return str(ip_address(host)), int(port)


def _system_servers() -> list[_Server]:
    try:
        found = dns.resolver.Resolver()
    except (dns.exception.DNSException, OSError):
        return [("127.0.0.1", 53)]
    return [(str(server), found.port) for server in found.nameservers]


def _host(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "A": lambda r: str(r.address),
    "AAAA": lambda r: str(r.address),
    "MX": lambda r: (int(r.preference), _host(r.exchange)),
    "TXT": lambda r: b"".join(r.strings),
    "PTR": lambda r: _host(r.target),
    "CNAME": lambda r: _host(r.target),
    "SRV": lambda r: (int(r.priority), int(r.weight), int(r.port), _host(r.target)),
    "TLSA": lambda r: Tlsa(int(r.usage), int(r.selector), int(r.mtype), bytes(r.cert)),
}


def _answer(reply: dns.message.QueryMessage, kind: str, *, secure: bool) -> tuple[Validated, float]:
    try:
        chain = reply.resolve_chaining()
    except dns.exception.DNSException as exc:  # a chain of CNAMEs without end
        raise DnsError(str(exc)) from exc
    name = _host(chain.canonical_name)
    if chain.answer is None:
        return Validated((), secure, name), min(float(chain.minimum_ttl), MAX_NEGATIVE_TTL)
    records = tuple(map(_CONVERT[kind], chain.answer))
    return Validated(records, secure, name), min(float(chain.minimum_ttl), MAX_TTL)


class _Datagrams(asyncio.DatagramProtocol):
    """Waits for the reply to one query."""

    def __init__(self, query: dns.message.QueryMessage) -> None:
        self._query = query
        self._id = query.id.to_bytes(2, "big")
        self.reply: asyncio.Future[dns.message.QueryMessage] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if data[:2] != self._id or self.reply.done():
            return
        try:
            reply = dns.message.from_wire(data, ignore_trailing=True, raise_on_truncation=False)
        except (dns.exception.DNSException, ValueError):
            return
        if isinstance(reply, dns.message.QueryMessage) and self._query.is_response(reply):
            self.reply.set_result(reply)

    def error_received(self, exc: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.reply.done():
            self.reply.set_exception(exc or ConnectionError("socket closed"))


async def _over_udp(query: dns.message.QueryMessage, server: _Server) -> dns.message.QueryMessage:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: _Datagrams(query), remote_addr=server)
    try:
        transport.sendto(query.to_wire())
        return await protocol.reply
    finally:
        if not protocol.reply.done():
            protocol.reply.cancel()
        transport.close()


async def _over_tcp(query: dns.message.QueryMessage, server: _Server) -> dns.message.QueryMessage:
    reader, writer = await asyncio.open_connection(*server)
    try:
        wire = query.to_wire()
        writer.write(len(wire).to_bytes(2, "big") + wire)
        size = int.from_bytes(await reader.readexactly(2), "big")
        reply = dns.message.from_wire(await reader.readexactly(size), ignore_trailing=True)
        if not isinstance(reply, dns.message.QueryMessage) or not query.is_response(reply):
            raise ConnectionError("reply does not fit the question")
        return reply
    finally:
        writer.close()
