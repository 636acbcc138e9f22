"""The real daemon: a client that comes back, one that does not, and the operator's commands while the server runs."""
# SPDX-License-Identifier: Apache-2.0

import json
import smtplib
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from mta.testing.server import DOMAIN, HOST, MailServer, free_port, wait_until

OCTETS = b"Subject: hello\r\n\r\nhello\r\n"


class Client(smtplib.SMTP):
    """Comes from ``source``, as a load balancer would say."""

    def __init__(self, port: int, source: str) -> None:
        self._source = source
        super().__init__(HOST, port, timeout=15)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        sock = socket.create_connection((host, port), timeout)
        sock.sendall(f"PROXY TCP4 {self._source} 127.0.0.1 40000 25\r\n".encode())
        return sock


def test_strangers_come_back(tmp_path: Path) -> None:
    port = free_port()
    config: dict[str, Any] = {
        "plugins": {"sql": {}, "greylist": {"delay": 1, "exempt": ["203.0.113.0/24"]}},
        "listen": [{"url": f"smtp://{HOST}:{port}", "proxy_protocol": ["127.0.0.1"]}],
    }
    with MailServer(config, directory=tmp_path) as server:

        def send(source: str, sender: str = "bob@far.example") -> int:
            with Client(port, source) as client:
                try:
                    client.sendmail(sender, [f"alice@{DOMAIN}"], OCTETS)
                except smtplib.SMTPRecipientsRefused as exc:
                    [(code, text)] = exc.recipients.values()
                    assert b"greylisted" in text
                    return code
            return 250

        def listing(*words: str) -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = json.loads(server.cli("greylist", "list", "--json", *words).stdout)
            return found

        assert send("192.0.2.1") == 450
        [row] = listing()
        assert (row["client"], row["sender"], row["state"]) == ("192.0.2.0/24", "bob@far.example", "waits")
        assert send("203.0.113.1") == 250
        time.sleep(max(0.0, row["first"] + 1.05 - time.time()))
        assert send("192.0.2.9") == 250
        assert [r["state"] for r in listing("far.example")] == ["came back"]
        assert send("192.0.2.1", "eve@far.example") == 450

        server.cli("greylist", "allow", "@far.example")
        assert send("192.0.2.1", "eve@far.example") == 250
        assert send("198.51.100.1", "mallory@far.example") == 250
        assert [(r["entry"], r["by"]) for r in listing("--allowed")] == [("@far.example", "operator")]
        assert b"1 row forgotten" in server.cli("greylist", "forget", "@far.example").stdout
        assert server.cli("greylist", "forget", "@far.example", check=False).returncode == 67
        assert server.cli("greylist", "allow", "nobody", check=False).returncode == 64
        assert send("198.51.100.1", "mallory@far.example") == 450
        assert b"waits" in server.cli("greylist", "list").stdout
        wait_until(lambda: server.log.count("message.accepted") == 4, 5.0, "four messages")


@pytest.mark.parametrize("words", [(), ("list",), ("allow",), ("forget",)])
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    from mta_greylist.commands import greylist

    command = greylist.commands[words[0]] if words else greylist
    assert f"Example: mta greylist {words[0] if words else 'list'}" in (command.help or "")
