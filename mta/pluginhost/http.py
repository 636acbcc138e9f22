"""``ctx.http``: a small HTTP/1.1 client (RFC 9110, 9112) for web hooks, ticket systems, scanners.

One connection for one request; TLS with the machine's certificates; no redirects, cookies, proxies or compression.
Everything a server can grow is bounded: header 64 KiB, body 1 MiB, time.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import ssl
from collections.abc import Mapping
from functools import cache
from urllib.parse import urlsplit

from mta_hooks.services import HttpReply

MAX_BODY = 2**20
MAX_HEADER = 2**16


class HttpError(OSError):
    """The answer is no HTTP, or larger than we read."""


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class HttpClient:
    """Fulfils mta_hooks.services.Http. ``tls`` replaces the machine's certificates, for tests and private authorities; ``connect_to``
    says where the host of a URL is really found, whatever DNS says."""

    def __init__(self, tls: ssl.SSLContext | None = None, connect_to: Mapping[str, tuple[str, int]] | None = None) -> None:
        self._tls = tls
        self._connect_to = connect_to or {}

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, data: bytes = b"", timeout: float = 10.0
    ) -> HttpReply:
        """Send one request. Raises OSError (HttpError among them), TimeoutError, ValueError for a URL or header that cannot be sent."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("the URL must be http://host… or https://host… without a user name")
        tls = (self._tls or _tls()) if parts.scheme == "https" else None
        port = parts.port or (443 if tls else 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = _head(method, target, parts.netloc, headers or {}, len(data))
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(
                *self._connect_to.get(parts.hostname, (parts.hostname, port)),
                ssl=tls,
                server_hostname=parts.hostname if tls else None,
                limit=MAX_HEADER,
            )
            try:
                writer.write(head)
                writer.write(data)
                await writer.drain()
                return await _reply(reader, method)
            except (asyncio.LimitOverrunError, asyncio.IncompleteReadError, ValueError) as exc:
                raise HttpError(f"not an HTTP reply: {type(exc).__name__}") from exc
            finally:
                writer.transport.abort()


class NoHttp:
    """Fulfils mta_hooks.services.Http where nothing may be sent."""

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, data: bytes = b"", timeout: float = 10.0
    ) -> HttpReply:
        raise OSError(f"no network while something is only tried: {method} {url.partition('?')[0]} was not sent")


def _head(method: str, target: str, host: str, headers: Mapping[str, str], size: int) -> bytes:
    lines = {"host": host, "user-agent": "mta", "accept": "*/*", "connection": "close"}
    if size or method not in ("GET", "HEAD", "OPTIONS", "TRACE"):
        lines["content-length"] = str(size)
    lines.update({name.lower(): value for name, value in headers.items()})
    text = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items())]
    for line in text:
        if not line.isprintable() or not line.isascii():
            raise ValueError("a method, URL or header holds what HTTP cannot carry; encode it first")
    if " " in method or " " in target:
        raise ValueError("a space in method or URL")
    return ("\r\n".join(text) + "\r\n\r\n").encode("ascii")


async def _reply(reader: asyncio.StreamReader, method: str) -> HttpReply:
    status, headers = await _header(reader)
    while 100 <= status < 200:
        status, headers = await _header(reader)
    if method == "HEAD" or status in (204, 304):
        return HttpReply(status, headers, b"")
    if headers.get("transfer-encoding", "").lower().endswith("chunked"):
        body = await _chunked(reader)
    elif "content-length" in headers:
        body = await reader.readexactly(_bounded(int(headers["content-length"])))
    else:
        body = await _to_the_end(reader)
    return HttpReply(status, headers, body)


async def _header(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    block = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *rest = block.rstrip("\r\n").split("\r\n")
    version, _, after = first.partition(" ")
    status = int(after[:3])
    if not version.startswith("HTTP/1.") or not 100 <= status <= 999:
        raise HttpError("not an HTTP/1 reply")
    headers: dict[str, str] = {}
    for line in rest:
        name, _, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return status, headers


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        _bounded(len(body) + size)
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    return bytes(body)


async def _to_the_end(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while piece := await reader.read(65536):
        body += piece
        _bounded(len(body))
    return bytes(body)


def _bounded(size: int) -> int:
    if not 0 <= size <= MAX_BODY:
        raise HttpError(f"a body larger than {MAX_BODY} octets")
    return size
