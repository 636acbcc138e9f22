"""Circuit breaker of one plugin: after too many errors it is not called for a while, then tried with one call."""
# SPDX-License-Identifier: Apache-2.0

from collections import deque


class Breaker:
    """Closed, open until a time, or half open (one probe is out). Times are monotonic seconds.

    ``open_until`` is 0.0 while closed, so that the path of every call costs one test.
    """

    __slots__ = ("_errors", "_pause", "probe_ends", "_window", "open_until", "opened")

    def __init__(self, errors: int, window: float, pause: float) -> None:
        self._errors: deque[float] = deque(maxlen=errors)
        self._window = window
        self._pause = pause
        self.open_until = 0.0
        self.probe_ends = 0.0
        """Not 0.0: the one probe is out, until then."""
        self.opened = 0
        """How often it has opened."""

    def may_call(self, now: float) -> bool:
        """Asked while open: True for the one probe after the pause. A probe that never reports back expires after a pause."""
        if now < self.open_until or now < self.probe_ends:
            return False
        self.probe_ends = now + self._pause
        return True

    def succeeded(self) -> None:
        """Called when the probe succeeded."""
        self.open_until = self.probe_ends = 0.0
        self._errors.clear()

    def failed(self, now: float) -> bool:
        """Count an error. True when this one opened it (again)."""
        self._errors.append(now)
        if self.probe_ends or (len(self._errors) == self._errors.maxlen and now - self._errors[0] <= self._window):
            self.trip(now)
            return True
        return False

    def trip(self, now: float) -> None:
        self.open_until = now + self._pause
        self.probe_ends = 0.0
        self.opened += 1
