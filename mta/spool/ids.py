"""Queue ids: sortable by time, unique between workers and machines without asking anyone, not to be guessed."""
# SPDX-License-Identifier: Apache-2.0

import os

from mta.model.ids import QueueId


def new_queue_id(now: float) -> QueueId:
    """``now``: wall clock, seconds. 11 hex digits of milliseconds (until the year 2527) and 64 random bits."""
    return QueueId(f"{int(now * 1000):011x}{os.urandom(8).hex()}")
