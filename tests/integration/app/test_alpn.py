"""ALPN at every door with TLS: who came for another protocol is not spoken to (ALPACA); mail clients offer none, or ours."""

import smtplib
import socket
import ssl

import pytest

from mta.testing.server import HOST, MailServer, untrusting

DOORS = ("smtp", "submissions", "imap", "imaps", "pop3", "pop3s")
STARTTLS = {"smtp": (b"EHLO c\r\n", b"STARTTLS\r\n"), "imap": (b"a STARTTLS\r\n",), "pop3": (b"STLS\r\n",)}
NAMES = {"smtp": "smtp", "submissions": "smtp", "imap": "imap", "imaps": "imap", "pop3": "pop3", "pop3s": "pop3"}


@pytest.fixture(scope="module")
def server():
    with MailServer({"workers": 1}, protocols=(*DOORS, "https")) as one:
        yield one


def said_to(server, door, *offered):
    """What the server says behind the handshake to a client that offers these; b"": it hung up."""
    context = untrusting()
    if offered:
        context.set_alpn_protocols(offered)
    with socket.create_connection((HOST, server.ports[door]), 10) as plain:
        for line in STARTTLS.get(door, ()):
            plain.recv(1000)
            plain.sendall(line)
        if door in STARTTLS:
            plain.recv(1000)
        try:
            with context.wrap_socket(plain, server_hostname="mx.example.test") as secured:
                if door in STARTTLS or door == "https":
                    secured.sendall(
                        {"smtp": b"NOOP\r\n", "imap": b"b NOOP\r\n", "pop3": b"CAPA\r\n"}.get(
                            door, b"GET /healthz HTTP/1.0\r\n\r\n"
                        )
                    )
                return secured.recv(100)
        except (ssl.SSLError, ConnectionError):
            return b""


@pytest.mark.parametrize("door", DOORS)
def test_cross_protocol(server, door):
    for offered in (("h2", "http/1.1"), ("http/1.1",), ("ftp",), ("pop3" if NAMES[door] == "imap" else "imap",)):
        assert said_to(server, door, *offered) == b"", offered


@pytest.mark.parametrize("door", DOORS)
def test_who_offers_nothing_or_ours_or_what_nobody_knows_is_served(server, door):
    for offered in ((), (NAMES[door],), ("h2", NAMES[door]), ("x-unknown",)):
        assert said_to(server, door, *offered), offered


def test_the_http_server_is_for_browsers(server):
    assert said_to(server, "https", "h2", "http/1.1").startswith(b"HTTP/1.")
    assert said_to(server, "https", "imap") == b""


def test_who_was_turned_away_leaves_nothing_behind(server):
    for _ in range(30):
        assert said_to(server, "submissions", "h2") == b""
    with smtplib.SMTP_SSL(HOST, server.ports["submissions"], context=untrusting()) as client:
        assert client.noop()[0] == 250
