"""Deadlines without timers, and the name of whoever holds up the event loop.

One task looks four times a second at the calls that really wait and cancels the overdue ones, in the session's own task;
the dispatcher turns that cancellation into an error of the plugin, and leaves the session's own cancellation alone.
One thread looks at the function that runs now; when it has run too long, it says which file and line.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from mta.obs.log import Log

if TYPE_CHECKING:
    from mta.pluginhost.step import Step

TICK = 0.25
GRACE = 1.0
"""Seconds that a cancelled implementation has for its clean-up before it is closed where it stands."""


class Waiting:
    """One call that waits.

    cancels  how often the watchdog has cancelled the task for it
    """

    __slots__ = ("before", "cancels", "deadline", "task")

    def __init__(self, task: "asyncio.Task[Any]", deadline: float) -> None:
        self.task = task
        self.deadline = deadline
        self.before = task.cancelling()
        self.cancels = 0

    def cancelled_from_outside(self) -> bool:
        """Take back what the watchdog did to the task; True when somebody else has cancelled it since the call began."""
        for _ in range(self.cancels):
            self.task.uncancel()
        return self.task.cancelling() > self.before


class Pulse:
    """What runs on the event loop right now. Written by the dispatcher, read by the thread."""

    __slots__ = ("reported", "started", "step")

    def __init__(self) -> None:
        self.step: Step | None = None
        self.started = 0.0
        self.reported = 0.0
        """``started`` of the last call that was reported."""


class Watchdog:
    def __init__(self, pulse: Pulse, log: Log, block_seconds: float) -> None:
        self.waiting: set[Waiting] = set()
        self._pulse = pulse
        self._log = log
        self._block_seconds = block_seconds
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # ---- deadlines

    async def run(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            if self.waiting:
                self.check(time.monotonic())

    def check(self, now: float) -> None:
        """Cancel what is overdue; again, and for good, what has not ended a grace later."""
        for call in self.waiting:
            if now >= call.deadline:
                call.cancels += 1
                call.deadline = now + GRACE
                call.task.cancel()

    # ---- blocked loop

    def start(self) -> None:
        """Called in the loop's thread."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._watch, args=(threading.get_ident(),), name="plugin-watchdog", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(1.0)
            self._thread = None

    def _watch(self, loop_thread: int) -> None:
        pulse = self._pulse
        while not self._stop.wait(self._block_seconds / 2):
            step, started = pulse.step, pulse.started
            if step is None or started == pulse.reported or time.monotonic() - started < self._block_seconds:
                continue
            frame = sys._current_frames().get(loop_thread)  # noqa: SLF001  # the only way to another thread's frame
            if frame is not None and pulse.step is step and pulse.started == started:
                pulse.reported = started
                self.report(step, time.monotonic() - started, *_place(frame, step))

    def report(self, step: "Step", seconds: float, file: str, line: int) -> None:
        self._log.warning(
            "plugin.blocked", plugin=step.plugin.name, hook=step.spec.name, seconds=round(seconds, 3), file=file, line=line
        )


def _place(frame: FrameType, step: "Step") -> tuple[str, int]:
    """The innermost frame that is the plugin's own code, else the innermost of all."""
    home = Path(step.file).parent if step.plugin.kind == "package" else Path(step.file)
    at: FrameType | None = frame
    while at is not None:
        file = Path(at.f_code.co_filename)
        if file == home or home in file.parents:
            return str(file), at.f_lineno
        at = at.f_back
    return frame.f_code.co_filename, frame.f_lineno
