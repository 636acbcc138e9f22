"""How often something happened lately: a window that slides over two slots of fixed time, in memory that does not grow.

A slot is a number of the time since 1970, so that workers whose clocks agree count into the same. What happened in the slot before
counts by the share of it that the window still covers: off by a little when it came in bursts, and two numbers a key.
"""
# SPDX-License-Identifier: Apache-2.0

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mta_ratelimit.config import Rate

SHARED = 0.1
"""Share of a rate from which other workers are told: what stays below cannot be too much anywhere."""


@dataclass(slots=True)
class Count:
    """``slot`` and what was counted here in it and before it; ``others``, ``others_before``: the same elsewhere. ``told``: of ``now_``."""

    slot: int
    period: int
    current: int = 0
    before: int = 0
    others: int = 0
    others_before: int = 0
    told: int = 0
    tell: bool = False

    def turn(self, slot: int) -> None:
        if slot == self.slot:
            return
        follows = slot == self.slot + 1
        self.before, self.others_before = (self.current, self.others) if follows else (0, 0)
        self.slot, self.current, self.others, self.told, self.tell = slot, 0, 0, 0, False


class Counts:
    """``most``: keys at once; the one that was quiet longest goes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: OrderedDict[str, Count] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def may(self, key: str, rate: Rate, now: float) -> bool:
        """Is one more within the rate? Then it is counted."""
        return self.room(key, rate, now) and self.add(key, rate, now)

    def room(self, key: str, rate: Rate, now: float) -> bool:
        count = self._counts.get(key)
        if count is None:
            return rate.most > 0
        slot, passed = divmod(now, rate.seconds)
        count.turn(int(slot))
        left = 1.0 - passed / rate.seconds
        return count.current + count.others + (count.before + count.others_before) * left + 1 <= rate.most

    def add(self, key: str, rate: Rate, now: float) -> bool:
        slot = int(now // rate.seconds)
        count = self._counts.get(key)
        if count is None:
            count = self._counts[key] = Count(slot, rate.seconds)
            if len(self._counts) > self._most:
                self._counts.popitem(last=False)
        else:
            self._counts.move_to_end(key)
        count.turn(slot)
        count.current += 1
        count.tell = count.current >= rate.most * SHARED
        return True

    def news(self) -> Iterator[tuple[str, Count]]:
        """What other workers do not know yet and should."""
        return ((key, count) for key, count in self._counts.items() if count.tell and count.told != count.current)

    def learn(self, rows: Iterable[tuple[str, int, int]]) -> None:
        """(key, slot, how often) of all other workers together."""
        for key, slot, number in rows:
            count = self._counts.get(key)
            if count is None:
                continue
            if slot == count.slot:
                count.others = number
            elif slot == count.slot - 1:
                count.others_before = number
