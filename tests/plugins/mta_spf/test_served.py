"""In the real daemon: the field in the mailbox, and the refusal at RCPT. Clients come through a proxy, with addresses of their own."""
# SPDX-License-Identifier: Apache-2.0

import smtplib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from mta.testing.dns import DnsServer
from mta.testing.server import HOST, MailServer, free_port, wait_until

ALICE = "alice@example.test"
ZONES = {
    "b.example": {"TXT": ['"v=spf1 ip4:192.0.2.0/28 ?ip4:192.0.2.16/28 -all exp=why.b.example"']},
    "why.b.example": {"TXT": ['"%{i} is not ours"']},
    "mx.b.example": {"TXT": ['"v=spf1 a -all"'], "A": ["192.0.2.1"]},
}


class Proxied(smtplib.SMTP):
    """A client that a proxy announces as ``client``."""

    def __init__(self, client: str, port: int) -> None:
        self._client = client
        super().__init__(HOST, port, local_hostname="mx.b.example", timeout=20)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        link = socket.create_connection((host, port), timeout)
        link.sendall(f"PROXY TCP4 {self._client} 192.0.2.25 40000 25\r\n".encode())
        return link


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(port: int) -> Iterator[MailServer]:
    with DnsServer(ZONES).thread() as names:
        config: dict[str, Any] = {
            "dns": {"servers": [names.address]},
            "plugins": {"sql": {}, "spf": {"reject_fail": True}},
        }
        running = MailServer(config)
        running.config["listen"].append({"url": f"smtp://{HOST}:{port}", "proxy_protocol": ["127.0.0.0/8"]})
        with running:
            yield running


@pytest.mark.parametrize(
    ("client", "sender", "expected"),
    [
        ("192.0.2.1", "bob@b.example", "spf=pass smtp.mailfrom=bob@b.example"),
        ("192.0.2.17", "bob@b.example", "spf=neutral smtp.mailfrom=bob@b.example"),
        ("192.0.2.1", "", "spf=pass smtp.helo=mx.b.example"),
        ("192.0.2.99", "bob@none.example", "spf=none smtp.mailfrom=bob@none.example"),
    ],
)
def test_the_mailbox_has_the_result(server: MailServer, port: int, client: str, sender: str, expected: str) -> None:
    mark = f"{client}-{sender or 'null'}"
    with Proxied(client, port) as link:
        link.sendmail(sender, [ALICE], f"From: <x@b.example>\r\nSubject: {mark}\r\n\r\nhello\r\n".encode())

    def header() -> bytes:
        with server.imap(ALICE) as box:
            box.select("INBOX", readonly=True)
            numbers = box.search(None, "SUBJECT", f'"{mark}"')[1][0].split()
            found = box.fetch(numbers[0].decode(), "(BODY.PEEK[HEADER])")[1][0] if numbers else None
            return found[1] if isinstance(found, tuple) else b""

    wait_until(header, 5, "the message")
    assert expected in header().decode()


def test_a_fail_is_refused(server: MailServer, port: int) -> None:
    with Proxied("192.0.2.99", port) as link:
        link.ehlo()
        link.mail("bob@b.example")
        code, text = link.rcpt(ALICE)
    assert (code, text.decode().split("\n")) == (
        550,
        [
            "5.7.23 SPF: 192.0.2.99 may not send mail for b.example",
            "5.7.23 The domain b.example explains: 192.0.2.99 is not ours",
        ],
    )


def test_loopback_is_not_checked(server: MailServer) -> None:
    with server.smtp() as link:
        link.sendmail("bob@b.example", [ALICE], b"From: <x@b.example>\r\nSubject: local\r\n\r\nhello\r\n")
