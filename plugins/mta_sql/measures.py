"""What the writer of this process counts: how long its commits take, and how many operations share one."""
# SPDX-License-Identifier: Apache-2.0

from typing import TYPE_CHECKING

from mta_hooks.metrics import Histogram, Metric

if TYPE_CHECKING:
    from mta_hooks import Context

COMMITS = Histogram()
BATCHES = Histogram((1, 2, 5, 10, 20, 50, 100, 200, 256))


def numbers(_ctx: "Context") -> list[Metric]:
    """For ``registry.metrics``. Both histograms are written by the writer's thread alone."""
    return [
        COMMITS.metric("commit_seconds", help="One COMMIT, fsync included."),
        BATCHES.metric("commit_operations", help="Operations that shared one commit."),
    ]
