"""The spawner: a small process of its own that starts the programs of hooks, limits them, and buries them.

The server never forks: a fork of a large process is slow, holds up its event loop, and copies its secrets into the child. This
one is small, has one thread and knows nothing. It is run as ``python -I -S spawner.py FD [UID,…]`` (nothing of mta is imported; with a
list it starts programs as these accounts only: for a server that has given root up, and gets no more back than that) and speaks
JSON over a Unix SOCK_SEQPACKET socket:

    {"start": id, "argv": […], "env": {…}, "cwd": "/", "account": [uid, gid, [groups]] or null, "limits": {"AS": n, …},
     "counted": uid or null}
          with the descriptors that become 0, 1, 2, 3, … of the child, by SCM_RIGHTS
    {"kill": id}
    → {"id": id, "pid": n}   {"id": id, "error": "Permission denied"}   {"id": id, "status": n}  (negative: a signal)

Each program is the leader of a session and process group of its own, cannot gain privileges, and dies with us. When it ends, what
is left of its group is killed; what left the group is adopted (PR_SET_CHILD_SUBREAPER) and killed within a second. When
the server's end of the socket closes, everything ends. ``limits`` holds names of RLIMIT_…; NPROC is counted on top of what the account runs
already, because the kernel counts by account.
"""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import Any

LARGEST = 1 << 18
"""Octets of one request: arguments and environment; the server bounds them far below."""
MOST_FILES = 8
GRACE = 1.0
COUNTED_FOR = 10.0
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
_RESET = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)

_prctl = ctypes.CDLL(None, use_errno=True).prctl


class Spawner:
    def __init__(self, channel: socket.socket, accounts: frozenset[int] | None) -> None:
        self._channel = channel
        self._accounts = accounts
        self._leaders: dict[int, int] = {}
        """pid -> id"""
        self._pids: dict[int, int] = {}
        self._counted: dict[int, tuple[float, int]] = {}
        self._unswept = False

    def run(self) -> None:
        wakeup = _wakeup()
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(wakeup, select.POLLIN)
        swept = 0.0
        while True:
            for ready, _ in poll.poll(1000 if self._unswept else None):
                if ready == wakeup:
                    os.read(wakeup, 4096)
                    self._bury()
                elif not self._obey():
                    return self._end()
            if self._unswept and time.monotonic() - swept > 0.9:
                swept = time.monotonic()
                self._unswept = bool(self._leaders) | self._sweep()

    def _obey(self) -> bool:
        """One request. False: the server is gone."""
        try:
            data, files, _, _ = socket.recv_fds(self._channel, LARGEST, MOST_FILES, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            return False
        if not data:
            return False
        request = json.loads(data)
        if "kill" in request:
            if (pid := self._pids.get(request["kill"])) is not None:
                _kill_group(pid, signal.SIGKILL)
            return True
        try:
            self._start(request, files)
        except OSError as exc:
            self._tell({"id": request["start"], "error": exc.strerror or "cannot fork"})
            self._tell({"id": request["start"], "status": 126})
        finally:
            for fd in files:
                os.close(fd)
        return True

    def _start(self, request: dict[str, Any], files: list[int]) -> None:
        limits, account = request["limits"], request["account"]
        if self._accounts is not None and (account is None or account[0] not in self._accounts or 0 in (account[1], *account[2])):
            raise PermissionError(errno.EPERM, "not an account for hooks")
        if "NPROC" in limits:
            counted = request["counted"]
            limits["NPROC"] += self._running(counted if counted is not None else account[0] if account else os.getuid())
        pid = os.fork()
        if pid == 0:
            self._become(request, files)
        self._leaders[pid] = request["start"]
        self._pids[request["start"]] = pid
        self._unswept = True
        self._tell({"id": request["start"], "pid": pid})

    def _become(self, request: dict[str, Any], files: list[int]) -> None:
        """In the child. Does not return."""
        channel = fcntl.fcntl(self._channel, fcntl.F_DUPFD_CLOEXEC, 64)
        try:
            os.setsid()
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in files]
            for number, fd in enumerate(high):
                os.dup2(fd, number)
            os.umask(0o077)
            for name, value in {"CORE": 0, **request["limits"]}.items():
                _limit(getattr(resource, f"RLIMIT_{name}"), value)
            if request["account"]:
                uid, gid, groups = request["account"]
                os.setgroups(groups)
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
            _prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            _prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
            signal.set_wakeup_fd(-1)
            for number in _RESET:
                signal.signal(number, signal.SIG_DFL)
            os.chdir(request["cwd"])
            os.execve(request["argv"][0], request["argv"], request["env"])  # noqa: S606  # without a shell: on purpose
        except BaseException as exc:  # noqa: BLE001  # this process must end here, whatever happened
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            with contextlib.suppress(BaseException):
                socket.socket(fileno=channel).send(json.dumps({"id": request["start"], "error": reason}).encode())
        finally:
            os._exit(126)

    def _bury(self) -> None:
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            pid = ended.si_pid
            number = self._leaders.pop(pid, None)
            if number is not None:
                _kill_group(pid, signal.SIGKILL)  # while its zombie keeps the number from being given again
            _, status = os.waitpid(pid, 0)
            if number is not None:
                self._unswept = True
                del self._pids[number]
                self._tell({"id": number, "status": os.waitstatus_to_exitcode(status)})

    def _sweep(self) -> bool:
        """Kill adopted processes whose group has no leader any more. True when there were some."""
        found = False
        us = os.getpid()
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, parent, group = file.read().rpartition(b")")[2].split()[:3]
            except OSError:
                continue
            if int(parent) == us and state != b"Z" and int(group) not in self._leaders and int(name) not in self._leaders:
                found = True
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(int(name), signal.SIGKILL)
        return found

    def _running(self, uid: int) -> int:
        """Threads of this account, as the kernel counts them for RLIMIT_NPROC."""
        at, count = self._counted.get(uid, (0.0, 0))
        if time.monotonic() - at < COUNTED_FOR:
            return count
        count = 0
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError, ValueError):
                    count += _threads(f"/proc/{name}", uid)
        self._counted[uid] = time.monotonic(), count
        return count

    def _tell(self, event: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the server is gone: the next read says so
            self._channel.send(json.dumps(event).encode())

    def _end(self) -> None:
        for pid in self._leaders:
            _kill_group(pid, signal.SIGTERM)
        until = time.monotonic() + GRACE
        while self._leaders and time.monotonic() < until:
            time.sleep(0.01)
            self._bury()
        for pid in list(self._leaders):
            _kill_group(pid, signal.SIGKILL)
        self._leaders.clear()
        while self._sweep() and time.monotonic() < until + GRACE:
            time.sleep(0.01)
            self._bury()


def _threads(folder: str, uid: int) -> int:
    if os.stat(folder).st_uid != uid:
        return 0
    with open(f"{folder}/status", "rb") as file:
        return next((int(line[8:]) for line in file if line.startswith(b"Threads:")), 0)


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (most, most))


def _kill_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _wakeup() -> int:
    """The read end of a pipe into which every SIGCHLD writes."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # for the server: when it goes, we go
        signal.signal(number, signal.SIG_IGN)
    return reading


if __name__ == "__main__":
    _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _only = frozenset(int(uid) for uid in sys.argv[2].split(",")) if len(sys.argv) > 2 else None
    Spawner(socket.socket(fileno=int(sys.argv[1])), _only).run()
