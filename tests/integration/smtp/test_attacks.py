# SPDX-License-Identifier: Apache-2.0
"""Smuggling, injection and floods over real sockets (research catalogue of SMTP attacks)."""

import resource
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

Serve = Callable[..., Any]
ENVELOPE = b"MAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n"


def begin(peer: Any) -> None:
    assert peer.reply().startswith("220")
    assert peer.ask("EHLO client.example").startswith("250")
    peer.send(ENVELOPE)
    assert [peer.reply()[:3] for _ in range(3)] == ["250", "250", "354"]


@pytest.mark.parametrize("glue", ["one segment", "two segments"])
def test_nothing_said_before_tls_counts(serve: Serve, client_tls: ssl.SSLContext, glue: str) -> None:
    """CVE-2011-0411: the injected command must neither be obeyed nor answered under TLS."""
    running = serve()
    peer = running.connect(running.submission)
    peer.reply()
    peer.ask("EHLO client.example")
    if glue == "one segment":
        peer.send(b"STARTTLS\r\nNOOP injected\r\n")
        assert peer.reply() == ""
        return
    assert peer.ask("STARTTLS").startswith("220")
    peer.send(b"NOOP injected\r\n")
    with pytest.raises((ssl.SSLError, OSError)):
        peer.secure(client_tls)


def test_state_is_new_after_tls(serve: Serve, client_tls: ssl.SSLContext) -> None:
    running = serve(relay=("127.0.0.0/8",))
    peer = running.connect()
    peer.reply()
    assert peer.ask("EHLO client.example").startswith("250")
    assert peer.ask("MAIL FROM:<a@elsewhere.test>").startswith("250")
    assert peer.ask("STARTTLS").startswith("220")
    peer.secure(client_tls)
    assert peer.ask("RCPT TO:<alice@example.test>").startswith("503")
    assert peer.ask("MAIL FROM:<a@elsewhere.test>").startswith("503 5.5.1 send EHLO")
    lines = peer.lines("EHLO client.example")
    assert "250-AUTH PLAIN LOGIN" in lines
    assert not any("STARTTLS" in line for line in lines)
    assert peer.ask("STARTTLS").startswith("503")
    peer.close()


def test_a_failed_handshake_leaves_nothing_behind(serve: Serve) -> None:
    running = serve()
    for _ in range(3):
        peer = running.connect()
        peer.reply()
        peer.ask("EHLO client.example")
        assert peer.ask("STARTTLS").startswith("220")
        peer.send(b"this is no handshake\r\n")
        peer.close()
    deadline = time.monotonic() + 5
    while running.site.server.connections and time.monotonic() < deadline:
        time.sleep(0.02)
    assert running.site.server.connections == 0
    assert running.site.server._clients == {}


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n\n.\r\n", b"\r\n\x00.\r\n", b"\r\n.\r\r\n"]
)
def test_smuggled_messages_arrive_nowhere(serve: Serve, end: bytes) -> None:
    running = serve(relay=("127.0.0.0/8",))
    peer = running.connect()
    begin(peer)
    peer.send(b"Subject: x\r\n\r\nbody" + end + ENVELOPE + b"Subject: smuggled\r\n\r\n\r\n.\r\n")
    assert peer.reply().startswith("550 5.6.0")
    assert peer.reply() == ""
    assert running.site.spool.accepted == []


def test_memory_stays_flat_for_a_message_of_40_mb(serve: Serve) -> None:
    running = serve()
    peer = running.connect()
    begin(peer)
    piece = (b"x" * 76 + b"\r\n") * 1000
    for _ in range(50):
        peer.send(piece)
    before = resident()
    for _ in range(480):
        peer.send(piece)
    grown = resident() - before
    peer.send(b".\r\n")
    assert peer.reply().startswith("250")
    assert running.site.spool.accepted[0].content.size > 40_000_000
    assert grown < 8 * 2**20


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_a_client_that_never_reads_is_not_served_without_end(serve: Serve) -> None:
    running = serve(limits={"errors": 10**9})
    peer = running.connect()
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.sock.settimeout(3)
    with pytest.raises(TimeoutError):
        peer.send(b"HELP\r\n" * 10_000_000)  # far more than the kernel's buffers
    [link] = running.site.server._links
    assert link.stalled
    assert link.buffered < 200_000
    assert link.lines.waiting < 600_000
    healthy = running.connect()
    started = time.monotonic()
    assert healthy.reply().startswith("220")
    assert time.monotonic() - started < 0.5
    healthy.close()
    peer.close()


CLIENTS = """
import socket, sys, threading, time
port = int(sys.argv[1])
flood = socket.create_connection(("127.0.0.1", port))
def read():
    while flood.recv(1 << 20):
        pass
threading.Thread(target=read, daemon=True).start()
threading.Thread(target=lambda: flood.sendall(b"NOOP\\r\\n" * 400_000), daemon=True).start()
time.sleep(0.05)
slowest = 0.0
for _ in range(30):
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as healthy:
        assert healthy.recv(100).startswith(b"220")
    slowest = max(slowest, time.monotonic() - started)
print(slowest)
"""


def test_a_flood_does_not_hold_the_loop(serve: Serve) -> None:
    """The clients are a process of their own: in ours they would wait for the interpreter's lock, not for the server."""
    running = serve(limits={"errors": 10**9})
    done = subprocess.run(
        [sys.executable, "-c", CLIENTS, str(running.port)], capture_output=True, text=True, timeout=60, check=True
    )
    assert float(done.stdout) < 0.05
