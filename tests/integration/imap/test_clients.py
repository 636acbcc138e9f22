"""imaplib and IMAPClient against the real protocol on a loopback socket, over the in-memory database and SQLite."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import contextlib
import imaplib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from imapclient import IMAPClient

from mta.net.clock import SystemClock
from mta.net.listener import ListenerSpec
from mta.testing.imapd import ImapSite
from mta_hooks.backends import Database, DatabaseOptions
from mta_sql import open_database

USER, PASSWORD = "alice@example.test", "secret"
MESSAGE = (
    b"From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n"
    b"Date: Mon, 3 Jan 2022 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\nhello world\r\n"
)


class Running:
    """The server in a loop of its own thread."""

    def __init__(self, data_dir: Path, **site: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.site = ImapSite(data_dir=str(data_dir), **site)
        self.site.server.clock = SystemClock()
        self.port = self.run(self._open)

    def run(self, function: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(function(*arguments), self._loop).result(30)

    async def _open(self) -> int:
        await self.site.open()
        factory = self.site.server.factory(ListenerSpec("imap", tls=False, url="imap://127.0.0.1"))
        self._server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _close(self) -> None:
        self._server.close()
        await self.site.server.drain(1.0)
        await self.site.tasks.close(1.0)
        await self.site.database.close()

    def close(self) -> None:
        self.run(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@contextlib.contextmanager
def running(data_dir: Path, **site: Any) -> Iterator[Running]:
    server = Running(data_dir, **site)
    try:
        yield server
    finally:
        server.close()


def sqlite(options: DatabaseOptions) -> Database:
    return open_database("sqlite", options)


@pytest.fixture(params=["memory", "sqlite"])
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    with running(tmp_path, **({"database": sqlite} if request.param == "sqlite" else {})) as server:
        yield server


def test_imaplib(server: Running) -> None:
    client = imaplib.IMAP4("127.0.0.1", server.port)
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        client.login(USER, "wrong")
    client.login(USER, PASSWORD)
    assert client.select("INBOX") == ("OK", [b"0"])
    assert client.append("INBOX", "(\\Seen $Work)", imaplib.Time2Internaldate(1641200000), MESSAGE)[0] == "OK"
    assert client.append("INBOX", "", "", MESSAGE)[0] == "OK"
    assert client.noop()[0] == "OK"
    assert client.untagged_responses["EXISTS"][-1] == b"2"
    status, data = client.fetch("1", "(FLAGS BODY.PEEK[])")
    assert status == "OK"
    assert data[0][1] == MESSAGE
    assert b"\\Seen $Work" in data[0][0]
    assert client.search(None, "UNSEEN") == ("OK", [b"2"])
    assert client.search(None, "BODY", "world") == ("OK", [b"1 2"])
    assert client.uid("STORE", "2", "+FLAGS.SILENT", "(\\Deleted)")[0] == "OK"
    assert client.copy("1", "Archive")[0] == "OK"
    assert client.expunge() == ("OK", [b"2"])
    assert client.status("Archive", "(MESSAGES)") == ("OK", [b"Archive (MESSAGES 1)"])
    assert client.close()[0] == "OK"
    assert client.logout()[0] == "BYE"


def test_imapclient(server: Running) -> None:
    with IMAPClient("127.0.0.1", server.port, ssl=False) as client:
        client.login(USER, PASSWORD)
        assert client.select_folder("INBOX")[b"EXISTS"] == 0
        for _ in range(3):
            client.append("INBOX", MESSAGE, flags=[b"\\Flagged"])
        assert client.search(["FLAGGED"]) == [1, 2, 3]
        assert client.search(["SUBJECT", "grüße"], charset="UTF-8") == [1, 2, 3]
        found = client.fetch([1, 2], ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "RFC822.SIZE", "INTERNALDATE", "BODY.PEEK[HEADER]"])
        assert found[1][b"ENVELOPE"].subject == b"=?utf-8?q?gr=C3=BC=C3=9Fe?="
        assert found[1][b"ENVELOPE"].from_[0].mailbox == b"alice"
        assert found[1][b"BODYSTRUCTURE"][0:2] == (b"TEXT", b"PLAIN")
        assert found[2][b"RFC822.SIZE"] == len(MESSAGE)
        assert found[2][b"BODY[HEADER]"] + b"hello world\r\n" == MESSAGE
        client.create_folder("Entwürfe/2024")
        assert ((b"\\HasNoChildren",), b"/", "Entwürfe/2024") in client.list_folders()
        client.move([1], "Entwürfe/2024")
        assert client.folder_status("Entwürfe/2024", ["MESSAGES"]) == {b"MESSAGES": 1}
        assert client.find_special_folder(b"\\Sent") == "Sent"
        client.add_flags([2], ["\\Deleted"])
        client.expunge()
        assert client.search() == [3]


def test_idle_hears_at_once(server: Running) -> None:
    with IMAPClient("127.0.0.1", server.port, ssl=False) as client:
        client.login(USER, PASSWORD)
        client.select_folder("INBOX")
        client.idle()
        threading.Timer(0.2, server.run, (server.site.deliver, MESSAGE)).start()
        started = time.monotonic()
        assert (1, b"EXISTS") in client.idle_check(timeout=5)
        assert time.monotonic() - started < 1.0
        client.idle_done()


def test_a_hundred_clients_in_idle_all_hear(server: Running) -> None:
    clients = []
    for _ in range(100):
        client = socket.create_connection(("127.0.0.1", server.port))
        client.sendall(b"a LOGIN alice@example.test secret\r\nb SELECT INBOX\r\nc IDLE\r\n")
        clients.append(client)
    for client in clients:
        received = b""
        while b"+ idling\r\n" not in received:
            received += client.recv(4096)
    server.run(server.site.deliver, MESSAGE)
    for client in clients:
        client.settimeout(5)
        assert b"* 1 EXISTS\r\n" in client.recv(4096)
        client.close()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def test_starttls(tmp_path: Path, authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with running(tmp_path, plaintext=False, tls=context) as server, IMAPClient("localhost", server.port, ssl=False) as client:
        assert {b"STARTTLS", b"LOGINDISABLED"} <= set(client.capabilities())
        client.starttls(trusting)
        assert b"LOGINDISABLED" not in client.capabilities()
        client.login(USER, PASSWORD)
        client.append("INBOX", MESSAGE)
        assert client.select_folder("INBOX")[b"EXISTS"] == 1


def test_nothing_before_the_handshake_survives_it(tmp_path: Path, authority: trustme.CA) -> None:
    """RFC 9051 §6.2.1: an injected command behind STARTTLS ends the connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with running(tmp_path, plaintext=False, tls=context) as server:
        client = socket.create_connection(("127.0.0.1", server.port))
        client.sendall(b"a STARTTLS\r\nb NOOP\r\n")
        client.settimeout(5)
        received = b""
        while octets := client.recv(4096):
            received += octets
        assert b"a OK" in received
        assert b"b OK" not in received
        client.close()


