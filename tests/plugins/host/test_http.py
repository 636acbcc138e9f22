"""The HTTP client of ``ctx.http`` against loopback servers that behave, and that do not."""

import asyncio
import ssl

import pytest
import trustme

from mta.pluginhost.http import MAX_BODY, HttpClient, HttpError


def ask(reply, *, method="GET", path="/", tls=None, client_tls=None, host="127.0.0.1", **options):
    """One request to a server that says ``reply`` (octets, or None: nothing at all). Returns (answer, what it was sent)."""
    seen = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        size = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        seen.append(head + await reader.readexactly(size))
        if reply is None:
            await asyncio.sleep(30)
        writer.write(reply)
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        try:
            client = HttpClient(client_tls)
            scheme = "https" if tls else "http"
            return await client.request(method, f"{scheme}://{host}:{port}{path}", **options)
        finally:
            server.close()

    return asyncio.run(main()), b"".join(seen)


def test_a_plain_exchange() -> None:
    reply, sent = ask(
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 3\r\n\r\nabcJUNK", path="/p?q=1", headers={"X-Token": "t"}
    )
    assert (reply.status, reply.body, reply.headers["x-a"]) == (200, b"abc", "1, 2")
    assert sent.startswith(b"GET /p?q=1 HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"\r\nx-token: t\r\n" in sent
    assert b"content-length" not in sent


def test_post_with_a_body_and_chunks_back() -> None:
    reply, sent = ask(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        method="POST",
        data=b"xyz",
    )
    assert (reply.status, reply.body) == (201, b"abcde")
    assert sent.endswith(b"\r\n\r\nxyz")
    assert b"content-length: 3\r\n" in sent


@pytest.mark.parametrize(
    ("reply", "method", "body"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\nto the end", "GET", b"to the end"),
        (b"HTTP/1.1 204 None\r\n\r\n", "DELETE", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD", b""),
        (b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n", "GET", b""),
    ],
)
def test_other_forms(reply, method, body) -> None:
    assert ask(reply, method=method)[0].body == body


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 xxx\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_BODY + 1),
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    ],
    ids=lambda r: repr(r[:50]),
)
def test_what_is_no_reply_or_too_large_is_an_error(reply) -> None:
    with pytest.raises((HttpError, ConnectionError)):
        ask(reply)


def test_silence_times_out() -> None:
    with pytest.raises(TimeoutError):
        ask(None, timeout=0.05)


@pytest.mark.parametrize("url", ["ftp://x/", "http://", "http://user:pw@host/", "file:///etc/passwd", "x"])
def test_urls_that_are_refused(url) -> None:
    with pytest.raises(ValueError, match="URL must be"):
        asyncio.run(HttpClient().request("GET", url))


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"x": "a\r\nevil: 1"}},
        {"headers": {"x\n": "a"}},
        {"headers": {"x": "ü"}},
        {"path": "/a b"},
        {"path": "/ü"},
        {"method": "GET /x HTTP/1.1\r\nevil: 1\r\n\r\n"},
    ],
)
def test_nothing_can_be_smuggled_into_the_header(options) -> None:
    with pytest.raises(ValueError, match=r"cannot carry|a space"):
        ask(b"HTTP/1.1 200 OK\r\n\r\n", **options)


def test_tls_is_verified() -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert ask(ok, tls=server, client_tls=client, host="localhost")[0].status == 200
    with pytest.raises(ssl.SSLError):
        ask(ok, tls=server, host="localhost")
    with pytest.raises(ssl.SSLError):
        ask(ok, tls=server, client_tls=client, host="127.0.0.1")
