"""What a program writes: kept up to a bound, or put into the log line by line, at a bounded rate."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
from time import monotonic

from mta.model.errors import TemporaryFailure
from mta.obs.log import Log

_PIECE = 65536
LINES, WINDOW = 50, 60.0
"""Lines of one program in the log, per so many seconds."""
LONGEST_LOGGED = 500


class Output:
    """The reading end of a pipe of its own; ``writing`` goes to the program and is closed here once it has it.

    full  what came is longer than ``most``: reading has ended
    """

    def __init__(self, most: int) -> None:
        try:
            self._reading, self.writing = os.pipe2(os.O_CLOEXEC)
        except OSError as exc:
            raise TemporaryFailure(f"no pipe: {exc.strerror}") from exc
        os.set_blocking(self._reading, False)
        self.most = most
        self.data = bytearray()
        self.full = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self) -> None:
        """Read in the running loop from now on."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop and self._reading >= 0:
            self._loop = loop
            loop.add_reader(self._reading, self._ready)

    def given(self) -> None:
        """The program has its end: ours is closed, so that its end is seen."""
        if self.writing >= 0:
            os.close(self.writing)
            self.writing = -1

    def _ready(self) -> bool:
        """One read. False: there is nothing more for now."""
        try:
            piece = os.read(self._reading, _PIECE)
        except BlockingIOError:
            return False
        except OSError:
            piece = b""
        if piece:
            self.take(piece)
        if not piece or self.full:
            self._shut()
            return False
        return True

    def take(self, piece: bytes) -> None:
        self.data += piece
        self.full = len(self.data) > self.most

    def drain(self) -> None:
        """Take what is in the pipe, without a loop."""
        while self._reading >= 0 and self._ready():
            pass

    def fileno(self) -> int:
        """The reading end; -1: shut."""
        return self._reading

    def close(self) -> None:
        """Take what is left in the pipe, and no more: a grandchild may still hold its other end."""
        self.given()
        self.drain()
        self._shut()

    def _shut(self) -> None:
        if self._reading >= 0:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(self._reading)
            os.close(self._reading)
            self._reading = -1


class LoggedOutput(Output):
    """Standard error of a program that stays."""

    def __init__(self, log: Log) -> None:
        super().__init__(0)
        self._log = log
        self._since = 0.0
        self._lines = 0
        self.last = ""
        """The last line: what a traceback ends with."""

    def take(self, piece: bytes) -> None:
        self.data += piece
        *lines, rest = self.data.split(b"\n")
        self.data = rest[-LONGEST_LOGGED:]
        for line in lines:
            self._say(line)

    def _say(self, line: bytes | bytearray) -> None:
        now = monotonic()
        if now - self._since > WINDOW:
            self._since, self._lines = now, 0
        text = line[:LONGEST_LOGGED].decode("utf-8", "replace").rstrip()
        if not text:
            return
        self.last = text
        self._lines += 1
        if self._lines <= LINES:
            self._log.warning("plugin.output", text=text)
