"""``mta`` commands without half a second of imports for each: a prepared process has them imported and forks for every command.

What runs is the command itself, in a process of its own, with its own files, folder and environment, and it ends as a process
of Python ends; only the start of the interpreter is shared. What the start reads (``PYTHONPATH``, ``LD_PRELOAD`` and their like)
cannot differ: ``can_run`` says no, and the caller starts a program as usual.
"""
# SPDX-License-Identifier: Apache-2.0

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path

_LARGEST = 1 << 17
"""Octets of a request: words and environment."""
_NUMBER = 32
"""Octets of an answer: the process id, then the exit status."""


def can_run(program: str, env: Mapping[str, str]) -> bool:
    """Whether ``program`` in ``env`` would read the same modules as this interpreter."""
    ours = Path(program) == Path(sys.executable).parent / "mta"
    return ours and all(env.get(key) == os.environ.get(key) for key in env.keys() | os.environ.keys() if _read_at_start(key))


def _read_at_start(key: str) -> bool:
    return key.startswith(("PYTHON", "LD_", "MALLOC_", "LC_", "LANG", "TZ", "OPENSSL_")) and key != "PYTHONUNBUFFERED"


class Command:
    """``mta WORDS`` as it runs; what ``subprocess.Popen`` calls so is called so here.

    ``session``: in a session and process group of its own.
    """

    def __init__(
        self, words: Sequence[str], files: tuple[int, int, int], *, env: Mapping[str, str], cwd: Path, session: bool = False
    ) -> None:
        self.args = ["mta", *words]
        self.returncode: int | None = None
        self._reply, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            request = json.dumps([self.args, dict(env), str(cwd), session]).encode()
            socket.send_fds(_control(), [request], [*files, theirs.fileno()])
        self.pid = int(self._reply.recv(_NUMBER))

    def __del__(self) -> None:
        self._reply.close()

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._reply.settimeout(timeout)
            try:
                self.returncode = int(self._reply.recv(_NUMBER))
            except (TimeoutError, BlockingIOError):
                assert timeout is not None
                raise subprocess.TimeoutExpired(self.args, timeout) from None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def run(
    words: Sequence[str], *, octets: bytes, env: Mapping[str, str], cwd: Path, timeout: float
) -> subprocess.CompletedProcess[bytes]:
    """Like ``subprocess.run(…, capture_output=True)``. Raises ``subprocess.TimeoutExpired``; the command is killed then."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        stdin.write(octets)
        stdin.seek(0)
        command = Command(words, (stdin.fileno(), out.fileno(), err.fileno()), env=env, cwd=cwd)
        try:
            status = command.wait(timeout)
        except BaseException:
            command.send_signal(signal.SIGKILL)
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command.args, status, out.read(), err.read())


@functools.cache
def _control() -> socket.socket:
    """The socket to the prepared process, which ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", __name__, str(theirs.fileno())]
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=env, start_new_session=True)

    def end() -> None:
        ours.close()
        process.wait(10)

    atexit.register(end)
    return ours


def _next_command(control: socket.socket) -> list[str] | None:
    """In the prepared process: None when nobody is left who asks. In each process forked from it: the words to run."""
    running: dict[int, tuple[int, socket.socket]] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready != control.fileno():
                poll.unregister(ready)
                pid, reply = running.pop(ready)
                os.close(ready)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with reply, contextlib.suppress(OSError):  # who asked has gone
                    reply.send(b"%d" % status)
                continue
            request, fds, _, _ = socket.recv_fds(control, _LARGEST, 4)
            if not request:
                return None
            pid = os.fork()
            if pid == 0:
                control.close()
                for pidfd, (_, reply) in running.items():
                    os.close(pidfd)
                    reply.close()
                return _settle(request, fds)
            *files, answer = fds
            for fd in files:
                os.close(fd)
            reply = socket.socket(fileno=answer)
            reply.send(b"%d" % pid)
            pidfd = os.pidfd_open(pid)
            running[pidfd] = pid, reply
            poll.register(pidfd, select.POLLIN)


def _settle(request: bytes, fds: list[int]) -> list[str]:
    """Take the files, the environment and the folder of the command."""
    words, env, cwd, session = json.loads(request)
    for number, fd in enumerate(fds[:3]):
        os.dup2(fd, number)
    for fd in fds:
        os.close(fd)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    if session:
        os.setsid()
    assert isinstance(words, list)
    return words


def main() -> None:
    """Be the prepared process, and each command that is forked from it."""
    from mta.cli import main as program

    for module in (*(module for module, _ in program.COMMANDS.values()), "mta.app.supervisor"):
        importlib.import_module(module)
    for plugin in entry_points(group="mta.plugins", name="sql"):  # nearly every configuration names it
        plugin.load()
    gc.collect()
    gc.freeze()
    words = _next_command(socket.socket(fileno=int(sys.argv[1])))
    if words is not None:
        sys.argv = words
        sys.path[0] = str(Path(sys.executable).parent)  # where the script is; with -m it was the working directory
        program.main(words[1:])


if __name__ == "__main__":
    main()
