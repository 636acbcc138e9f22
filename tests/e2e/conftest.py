"""One daemon for each test module, and the programs that talk to it."""
# SPDX-License-Identifier: Apache-2.0

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from mta.testing.server import MailServer

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
