"""Inbound mail with ten plugins that do nothing on every hook that an SMTP session calls, against none: two daemons, in turns.

Prints rates and CPU (pytest -s); the bound is ten per cent of the rate, by the median of paired rounds.
"""
# SPDX-License-Identifier: Apache-2.0

import os
import socket
import statistics
import threading
import time
from pathlib import Path

import pytest

from mta.testing.server import HOST, MailServer

HOOKS = [
    "smtp_connect", "smtp_ehlo", "smtp_capabilities", "smtp_mail", "smtp_rcpt", "smtp_data", "smtp_reply", "smtp_reset", "smtp_disconnect",
]  # fmt: skip
LETTER = b"From: a@elsewhere.test\r\nSubject: one\r\n\r\n" + (b"x" * 70 + b"\r\n") * 56
ROUNDS, SECONDS, SENDERS = 10, 2.5, 8


def send(port: int, until: float, count: list[int]) -> None:
    """One message for each connection, every reply waited for, as smtp-source does."""
    steps = (
        b"EHLO c\r\n",
        b"MAIL FROM:<a@elsewhere.test>\r\n",
        b"RCPT TO:<alice@example.test>\r\n",
        b"DATA\r\n",
        LETTER + b".\r\n",
        b"QUIT\r\n",
    )
    while time.monotonic() < until:
        with socket.create_connection((HOST, port)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.recv(4096)
            for step in steps:
                sock.sendall(step)
                reply = sock.recv(4096)
                assert reply[:1] in b"23", reply
        count[0] += 1


def cpu(server: MailServer) -> float:
    ticks = 0
    for pid in server.workers:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def rate(server: MailServer) -> tuple[float, float]:
    """Messages a second, and CPU milliseconds of the workers for each."""
    count, used, begin = [0], cpu(server), time.monotonic()
    threads = [threading.Thread(target=send, args=(server.ports["smtp"], begin + SECONDS, count)) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count[0] / (time.monotonic() - begin), 1000 * (cpu(server) - used) / count[0]


@pytest.mark.timeout(120)
def test_ten_plugins_that_do_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    body = "from mta_hooks import hookimpl\n" + "".join(f"\n@hookimpl\ndef {name}():\n    return None\n" for name in HOOKS)
    for number in range(10):
        file = tmp_path / f"noop{number}.py"
        file.write_text(body, encoding="utf-8")
        file.chmod(0o644)
    ratios = []
    with (
        MailServer(protocols=("smtp",)) as none,
        MailServer({"hooks_dir": str(tmp_path)}, protocols=("smtp",)) as ten,
    ):
        rate(none), rate(ten)
        for number in range(ROUNDS):
            order = (none, ten) if number % 2 else (ten, none)
            found = {server is ten: rate(server) for server in order}
            ratios.append(found[True][0] / found[False][0])
            print(f"none {found[False][0]:.0f}/s {found[False][1]:.2f} ms   ten {found[True][0]:.0f}/s {found[True][1]:.2f} ms")
    print(f"ratio {statistics.median(ratios):.3f} ({min(ratios):.2f}..{max(ratios):.2f})")
    assert statistics.median(ratios) > 0.9
