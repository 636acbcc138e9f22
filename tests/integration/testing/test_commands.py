"""Commands that a prepared process runs are like commands of a program."""
# SPDX-License-Identifier: Apache-2.0

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from mta.testing import commands
from mta.testing.server import MailServer


@pytest.fixture
def idle():
    server = MailServer(users=(), protocols=("smtp",))
    server.prepare()
    yield server
    server.close()


def test_the_same_as_the_program(idle):
    idle.env["MTA_COLOUR"] = "none"
    for words, octets in (
        (("user", "add", "carol@example.test", "--password-stdin"), b"pw\n"),
        (("user", "list"), b""),
        (("user", "delete", "nobody@example.test", "--yes"), b""),
        (("nonsense",), b""),
        (("--version",), b""),
    ):
        done = idle.cli(*words, octets=octets, check=False)
        if words[1:2] == ("add",):
            idle.cli("user", "delete", "carol@example.test", "--yes")
        program = subprocess.run(
            idle.command(*words), input=octets, capture_output=True, env=idle._environment(), cwd=idle.directory, check=False
        )
        assert done.args[0] == "mta", "a prepared process ran it"
        assert (done.returncode, done.stdout, done.stderr) == (program.returncode, program.stdout, program.stderr)


def test_many_at_once(idle):
    with ThreadPoolExecutor(5) as pool:
        names = [f"u{number}@example.test" for number in range(5)]
        list(pool.map(lambda name: idle.cli("user", "add", name, "--password-stdin", octets=b"pw\n"), names))
    assert [line.split()[0] for line in idle.cli("user", "list").stdout.decode().splitlines()[1:]] == names


def test_signals_reach_it_and_its_status_says_so(idle):
    idle.launch()
    idle.wait_listening()
    assert isinstance(idle.process, commands.Command)
    assert os.getpgid(idle.pid) == os.getsid(idle.pid) == idle.pid
    assert idle.process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        idle.process.wait(0.05)
    os.killpg(idle.pid, signal.SIGKILL)
    assert idle.process.wait(10) == -signal.SIGKILL
    assert idle.process.poll() == -signal.SIGKILL
    idle.process.send_signal(signal.SIGTERM)  # nobody is hit


def test_who_takes_too_long_is_killed(idle, monkeypatch):
    gone = []
    real = commands.Command.send_signal

    def note(command, number):
        gone.append(command)
        real(command, number)

    monkeypatch.setattr(commands.Command, "send_signal", note)
    with pytest.raises(subprocess.TimeoutExpired):
        idle.cli("serve", timeout=0.3)
    assert gone[0].wait(10) == -signal.SIGKILL


@pytest.mark.parametrize("key", ["PYTHONPATH", "LD_PRELOAD", "LC_ALL", "TZ"])
def test_what_the_start_of_an_interpreter_reads_starts_one(idle, key):
    idle.env[key] = "/nonexistent"
    assert not commands.can_run(idle.program("mta"), idle._environment())
    assert idle.cli("--version").args[0] == idle.program("mta")
    assert not commands.can_run("/elsewhere/mta", dict(os.environ))
