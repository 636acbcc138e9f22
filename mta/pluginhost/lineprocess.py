"""One process that answers in JSON lines: started when first asked, asked many things at once, started again when it has died.

It hurts only those whose question it holds: when it dies, writes rubbish or does not answer, they fail by their on_error, and the
next question goes to a new process: at once the first time, then after growing pauses, until one has answered again.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import contextlib
import select
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from mta.model.errors import TemporaryFailure
from mta.obs.log import Log
from mta.pluginhost.call import Outside
from mta.pluginhost.jsonlines import Lines, Rubbish, decode_line, encode_line
from mta.pluginhost.launcher import Command, Launcher, describe_status
from mta.pluginhost.output import LoggedOutput

GRACE = 2.0
"""Seconds that a question which nobody waits for any more may stay unanswered before the process counts as hung."""
MOST_ASKED = 64
"""Questions at one time; more wait."""
LARGEST_BACKLOG = 2**24
"""Octets that the process has not yet read."""
REMEMBERED = 3600.0
SHORTEST_PAUSE, LONGEST_PAUSE, LONGEST_WAIT = 0.2, 30.0, 1.0

Handle = Callable[[Mapping[str, Any]], None]


def _nothing() -> None: ...


class LineProcess:
    """``hello``: the line each new process is sent first, answered with id 0, or None. ``handle``: lines that are no answer.
    ``files``: descriptors that become its 3, 4, …"""

    def __init__(
        self,
        launcher: Launcher,
        command: Command,
        log: Log,
        hello: dict[str, Any] | None = None,
        handle: Handle | None = None,
        files: Sequence[int] = (),
    ) -> None:
        self._launcher, self._command, self._log = launcher, command, log
        self._hello = hello
        self._handle = handle
        self._files = files
        self.closed: Callable[[], None] = _nothing
        """Called when it is closed for good."""
        self._socket: socket.socket | None = None
        self._output: LoggedOutput | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._number = 0
        self._lines = Lines()
        self._backlog = bytearray()
        self._asked: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._abandoned: dict[int, asyncio.TimerHandle] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._last = 0
        self._pause = 0.0
        self._not_before = 0.0
        self._retired = False
        self.deaths = 0
        self._died_at = 0.0
        self.last_death = ""
        self._why = ""

    # ---- asking

    async def ask(self, question: dict[str, Any]) -> Mapping[str, Any]:
        """Return the answer. Raises Outside when the process fails, TemporaryFailure when it cannot be asked now."""
        if self._socket is None:
            await self._start_again()
        self._attach()
        if len(self._asked) + len(self._abandoned) >= MOST_ASKED:
            await self._turn()
        self._last = number = self._last + 1
        assert self._loop is not None
        future: asyncio.Future[Mapping[str, Any]] = self._loop.create_future()
        self._asked[number] = future
        try:
            self.write(encode_line({"id": number, **question}))
            return await future
        except asyncio.CancelledError:
            if self._asked.pop(number, None) is not None and self._socket is not None:
                self._abandon(number)
            raise
        finally:
            self._asked.pop(number, None)
            self._next()

    def _abandon(self, number: int) -> None:
        assert self._loop is not None
        self._abandoned[number] = self._loop.call_later(GRACE, self._hung)
        if self._hello is not None:  # ours understands it; another's program need not
            with contextlib.suppress(TemporaryFailure):
                self.write(encode_line({"cancel": number}))

    async def _turn(self) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        finally:
            if place in self._waiting:
                self._waiting.remove(place)

    def _next(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done() and not place.get_loop().is_closed():
                place.set_result(None)
                return
        if self._retired and not self._asked:
            self.close()

    def write(self, line: bytes) -> None:
        """Send now, or as soon as the process reads. Raises TemporaryFailure when it has not read for too long."""
        if self._socket is None:
            raise TemporaryFailure("the process has just ended")
        if len(self._backlog) > LARGEST_BACKLOG:
            raise TemporaryFailure("the process does not read")
        sent = 0
        if not self._backlog:
            try:
                sent = self._socket.send(line)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # it is gone: the reader is about to see it
        if sent < len(line):
            if not self._backlog and self._loop is not None:
                self._loop.add_writer(self._socket, self._flush)
            self._backlog += line[sent:]

    def _flush(self) -> None:
        assert self._socket is not None
        assert self._loop is not None
        try:
            sent = self._socket.send(self._backlog)
        except BlockingIOError:
            return
        except OSError:
            sent = len(self._backlog)
        del self._backlog[:sent]
        if not self._backlog:
            self._loop.remove_writer(self._socket)

    # ---- its life

    def start(self) -> None:
        """Start it. Raises TemporaryFailure."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._output = output = LoggedOutput(self._log)
        self._why = ""
        try:
            self._number = self._launcher.start(
                self._command, (theirs.fileno(), theirs.fileno(), output.writing, *self._files), self._ended_of(ours)
            )
        except TemporaryFailure:
            ours.close()
            output.close()
            raise
        finally:
            theirs.close()
            output.given()
        self._socket, self._lines = ours, Lines()
        if self._hello is not None:
            self.write(encode_line({"id": 0, **self._hello}))

    def hello(self, timeout: float) -> Mapping[str, Any]:
        """Start it and wait, blocking, for the answer to the hello. For loading. Raises Outside, TemporaryFailure."""
        self.start()
        until = monotonic() + timeout
        try:
            while (left := until - monotonic()) > 0:
                for fields in self._while_loading(left):
                    if fields.get("id") == 0:
                        return fields
                    if self._handle is not None:
                        self._handle(fields)
        except (OSError, Rubbish) as exc:
            last = self._close_for(str(exc))
            raise Outside(f"while it was loaded: {last}") from None
        raise Outside(self._close_for(f"it was not loaded within {timeout:g} s"))

    def _while_loading(self, seconds: float) -> list[dict[str, Any]]:
        """What it says next, without a loop. Raises OSError, Rubbish."""
        assert self._socket is not None
        assert self._output is not None
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._backlog else 0))
        if self._output.fileno() >= 0:
            poll.register(self._output, select.POLLIN)
        ready = dict(poll.poll(seconds * 1000))
        if self._output.fileno() in ready:
            self._output.drain()
        events = ready.get(self._socket.fileno(), 0)
        if events & select.POLLOUT:
            del self._backlog[: self._socket.send(self._backlog)]
        if not events & ~select.POLLOUT:
            return []
        data = self._socket.recv(2**18)
        if not data:
            raise OSError("it ended")
        return [decode_line(line) for line in self._lines.feed(data)]

    def _close_for(self, why: str) -> str:
        """With the last that it wrote to standard error, which says more."""
        output = self._output
        self.close()
        return f"{why}; {output.last}" if output is not None and output.last else why

    async def _start_again(self) -> None:
        if self._retired:
            raise TemporaryFailure("this version has been replaced")
        rest = self._not_before - monotonic()
        if rest > LONGEST_WAIT:
            raise TemporaryFailure(f"its process died ({self.last_death}) and is started again in {rest:.0f} s")
        if rest > 0:
            await asyncio.sleep(rest)
        if self._socket is None:
            self.start()

    def _attach(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        assert self._socket is not None
        self._detach()
        self._loop = loop
        loop.add_reader(self._socket, self._read)
        if self._backlog:
            loop.add_writer(self._socket, self._flush)
        if self._output is not None:
            self._output.attach()
        self._launcher.attach()

    def _detach(self) -> None:
        if self._loop is not None and not self._loop.is_closed() and self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
        self._loop = None

    def _read(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(2**18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone("it ended")
            return
        try:
            for line in self._lines.feed(data):
                self._take(decode_line(line))
        except Rubbish as exc:
            self._gone(f"it wrote {exc}")

    def _take(self, fields: Mapping[str, Any]) -> None:
        number = fields.get("id")
        if number is None and self._handle is not None:
            self._handle(fields)
        elif type(number) is not int:
            raise Rubbish("a line without id")
        elif (future := self._asked.pop(number, None)) is not None:
            self._pause = 0.0
            if not future.done():
                future.set_result(fields)
        elif (timer := self._abandoned.pop(number, None)) is not None:
            timer.cancel()
            self._next()
        elif number == 0 and self._hello is not None:
            if "error" in fields:
                self._gone(f"it could not be loaded again: {str(fields['error'])[:300]}")
        else:
            raise Rubbish("an answer that nobody asked for")

    def _hung(self) -> None:
        self._gone("it did not answer")

    def _ended_of(self, which: socket.socket) -> Callable[[str, int], None]:
        def ended(error: str, status: int) -> None:
            what = describe_status(error, status)
            if self._socket is which:
                self._gone(what)
            elif self._why and not self._retired:
                self.last_death = f"{self._why}: {what}" if error or status > 0 else self._why
                self._log.warning("plugin.process_ended", reason=self.last_death)

        return ended

    def _gone(self, why: str) -> None:
        """It is of no use any more: killed if it still runs; who waits is told, and the next question starts another."""
        if self._socket is None:
            return
        self.deaths += 1
        self._died_at = monotonic()
        self.last_death = self._why = why
        self._drop()
        self._log.error("plugin.process_failed", reason=why, asked=len(self._asked), pause=self._pause)
        self._not_before = monotonic() + self._pause
        self._pause = min(max(2 * self._pause, SHORTEST_PAUSE), LONGEST_PAUSE)
        self._fail(f"its process failed: {why}", Outside)

    def _fail(self, why: str, first: type[Exception]) -> None:
        """Tell all who wait. One death is one error of the plugin, however many that are."""
        asked, self._asked = self._asked, {}
        kind = first
        for future in asked.values():
            if not future.done() and not future.get_loop().is_closed():
                future.set_exception(kind(why))
                kind = TemporaryFailure

    def _drop(self) -> None:
        for timer in self._abandoned.values():
            timer.cancel()
        self._abandoned.clear()
        self._detach()
        if self._socket is not None:
            self._launcher.kill(self._number)
            self._socket.close()
        if self._output is not None:
            self._output.close()
        self._socket = self._output = None
        self._backlog.clear()

    def retire(self) -> None:
        """Ended as soon as what it was asked is answered."""
        self._retired = True
        if not self._asked:
            self.close()

    def close(self) -> None:
        self._retired = True
        self._drop()
        self._fail("its process is stopped", TemporaryFailure)
        self.closed()

    @property
    def runs(self) -> bool:
        return self._socket is not None

    @property
    def trouble(self) -> str:
        """For the health; "" when all has been well for an hour."""
        if not self.deaths or monotonic() - self._died_at > REMEMBERED:
            return ""
        times = "once" if self.deaths == 1 else f"{self.deaths} times"
        return f"its process failed {times}, last: {self.last_death}"
