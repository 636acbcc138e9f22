"""How fast: what may go now, and when the rest may. A site, a sender and all sites of a pattern each have a ``Pace``.

What may not go now is put back into the queue until its turn, instead of waiting in our hands: it costs two writes and no memory.
``Slots`` gives these turns, one sender after another, so that who has a hundred thousand messages waits for them alone.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Hashable

BURST = 1.0
"""Seconds whose share may go at once."""
HORIZON = 3600.0
"""Longest time for which something is put off at a time: rates change."""
RELIEF = 60.0
"""Seconds without a complaint until a pace that was slowed is doubled."""
SLOWEST = 64.0
_ANONYMOUS = 1.0  # transactions a second of a site without a rate, when it complains though there is one connection
_SENDERS = 1000

TOO_FAST = re.compile(
    r"\A421 |4\d\d 4\.7\.28|too (?:many|much) (?:\w+ ){0,4}(?:connection|session|concurren|message|mail|rate|recipient)|too (?:fast|quickly)|at a rate|unusual rate|"
    r"rate[ -]?limit|throttl|slow down|(?:connection|message|sending|mail|receiving)\w* (?:rate|limit|frequency)|concurrent (?:connection|session)",
    re.IGNORECASE,
)
"""Answers that mean "fewer, or later"; only looked for in those that begin with 4."""


class Pace:
    """So many a second on average, a second's share at once (generic cell rate algorithm: one number of state).

    rate  a second, None: as fast as it goes
    """

    __slots__ = ("_at", "_eased", "_slowed", "rate")

    def __init__(self, rate: float | None = None) -> None:
        self.rate = rate
        self._at = 0.0
        self._slowed = 1.0
        self._eased = 0.0

    def interval(self, now: float) -> float:
        """Seconds between two, 0.0 without a limit."""
        if self._slowed > 1.0 and now >= self._eased:
            self._slowed /= 2.0
            self._eased = now + RELIEF
        if self.rate is None:
            return self._slowed / _ANONYMOUS if self._slowed > 1.0 else 0.0
        return self._slowed / self.rate

    def wait(self, now: float) -> float:
        """Seconds until one more may go; 0.0: now."""
        interval = self.interval(now)
        if not interval:
            return 0.0
        wait = self._at - max(BURST, interval) + interval - now
        return (
            wait if wait > interval / 10 else 0.0
        )  # who comes at its turn may be a little early; the next one counts from the turn

    def took(self, now: float) -> None:
        if interval := self.interval(now):
            self._at = max(self._at, now) + interval

    def complain(self, now: float) -> None:
        """The next hop said that it is too much: half as fast, for a while. Once a second: many answers may say one thing."""
        if now < self._eased - RELIEF + 1.0:
            return
        self._slowed = min(SLOWEST, self._slowed * 2.0)
        self._eased = now + RELIEF


class Slots:
    """Turns in the future of one site or sender."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[Hashable, float] = {}

    def next(self, sender: Hashable, now: float, interval: float) -> float:
        """Seconds until the turn of one more of ``sender``, who shares with all others that have turns ahead."""
        if len(self._until) >= _SENDERS or (len(self._until) > 1 and sender not in self._until):
            self._until = {who: until for who, until in self._until.items() if until > now}
            if len(self._until) >= _SENDERS:
                self._until.clear()
        ahead = self._until.get(sender, now)
        until = max(ahead, now) + interval * max(1, len(self._until) + (sender not in self._until))
        self._until[sender] = until = min(until, now + HORIZON)
        return until - now
