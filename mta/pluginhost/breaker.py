"""Circuit breaker of one plugin: after too many errors in a row it is not called for a while, then tried with one call.

In a row, so that a peer who knows how to make one call fail cannot switch a plugin off for everybody else's mail.
"""
# SPDX-License-Identifier: Apache-2.0

import math


class Breaker:
    """Closed, open until a time, or half open (one probe is out). Times are monotonic seconds; ``errors`` 0: never opens.

    open_until  0.0 while closed: one test on the path of every call
    troubled    there is something for ``succeeded`` to clear: one more
    opened      how often it has opened
    """

    __slots__ = ("_count", "_limit", "_pause", "_probe_ends", "_since", "_window", "open_until", "opened", "troubled")

    def __init__(self, errors: float, window: float, pause: float) -> None:
        self._limit = errors or math.inf
        self._window = window
        self._pause = pause
        self._count = 0
        self._since = 0.0
        self._probe_ends = 0.0
        self.open_until = 0.0
        self.troubled = False
        self.opened = 0

    def like(self) -> "Breaker":
        """Another one with the same bounds, closed."""
        return Breaker(self._limit, self._window, self._pause)

    def may_call(self, now: float) -> bool:
        """Asked while open: True for the one probe after the pause. A probe that never reports back expires after a pause."""
        if now < self.open_until or now < self._probe_ends:
            return False
        self._probe_ends = now + self._pause
        return True

    def succeeded(self) -> bool:
        """A call succeeded. True when it was the probe, and the breaker has closed."""
        probed = self._probe_ends > 0.0
        if probed:
            self.open_until = self._probe_ends = 0.0
        self._count = 0
        self.troubled = self.open_until > 0.0
        return probed

    def failed(self, now: float) -> bool:
        """Count an error. True when this one opened it (again)."""
        if now - self._since > self._window:
            self._count, self._since = 0, now
        self._count += 1
        self.troubled = True
        return (self._probe_ends > 0.0 or self._count >= self._limit) and self.trip(now)

    def trip(self, now: float) -> bool:
        """Open. False for one that never opens."""
        if self._limit == math.inf:
            return False
        self.open_until = now + self._pause
        self._probe_ends = 0.0
        self._count = 0
        self.troubled = True
        self.opened += 1
        return True