def test_large_messages_pass_through_files_and_in_pieces(tmp_path: Path) -> None:
    octets = MESSAGE + b"0123456789abcdef" * 300_000
    with running(tmp_path) as server:
        client = imaplib.IMAP4("127.0.0.1", server.port)
        client.login(USER, PASSWORD)
        assert client.append("INBOX", "", "", octets)[0] == "OK"
        assert (tmp_path / "tmp").is_dir()
        assert list((tmp_path / "tmp").iterdir()) == []
        client.select("INBOX")
        assert client.fetch("1", "BODY.PEEK[]")[1][0][1] == octets
        assert client.fetch("1", "BODY.PEEK[]<5.1000000>")[1][0][1] == octets[5:1000005]
        assert client.fetch("1", "BODY.PEEK[HEADER]")[1][0][1] == MESSAGE[: MESSAGE.index(b"\r\n\r\n") + 4]
        assert client.fetch("1", "(BODY.PEEK[TEXT])")[1][0][1] == octets[MESSAGE.index(b"\r\n\r\n") + 4 :]
        client.logout()


def test_a_slow_reader_costs_a_bounded_buffer(server: Running) -> None:
    """10 MB of answers to a client that reads nothing: the server holds back, and serves others."""

    async def fill() -> None:
        await server.site.deliver(*[MESSAGE + b"x" * 100_000] * 100)

    server.run(fill)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    slow.connect(("127.0.0.1", server.port))
    slow.sendall(b"a LOGIN alice@example.test secret\r\nb EXAMINE INBOX\r\nc FETCH 1:* BODY.PEEK[]\r\n")
    time.sleep(0.5)

    async def unsent() -> int:
        return max(c._transport.get_write_buffer_size() for c in server.site.server._connections)

    assert 0 < server.run(unsent) < 1_000_000
    other = imaplib.IMAP4("127.0.0.1", server.port)
    other.login(USER, PASSWORD)
    assert other.select("INBOX", readonly=True) == ("OK", [b"100"])
    other.logout()
    received = b""
    slow.settimeout(10)
    while b"c OK" not in received[-100:]:
        received += slow.recv(1 << 20)
    assert received.count(b"BODY[] {") == 100
    slow.close()
