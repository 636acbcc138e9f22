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
RECIPIENT = b"MAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<alice@example.test>\r\n"
ENVELOPE = RECIPIENT + b"DATA\r\n"


def begin(peer: Any, *, data: bool = True) -> None:
    assert peer.reply().startswith("220")
    assert peer.ask("EHLO client.example").startswith("250")
    peer.send(ENVELOPE if data else RECIPIENT)
    assert [peer.reply()[:3] for _ in range(3 if data else 2)] == ["250", "250", "354"][: 3 if data else 2]


@pytest.mark.parametrize("glue", ["one segment", "two segments"])
def test_starttls_injection(serve: Serve, client_tls: ssl.SSLContext, glue: str) -> None:
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


def test_starttls_leaves_nothing_of_the_state(serve: Serve, client_tls: ssl.SSLContext) -> None:
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


def test_starttls_that_fails_leaves_nothing_behind(serve: Serve) -> None:
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
def test_smuggling_inbound(serve: Serve, end: bytes) -> None:
    running = serve(relay=("127.0.0.0/8",))
    peer = running.connect()
    begin(peer)
    peer.send(b"Subject: x\r\n\r\nbody" + end + ENVELOPE + b"Subject: smuggled\r\n\r\n\r\n.\r\n")
    assert peer.reply().startswith("550 5.6.0")
    assert peer.reply() == ""
    assert running.site.spool.accepted == []


@pytest.mark.parametrize("verb", ["DATA", "BDAT"])
def test_huge_message_of_150_mb_in_flat_memory(serve: Serve, verb: str) -> None:
    running = serve(limits={"message_size": 160 * 2**20})
    peer = running.connect()
    begin(peer, data=verb == "DATA")
    piece = (b"x" * 62 + b"\r\n") * 16384
    for number in range(150):
        peer.send(piece if verb == "DATA" else b"BDAT %d\r\n" % len(piece) + piece)
        if verb == "BDAT":
            assert peer.reply().startswith("250 2.0.0")
        if number == 10:
            before = resident()
    grown = resident() - before
    peer.send(b".\r\n" if verb == "DATA" else b"BDAT 0 LAST\r\n")
    assert peer.reply().startswith("250")
    assert running.site.spool.accepted[0].content.size > 150 * 2**20
    assert grown < 8 * 2**20


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_write_side_flood(serve: Serve) -> None:
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


def test_many_commands_do_not_hold_the_loop(serve: Serve) -> None:
    """The clients are a process of their own: in ours they would wait for the interpreter's lock, not for the server."""
    running = serve(limits={"errors": 10**9})
    done = subprocess.run(
        [sys.executable, "-c", CLIENTS, str(running.port)], capture_output=True, text=True, timeout=60, check=True
    )
    assert float(done.stdout) < 0.05


def test_bdat_when_tls_ends_within_a_chunk(serve: Serve, client_tls: ssl.SSLContext) -> None:
    """CVE-2026-45185: the end of TLS is the end of the link; octets in clear behind it are nobody's."""
    running = serve()
    peer = running.connect()
    peer.reply()
    peer.ask("EHLO client.example")
    assert peer.ask("STARTTLS").startswith("220")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_tls.wrap_bio(incoming, outgoing, server_hostname="mx.example.test")

    def turn(work: Callable[[], Any]) -> Any:
        while True:
            try:
                done = work()
            except ssl.SSLWantReadError:
                peer.sock.sendall(outgoing.read())
                incoming.write(peer.sock.recv(65536))
                continue
            peer.sock.sendall(outgoing.read())
            return done

    turn(tls.do_handshake)
    turn(lambda: tls.write(b"EHLO client.example\r\n"))
    assert turn(lambda: tls.read(65536)).startswith(b"250")
    turn(lambda: tls.write(RECIPIENT + b"BDAT 10 LAST\r\nbody"))
    with pytest.raises(ssl.SSLWantReadError):
        tls.unwrap()
    peer.sock.sendall(outgoing.read() + b"12345\r\nNOOP\r\n")
    peer.sock.settimeout(5)
    rest = b""
    while octets := _received(peer.sock):
        rest += octets
    assert b"250 2.0.0" not in rest
    deadline = time.monotonic() + 5
    while running.site.server.connections and time.monotonic() < deadline:
        time.sleep(0.02)
    assert running.site.server.connections == 0
    assert running.site.spool.accepted == []


def _received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except ConnectionResetError:
        return b""


CROWD = """
import socket, sys, threading, time
port = int(sys.argv[1])
def connect():
    sock = socket.create_connection(("127.0.0.1", port))
    sock.recv(200)
    return sock
slow = [connect() for _ in range(200)]
huge = connect()
huge.sendall(b"EHLO x\\r\\nMAIL FROM:<a@elsewhere.test>\\r\\nRCPT TO:<alice@example.test>\\r\\nBDAT 40000000 LAST\\r\\n")
flood = connect()
def drain(sock):
    while sock.recv(1 << 20):
        pass
threading.Thread(target=drain, args=(flood,), daemon=True).start()
threading.Thread(target=lambda: flood.sendall(b"RCPT TO:<a@b.test>\\r\\n" * 200_000), daemon=True).start()
threading.Thread(target=lambda: huge.sendall(b"x" * 39_000_000), daemon=True).start()
for sock in slow:
    sock.sendall(b"E")
slowest = 0.0
for _ in range(20):
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as healthy:
        healthy.recv(100)
        healthy.sendall(b"EHLO x\\r\\nMAIL FROM:<a@elsewhere.test>\\r\\nRCPT TO:<alice@example.test>\\r\\nBDAT 7 LAST\\r\\nbody\\r\\n.QUIT\\r\\n")
        said = b""
        while octets := healthy.recv(65536):
            said += octets
        assert b"250 2.0.0 queued" in said, said
    slowest = max(slowest, time.monotonic() - started)
    for sock in slow:
        sock.sendall(b"X")
print(slowest)
"""


def test_slow_flooding_and_huge_peers_leave_healthy_ones_served(serve: Serve) -> None:
    running = serve(limits={"errors": 10**9, "connections_per_client": 1000})
    done = subprocess.run([sys.executable, "-c", CROWD, str(running.port)], capture_output=True, text=True, timeout=100, check=True)
    assert float(done.stdout) < 2.0
