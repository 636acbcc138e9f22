"""PROXY protocol headers, version 1 and 2 (haproxy's proxy-protocol.txt), read by aiosmtpd's parser from a complete header."""
# SPDX-License-Identifier: Apache-2.0

from aiosmtpd.proxy_protocol import AF, V2_SIGNATURE, ProxyData, get_proxy

from mta.model.reply import Reply
from mta.smtpd import replies
from mta.smtpd.protocol import SmtpProtocol, Step

_MAX_V1 = 107
_MAX_V2 = 16 + 2048
_WAIT = 10.0  # seconds: the header comes from a balancer next door, with the connection


class ProxyHeader:
    """Takes the first octets of a connection whose peer is a known balancer; fulfils Reader."""

    __slots__ = ("_link", "_octets", "deadline", "overdue")

    def __init__(self, link: SmtpProtocol) -> None:
        self._link = link
        self._octets = b""
        self.deadline = link.server.time() + _WAIT
        self.overdue = replies.IDLE

    def feed(self, octets: bytes) -> Step:
        self._octets += octets
        size = _size(self._octets)
        if size == 0:
            return None
        header, rest = (self._octets, b"") if size < 0 else (self._octets[:size], self._octets[size:])
        proxy = _parse(header) if size > 0 else None
        link = self._link
        link.reader = None
        link.lines.put_back(rest)
        if proxy is None:
            link.server.log.warning("smtp.proxy.malformed", session=link.peer.id, client=link.peer.client_ip)
            return Reply(421, "4.3.0", "PROXY header expected", close=True)
        if proxy.family in (AF.INET, AF.INET6) and proxy.src_addr is not None:
            peer = link.peer
            peer.client_ip, peer.client_port = str(proxy.src_addr), int(proxy.src_port or 0)
            peer.local_ip, peer.local_port = str(proxy.dst_addr), int(proxy.dst_port or 0)
        link.server.introduce(link)
        return link.server.admit(link)


def _size(octets: bytes) -> int:
    """Octets of the whole header; 0: not known or not here yet; -1: no header."""
    signature = octets[:12]
    if signature == V2_SIGNATURE:
        if len(octets) < 16:
            return 0
        size = 16 + int.from_bytes(octets[14:16], "big")
        return -1 if size > _MAX_V2 else size if len(octets) >= size else 0
    if V2_SIGNATURE.startswith(signature) or b"PROXY ".startswith(octets[:6]):
        end = octets.find(b"\r\n") if octets.startswith(b"PROXY ") else -1
        if end >= 0:
            return end + 2 if end + 2 <= _MAX_V1 else -1
        return -1 if len(octets) > _MAX_V1 else 0
    return -1


class _Octets:
    """aiosmtpd's reader over octets that are all here, so that its coroutine never waits."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    async def read(self, n: int = -1) -> bytes:
        taken, self._octets = (self._octets, b"") if n < 0 else (self._octets[:n], self._octets[n:])
        return taken

    async def readexactly(self, n: int) -> bytes:
        return await self.read(n)

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        return await self.read(self._octets.index(separator) + len(separator))


def _parse(header: bytes) -> ProxyData | None:
    work = get_proxy(_Octets(header))
    try:
        work.send(None)
    except StopIteration as done:
        return done.value if done.value.valid else None
    except Exception:  # noqa: BLE001  # a malformed header, in whatever way it upsets the parser
        return None
    work.close()
    return None
