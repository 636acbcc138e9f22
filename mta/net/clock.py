"""Time as a service, so that tests can turn it."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import time


class SystemClock:
    """The machine's clocks; fulfils mta_hooks.services.Clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
