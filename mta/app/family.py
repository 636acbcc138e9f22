"""Worker processes as their parent sees them: forked, heard over a pipe, buried."""
# SPDX-License-Identifier: Apache-2.0

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mta.app.worker import EX_IOERR, EX_SOFTWARE

_FAST = 10.0  # a worker that lived shorter than this crashed fast
_LONGEST_PAUSE = 2.0  # a crash loop must not take a core, nor a chance crash the service
_DEAD_DISK_PAUSE = 30.0
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass(eq=False, slots=True)
class Member:
    """One worker. ``failure``: what it said when it could not start."""

    pid: int
    number: int
    generation: int
    slot: int
    pipe: int
    started: float = field(default_factory=time.monotonic)
    ready: bool = False
    retired: float = 0.0
    """When it was told to drain, monotonic; 0.0: it was not."""
    failure: str = ""
    octets: bytes = b""

    def hear(self) -> bool:
        """Read what it wrote. False at the end of its pipe."""
        with suppress(BlockingIOError):
            if not (octets := os.read(self.pipe, 65536)):
                return False
            self.octets += octets
        *lines, self.octets = self.octets.split(b"\n")
        for line in lines:
            said: dict[str, Any] = json.loads(line)
            self.ready = self.ready or bool(said.get("ready"))
            self.failure = str(said.get("failed", self.failure))
        return True

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def retire(self) -> None:
        if not self.retired:
            self.retired = time.monotonic()
            self.signal(signal.SIGTERM)


def fork(life: Callable[[int], int], close: Callable[[], None]) -> tuple[int, int]:
    """Start a child that lives ``life(pipe)`` and exits with its result. ``close`` ends what is the parent's alone.

    Returns pid and the reading end of the pipe. Raises OSError when there can be no further process.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    try:
        pid = os.fork()
        if pid == 0:
            _live(life, close, reading, writing)
    except OSError:
        os.close(reading)
        os.close(writing)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
    os.close(writing)
    os.set_blocking(reading, False)
    return pid, reading


def _live(life: Callable[[int], int], close: Callable[[], None], reading: int, writing: int) -> None:
    """The child. Never returns."""
    status = EX_SOFTWARE
    try:
        signal.set_wakeup_fd(-1)
        for number in _HANDLED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        os.close(reading)
        close()
        status = life(writing)
    except BaseException:  # noqa: BLE001  # the last word of a process
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def buried(members: Iterable[Member]) -> list[tuple[Member, int]]:
    """Those that have ended, with exit status, or minus the number of the signal."""
    out = []
    for member in members:
        try:
            pid, status = os.waitpid(member.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = member.pid, 0
        if pid:
            out.append((member, os.waitstatus_to_exitcode(status)))
    return out


class Patience:
    """How long to wait before a crashed worker is started again: not at all, unless it keeps crashing or the disk is dead."""

    def __init__(self) -> None:
        self._fast: dict[int, int] = {}

    def after(self, member: Member, status: int) -> float:
        lived = time.monotonic() - member.started
        crashes = self._fast.get(member.number, 0) + 1 if lived < _FAST else 0
        self._fast[member.number] = crashes
        longest = _DEAD_DISK_PAUSE if status == EX_IOERR else _LONGEST_PAUSE
        pause = 0.0 if crashes <= 1 else min(0.1 * 2.0**crashes, longest)
        return max(pause, 1.0) if status == EX_IOERR else pause
