"""Numbers that only grow, numbers as they are, and distributions: what a plugin offers with ``registry.metrics``, and what
``ctx.metrics`` answers for the whole server.

A plugin counts in attributes of its own and says them when asked, about once a second:

    def numbers(ctx):
        return [Metric("refused_total", state.refused, help="Clients sent away for now.")]

    registry.metrics(numbers)         # seen as mta_NAME_refused_total

Names and kinds are those of Prometheus; numbers of several workers are added up.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds for times, from a commit to a slow peer."""

MOST_SAMPLES = 500
"""Samples of one plugin; more are a label that should be none."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}\Z")
_LABEL = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Metric:
    """One number, or one distribution, at this moment. Raises ValueError for what cannot be one.

    name     in lower case; a counter's ends with _total; what is measured, then the unit: "delay_seconds"
    value    of a histogram the sum
    labels   names and values; few values each, never an address or an id
    buckets  of a histogram: (upper bound, how many were at most that), growing
    count    of a histogram: how many in all
    """

    name: str
    value: float
    kind: Kind = "counter"
    help: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    buckets: tuple[tuple[float, int], ...] = ()
    count: int = 0

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ValueError(f"{self.name!r} is no name of a metric")
        if self.kind == "counter" and not self.name.endswith("_total"):
            raise ValueError(f"{self.name}: the name of a counter ends with _total")
        for name, value in self.labels.items():
            if not _LABEL.match(name) or not 0 < len(value) <= _LONGEST:
                raise ValueError(f"{self.name}: {name!r} is no label with a text of at most {_LONGEST} characters")


class Histogram:
    """Counts values by size. ``observe`` costs a search in a short tuple; one thread at a time."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def metric(self, name: str, *, help: str = "", labels: Mapping[str, str] | None = None) -> Metric:
        """As it is now."""
        total, buckets = 0, []
        for bound, count in zip(self.bounds, self.counts, strict=False):
            total += count
            buckets.append((bound, total))
        return Metric(name, self.sum, "histogram", help, labels or {}, tuple(buckets), total + self.counts[-1])
