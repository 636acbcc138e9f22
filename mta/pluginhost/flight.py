"""What a worker has in hand while hooks run for it: kept in a file, so that its successor knows what killed it.

The file is mapped memory: an entry costs no system call, and the kernel keeps it when the process ends, however it ends. An entry
names the work (kind, key, rows) and the hook that runs for it. Only the worker that holds the dispatch lock writes; its successor
reads what is left, says whose fault it was (``mta.dispatch.suspects``), and begins with an empty file. What was left by a
loss of power is of no use and does no harm: it counts as one crash, and one is not held against anything.
"""
# SPDX-License-Identifier: Apache-2.0

import mmap
import os
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mta.pluginhost.step import Step

SLOT, LABEL = 1024, 640
"""Octets of an entry; where in it the hook stands."""
SLOTS = 1024
"""Entries; work beyond that goes unrecorded."""
_FREE, _BEGUN, _RUNS, _WAITS = range(4)


@dataclass(frozen=True, slots=True)
class Suspect:
    """Work that was in hand when a worker died, while a hook was running for it.

    kind     "queue", "outbox" or "maildrop"; ``key``: queue id, row or file name; ``rows``: of the queue, empty: all of the message
    certain  the hook was on the processor; otherwise it only waited for something, as others may have
    """

    kind: str
    key: str
    rows: tuple[int, ...]
    plugin: str
    hook: str
    file: str
    line: int
    certain: bool


class Flight:
    """One entry. Ended, it writes nothing any more: a task may have kept it."""

    __slots__ = ("_at", "_map")

    def __init__(self, map: mmap.mmap, at: int, text: bytes) -> None:
        self._map: mmap.mmap | None = map
        self._at = at
        map[at + 1 : at + 3] = len(text).to_bytes(2, "big")
        map[at + 3 : at + 3 + len(text)] = text
        map[at] = _BEGUN

    def enter(self, step: "Step") -> None:
        """The hook goes on the processor."""
        if self._map is not None:
            text = f"{step.plugin.name}\0{step.spec.name}\0{step.file}\0{step.line}".encode("utf-8", "replace")[: SLOT - LABEL - 2]
            start = self._at + LABEL
            self._map[start : start + 2] = len(text).to_bytes(2, "big")
            self._map[start + 2 : start + 2 + len(text)] = text
            self._map[self._at] = _RUNS

    def wait(self) -> None:
        if self._map is not None:
            self._map[self._at] = _WAITS

    def leave(self) -> None:
        if self._map is not None:
            self._map[self._at] = _BEGUN

    def end(self) -> int:
        """Returns where it stood."""
        if self._map is not None:
            self._map[self._at] = _FREE
            self._map = None
        return self._at


FLIGHT: ContextVar[Flight | None] = ContextVar("mta_flight", default=None)
"""The work that hooks called in this task are called for."""


class Recorder:
    """Records nothing before ``open`` and after ``close``."""

    def __init__(self) -> None:
        self._map: mmap.mmap | None = None
        self._free: list[int] = []

    def open(self, path: Path) -> list[Suspect]:
        """Map the file, and return what a predecessor left. Raises OSError."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.ftruncate(fd, SLOT * SLOTS)
            self._map = mmap.mmap(fd, SLOT * SLOTS)
        finally:
            os.close(fd)
        self._free = [n * SLOT for n in reversed(range(SLOTS))]
        return _suspects(self._map)

    def clear(self) -> None:
        """Forget what the predecessor left: it has been dealt with."""
        if self._map is not None:
            for at in range(0, SLOT * SLOTS, SLOT):
                self._map[at] = _FREE

    def close(self) -> None:
        """Begin no more entries; those that are open may still be written."""
        self._free = []
        self._map = None

    def of(self, kind: str, key: str, rows: Sequence[int] = ()) -> "_Inside":
        """Hooks that are called inside are called for this work."""
        return _Inside(self, kind, key, rows)

    def begin(self, kind: str, key: str, rows: Sequence[int]) -> Flight | None:
        """None: nothing is recorded."""
        if not self._free or self._map is None:
            return None
        numbers = ",".join(map(str, rows))
        text = f"{kind}\0{key}\0{numbers}".encode("utf-8", "replace")
        if len(text) > LABEL - 3:
            text = f"{kind}\0{key}\0".encode("utf-8", "replace")[: LABEL - 3]
        return Flight(self._map, self._free.pop(), text)

    def end(self, flight: Flight) -> None:
        at = flight.end()
        if self._map is not None:
            self._free.append(at)


class _Inside:
    """A class: a generator would cost each message three times as much."""

    __slots__ = ("_flight", "_token", "_recorder", "_work")

    def __init__(self, recorder: Recorder, *work: Any) -> None:
        self._recorder, self._work = recorder, work
        self._flight: Flight | None = None

    def __enter__(self) -> None:
        self._flight = self._recorder.begin(*self._work)
        if self._flight is not None:
            self._token = FLIGHT.set(self._flight)

    def __exit__(self, *exc: object) -> None:
        if self._flight is not None:
            FLIGHT.reset(self._token)
            self._recorder.end(self._flight)


def _suspects(map: mmap.mmap) -> list[Suspect]:
    """Those whose hook was on the processor; when there is none, all whose hook waited: a thread, or somebody from outside, did it."""
    found = [one for at in range(0, SLOT * SLOTS, SLOT) if map[at] in (_RUNS, _WAITS) and (one := _suspect(map, at)) is not None]
    return [one for one in found if one.certain] or found


def _suspect(map: mmap.mmap, at: int) -> Suspect | None:
    """None: not what we write."""
    try:
        kind, key, rows = _text(map, at + 1).split("\0")
        plugin, hook, file, line = _text(map, at + LABEL).split("\0")
        numbers = tuple(int(row) for row in rows.split(",") if row)
        return Suspect(kind, key, numbers, plugin, hook, file, int(line), map[at] == _RUNS)
    except ValueError:
        return None


def _text(map: mmap.mmap, start: int) -> str:
    return map[start + 2 : start + 2 + int.from_bytes(map[start : start + 2], "big")].decode("utf-8", "replace")
