"""One daemon for each test module, and the programs that talk to it."""
# SPDX-License-Identifier: Apache-2.0

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator

import pytest

from mta.testing.clients import compose
from mta.testing.server import PASSWORD, MailServer

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    """Every protocol, plain and with implicit TLS."""
    protocols = ("smtp", "submission", "submissions", "lmtp", "imap", "imaps", "pop3", "pop3s")
    with MailServer(protocols=protocols) as running:
        yield running


@pytest.fixture
def run(tmp_path) -> Run:
    """Run a client program in a home of its own; fails with its output when the exit status is not ``status``."""

    def call(*words: str, text: str = "", status: int | None = 0, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            words,
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
            check=False,
        )
        if status is not None:
            assert done.returncode == status, f"{words[0]}: {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done

    return call


@pytest.fixture
def filled(server: MailServer) -> Callable[[int], str]:
    """Make an account whose inbox has ``count`` messages, ``<m0@client.test>`` and so on."""

    def make(count: int) -> str:
        user = f"u{uuid.uuid4().hex[:12]}@example.test"
        server.cli("user", "add", user, "--password-stdin", octets=PASSWORD.encode() + b"\n")
        with server.imap(user) as box:
            for start in range(0, count, 500):  # in few commands: MULTIAPPEND
                parts = [
                    b"Return-Path: <load@client.test>\r\n" + compose(f"<m{n}@client.test>", user, size=300 + n % 50)
                    for n in range(start, min(count, start + 500))
                ]
                box.send(b"a APPEND INBOX" + b"".join(b" {%d+}\r\n%b" % (len(part), part) for part in parts) + b"\r\n")
                while not (line := box.readline()).startswith(b"a "):
                    pass
                assert line.startswith(b"a OK"), line
        return user

    return make
