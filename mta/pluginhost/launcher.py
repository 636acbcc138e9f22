"""Starts and ends programs for hooks through the spawner, without forking and without waiting.

The spawner is started with the first program, and again when it has died; then whatever ran is gone and its callers are told.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mta.model.errors import TemporaryFailure
from mta.obs.log import Log
from mta.pluginhost.spawner import LARGEST

Ended = Callable[[str, int], None]
"""(why it did not start, or "", exit status; negative: killed by this signal)"""

_SPAWNER = str(Path(__file__).with_name("spawner.py"))
_SEAL = str(Path(__file__).with_name("seal.py"))


@dataclass(frozen=True, slots=True)
class Command:
    """``account``: uid, gid, groups; None: our own. ``limits``: names of RLIMIT_… without that prefix.

    ``counted``: whose processes NPROC comes on top of, when not ``account``'s
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    account: tuple[int, int, Sequence[int]] | None
    limits: Mapping[str, int]
    cwd: str = "/"
    counted: int | None = None


@dataclass(slots=True)
class _Running:
    ended: Ended
    pid: int = 0
    error: str = ""


@dataclass(slots=True)
class Launcher:
    """``accounts``: the uids that ``open_as_root`` was given; None: it was not called. ``sealed``: programs get no network."""

    log: Log
    accounts: frozenset[int] | None = None
    sealed: bool = False
    _process: "subprocess.Popen[bytes] | None" = None
    _socket: socket.socket | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _running: dict[int, _Running] = field(default_factory=dict)
    _last: int = 0

    def open_as_root(self, uids: Collection[int]) -> None:
        """While we are still root: start the spawner, so that programs can run as these accounts when we are not root any more."""
        self.accounts = frozenset(uids) - {0}
        self._open()

    def may_become(self, uid: int) -> bool:
        """Whether programs can run as this account."""
        if uid == 0:
            return False
        return uid in self.accounts if self.accounts is not None else os.geteuid() == 0

    def start(self, command: Command, files: Sequence[int], ended: Ended) -> int:
        """Start a program with these descriptors as its 0, 1, 2, …; ours stay open. ``ended`` is called once, in the loop.

        Returns a number for ``kill``. Raises TemporaryFailure.
        """
        self._last += 1
        request = {
            "start": self._last,
            "argv": list(command.argv),
            "env": dict(command.env),
            "cwd": command.cwd,
            "account": command.account or self._own(),
            "limits": dict(command.limits),
            "counted": command.counted,
        }
        octets = json.dumps(request).encode("utf-8", "replace")
        if len(octets) >= LARGEST:
            raise TemporaryFailure("arguments and environment are too large")
        try:
            socket.send_fds(self._open(), [octets], files)
        except (BrokenPipeError, ConnectionResetError):
            self._died()
            socket.send_fds(self._open(), [octets], files)
        except BlockingIOError as exc:
            raise TemporaryFailure("too many programs are being started") from exc
        self._running[self._last] = _Running(ended)
        return self._last

    def _own(self) -> tuple[int, int, Sequence[int]] | None:
        """What we are, for a spawner that is still root."""
        return (os.geteuid(), os.getegid(), [g for g in os.getgroups() if g]) if self.accounts is not None else None

    def kill(self, number: int) -> None:
        """End a program and its process group at once; one that has ended is passed over."""
        if number in self._running and self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(json.dumps({"kill": number}).encode())

    def attach(self) -> None:
        """Have events read by the running loop; needed again only when programs outlive a loop, as in tests."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop and self._socket is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(self._socket)
            self._loop = loop
            loop.add_reader(self._socket, self._read)

    def close(self) -> None:
        """Everything that runs is ended: asked first, killed a second later. Callers are not told any more."""
        process, self._process = self._process, None
        self._running.clear()
        self._drop()
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5.0)

    def _open(self) -> socket.socket:
        if self._socket is None:
            if self.accounts is not None and os.geteuid() != 0:
                raise TemporaryFailure("the spawner died, and cannot be started again without root; mta reload starts another")
            only = [",".join(map(str, self.accounts))] if self.accounts is not None else []
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * LARGEST)
            try:
                self._process = subprocess.Popen(  # noqa: S603  # our own program
                    [sys.executable, "-I", "-S", *([_SEAL] if self.sealed else []), _SPAWNER, str(theirs.fileno()), *only],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    env={"PATH": os.defpath},
                    cwd="/",
                )
            except OSError as exc:
                ours.close()
                raise TemporaryFailure(f"the spawner cannot be started: {exc.strerror}") from exc
            finally:
                theirs.close()
            self._socket = ours
        with contextlib.suppress(RuntimeError):  # no loop yet: a plugin is being loaded
            self.attach()
        return self._socket

    def _drop(self) -> None:
        if self._socket is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(self._socket)
            self._socket.close()
        self._socket = self._loop = None

    def _read(self) -> None:
        assert self._socket is not None
        while self._socket is not None:
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._died()
                return
            self._take(json.loads(data))

    def _take(self, event: Mapping[str, object]) -> None:
        number = event.get("id")
        running = self._running.get(number) if isinstance(number, int) else None
        if running is None:
            return
        if isinstance(pid := event.get("pid"), int):
            running.pid = pid
        elif "error" in event:
            running.error = str(event["error"])
        elif isinstance(number, int) and isinstance(status := event.get("status"), int):
            del self._running[number]
            running.ended(running.error, status)

    def _died(self) -> None:
        process, self._process = self._process, None
        status = None
        if process is not None:
            process.kill()
            status = process.wait()
        self._drop()
        self.log.error("plugin.spawner_died", status=status, programs=len(self._running))
        running, self._running = self._running, {}
        for one in running.values():
            if one.pid:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(one.pid, signal.SIGKILL)
            one.ended("the spawner died", -signal.SIGKILL)


def describe_status(error: str, status: int) -> str:
    """For log and health: "Permission denied", "killed by SIGSEGV", "exit status 3"."""
    if error:
        return error
    if status < 0:
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"killed by signal {-status}"
    return f"exit status {status}"
