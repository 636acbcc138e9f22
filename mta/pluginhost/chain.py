"""The steps of a plan in their order, with what those who said nothing cost, counted for all of them at once."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mta.pluginhost.step import Step

SHORT = 5e-6
"""Seconds: calls up to this long share their time equally, those beyond are counted one by one."""


class Chain:
    """Never changes, but for its counts.

    calls    how often all of the steps were asked and said nothing; not yet in the steps' own counters
    seconds  what that took in short calls
    """

    __slots__ = ("calls", "seconds", "steps")

    def __init__(self, steps: Sequence["Step"]) -> None:
        self.steps = tuple(steps)
        self.calls = 0
        self.seconds = 0.0

    def count(self, first: int, behind: int, seconds: float) -> None:
        """Some of the steps said nothing in one round."""
        _share(self.steps[first:behind], 1, seconds)

    def settle(self) -> None:
        """Bring the steps' own counters up to date."""
        calls, seconds, self.calls, self.seconds = self.calls, self.seconds, 0, 0.0
        _share(self.steps, calls, seconds)


def _share(steps: Sequence["Step"], calls: int, seconds: float) -> None:
    for step in steps:
        step.counter.calls += calls
        step.counter.seconds += seconds / len(steps)
