"""A small real DNS server on loopback, UDP and TCP on one port, for tests: its zones are a dict or text, it can misbehave.

    server = DnsServer({"dest.test": {"MX": ["10 mx.dest.test."]}, "mx.dest.test": {"A": ["127.0.0.1"]}})
    async with server:            # or "with server.thread():" beside another process or loop
        config = Dns(servers=(server.address,))

It answers with authority for every name: a name without records and without names below is NXDOMAIN, one without records of
the type asked is NODATA. ``misbehave`` makes names time out, fail, be refused, or answer with rubbish before the truth.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Records = Mapping[str, Mapping[str, Sequence[str] | str]]
Fault = Literal["timeout", "servfail", "refused", "formerr-edns", "forged", "lose-first"]

_SOA = "ns.test. hostmaster.test. 1 3600 600 86400 60"


class DnsServer:
    """``asked`` counts questions by ("name", "TYPE"); ``ttl`` is for records and negative answers made from now on."""

    def __init__(self, zones: Records | str = "", ttl: int = 60) -> None:
        self.ttl = ttl
        self.asked: Counter[tuple[str, str]] = Counter()
        self.over_tcp = 0
        self.port = 0
        self._records: dict[str, dict[str, list[str]]] = {}
        self._faults: dict[str, Fault] = {}
        self._signed: set[str] = set()
        self._tcp: asyncio.Server | None = None
        self._udp: asyncio.DatagramTransport | None = None
        for name, types in (_parse(zones) if isinstance(zones, str) else zones).items():
            self.set(name, **types)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def set(self, name: str, **types: Sequence[str] | str) -> None:
        """Replace all records of ``name``: ``set("a.test", MX=["10 mx.a.test."], A="127.0.0.1")``; no types: it goes."""
        key = name.lower().rstrip(".")
        self._records.pop(key, None)
        if types:
            self._records[key] = {t.upper(): [v] if isinstance(v, str) else list(v) for t, v in types.items()}

    def misbehave(self, name: str, fault: Fault | None) -> None:
        """``name`` "*" is every name; None: behave again."""
        if fault is None:
            self._faults.pop(name.lower(), None)
        else:
            self._faults[name.lower()] = fault

    def sign(self, *zones: str) -> None:
        """Say of what is at or below these names that it is signed (AD), as a validating resolver would; "." is everything."""
        self._signed.update(zone.lower().rstrip(".") for zone in zones)

    # ---- life

    async def __aenter__(self) -> "DnsServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve_tcp, "127.0.0.1", self.port)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=("127.0.0.1", self.port))

    async def stop(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()

    @contextmanager
    def thread(self) -> Iterator["DnsServer"]:
        """Serve from a thread of its own."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="dns", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.start(), loop).result(5)
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self.stop(), loop).result(5)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)
            loop.close()

    # ---- answers

    def answer(self, wire: bytes, *, tcp: bool) -> list[bytes]:
        """The packets to send for one query; none when it is to time out."""
        query = dns.message.from_wire(wire)
        name = query.question[0].name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        self.asked[name, kind] += 1
        self.over_tcp += tcp
        fault = self._faults.get(name) or self._faults.get("*")
        if fault == "timeout" or (fault == "lose-first" and self.asked[name, kind] == 1):
            return []
        reply = dns.message.make_response(query, recursion_available=True)
        if fault in ("servfail", "refused"):
            reply.set_rcode(dns.rcode.from_text(fault))
        elif fault == "formerr-edns" and query.edns >= 0:
            reply = dns.message.make_response(query)
            reply.use_edns(False)
            reply.set_rcode(dns.rcode.FORMERR)
        else:
            self._fill(reply, query.question[0].name, kind)
        limit = 65535 if tcp else (query.payload if query.edns >= 0 else 512)
        packets = [_to_wire(reply, limit)]
        if fault == "forged":
            forged = packets[0][:2] + b"\x81\x80" + b"\xff" * 20
            wrong_id = bytes([packets[0][0] ^ 1]) + packets[0][1:]
            packets = [b"", b"\0", wrong_id, forged, *packets]
        return packets

    def _fill(self, reply: dns.message.Message, name: dns.name.Name, kind: str) -> None:
        names = [name]
        self._answers(reply, names, kind)
        if all(self._is_signed(each.to_text(omit_final_dot=True).lower()) for each in names):
            reply.flags |= dns.flags.AD

    def _is_signed(self, name: str) -> bool:
        return any(not zone or name == zone or name.endswith("." + zone) for zone in self._signed)

    def _answers(self, reply: dns.message.Message, names: list[dns.name.Name], kind: str) -> None:
        """``names`` gains those that CNAMEs lead to."""
        name = names[0]
        for _ in range(9):
            types = self._records.get(name.to_text(omit_final_dot=True).lower())
            if types and "CNAME" in types and kind != "CNAME":
                reply.answer.append(dns.rrset.from_text_list(name, self.ttl, "IN", "CNAME", types["CNAME"]))
                name = dns.name.from_text(types["CNAME"][0])
                names.append(name)
                continue
            if types and kind in types:
                reply.answer.append(dns.rrset.from_text_list(name, self.ttl, "IN", kind, types[kind]))
                return
            break
        if not self._exists(name.to_text(omit_final_dot=True).lower()):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        soa = _SOA.rsplit(" ", 1)[0] + f" {self.ttl}"
        reply.authority.append(dns.rrset.from_text(dns.name.root, self.ttl, "IN", "SOA", soa))

    def _exists(self, name: str) -> bool:
        return name in self._records or any(known.endswith("." + name) for known in self._records)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                for packet in self.answer(await reader.readexactly(size), tcp=True):
                    writer.write(len(packet).to_bytes(2, "big") + packet)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        for packet in self._server.answer(data, tcp=False):
            self._transport.sendto(packet, addr)


def _to_wire(reply: dns.message.Message, limit: int) -> bytes:
    wire = reply.to_wire(max_size=65535)
    if len(wire) <= limit:
        return wire
    reply.answer.clear()
    reply.authority.clear()
    reply.flags |= dns.flags.TC
    return reply.to_wire()


def _parse(text: str) -> dict[str, dict[str, list[str]]]:
    """Lines of "name TYPE data"; empty lines and what follows ";" do not count."""
    zones: dict[str, dict[str, list[str]]] = {}
    for line in text.splitlines():
        if fields := line.partition(";")[0].split(None, 2):
            zones.setdefault(fields[0], {}).setdefault(fields[1], []).append(fields[2].strip())
    return zones
