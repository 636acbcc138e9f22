# SPDX-License-Identifier: Apache-2.0
import getpass
import smtplib
import socket
import ssl
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from mta.config.sections import Smtp

Serve = Callable[..., Any]
MESSAGE = "Subject: hello\r\n\r\n.dot\r\n..dots\r\nbody\r\n"


def test_smtplib_delivers_locally(serve: Serve) -> None:
    running = serve()
    with smtplib.SMTP("127.0.0.1", running.port, timeout=10) as client:
        refused = client.sendmail(
            "sender@elsewhere.test", ["alice@example.test", "nobody@example.test"], MESSAGE, ["BODY=8BITMIME"]
        )
    assert refused["nobody@example.test"][0] == 550
    [intake] = running.site.spool.accepted
    assert intake.content.raw().endswith(MESSAGE.encode())
    assert (intake.client, intake.eightbit) == ("127.0.0.1", True)


@pytest.mark.parametrize("implicit", [False, True])
def test_smtplib_submits_over_tls(serve: Serve, client_tls: ssl.SSLContext, implicit: bool) -> None:
    running = serve()
    if implicit:
        client: smtplib.SMTP = smtplib.SMTP_SSL("127.0.0.1", running.tls_port, timeout=10, context=client_tls)
    else:
        client = smtplib.SMTP("127.0.0.1", running.submission, timeout=10)
        client.starttls(context=client_tls)
    with client:
        client.login("alice@example.test", "secret")
        client.sendmail("alice@example.test", ["far@elsewhere.test"], MESSAGE)
    [intake] = running.site.spool.accepted
    assert (intake.origin, intake.user) == ("submission", "alice@example.test")
    octets = intake.content.raw()
    assert b"with ESMTPSA\r\n\ttls TLS_" in octets
    assert b"\r\nMessage-ID: <" in octets


def test_the_sendmail_socket_names_its_user(serve: Serve) -> None:
    running = serve()
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(running.socket_path)
    with peer, peer.makefile("rb") as file:
        file.readline()
        peer.sendall(b"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<far@elsewhere.test>\r\nDATA\r\n")
        for _ in range(4):
            file.readline()
        peer.sendall(b"Subject: x\r\n\r\n.\r\n")
        assert file.readline().startswith(b"250")
    assert running.site.spool.accepted[0].user == f"{getpass.getuser()}@mx.example.test"


@pytest.mark.peer("smtp-source")
def test_many_sessions_of_a_c_client(serve: Serve) -> None:
    running = serve()
    subprocess.run(
        [
            "smtp-source",
            "-s",
            "20",
            "-l",
            "4096",
            "-m",
            "400",
            "-f",
            "a@elsewhere.test",
            "-t",
            "alice@example.test",
            f"127.0.0.1:{running.port}",
        ],
        check=True,
        timeout=60,
    )
    assert len(running.site.spool.accepted) == 400
    assert len({intake.id for intake in running.site.spool.accepted}) == 400


@pytest.mark.peer("swaks")
def test_swaks_speaks_for_another_client(serve: Serve) -> None:
    running = serve(smtp=Smtp(xclient=("127.0.0.0/8",)))
    command = f"swaks --server 127.0.0.1:{running.port} --from a@elsewhere.test --to alice@example.test --xclient ADDR=192.0.2.7"
    done = subprocess.run(command.split(), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout
    [intake] = running.site.spool.accepted
    assert intake.client == "192.0.2.7"
    assert b"([192.0.2.7])" in intake.content.raw()
