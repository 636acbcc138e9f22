"""Two workers of the real daemon: who guesses becomes slow, the owner at another address does not notice."""
# SPDX-License-Identifier: Apache-2.0

import socket
import time

from mta.testing.server import HOST, PASSWORD, MailServer


def attempt(server: MailServer, source: str, protocol: str, password: str) -> tuple[float, bool]:
    """Seconds until the answer; did it let us in?"""
    began = time.monotonic()
    with (
        socket.create_connection((HOST, server.ports[protocol]), source_address=(source, 0), timeout=15) as sock,
        sock.makefile("rb") as lines,
    ):
        lines.readline()
        if protocol == "imap":
            sock.sendall(f"a LOGIN alice@example.test {password}\r\n".encode())
            return time.monotonic() - began, lines.readline().startswith(b"a OK")
        sock.sendall(f"USER alice@example.test\r\nPASS {password}\r\n".encode())
        lines.readline()
        good = lines.readline().startswith(b"+OK")
        return time.monotonic() - began, good


def test_a_guesser_is_slowed_and_the_owner_is_not() -> None:
    with MailServer({"auth": {"plaintext_without_tls": True, "failure_delay": 0}}, protocols=("imap", "pop3")) as server:
        began = time.monotonic()
        for n in range(7):
            assert not attempt(server, "127.0.0.66", ("imap", "pop3")[n % 2], "guess")[1]
        assert time.monotonic() - began > 1.0
        server.wait_for_log("auth.throttled")
        seconds, good = attempt(server, "127.0.0.77", "imap", PASSWORD)
        assert good
        assert seconds < 1.0
