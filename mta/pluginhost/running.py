"""Services of plugins: coroutines that live as long as the worker, started again when they raise."""
# SPDX-License-Identifier: Apache-2.0

from typing import Any

from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.pluginhost.breaker import Breaker
from mta.pluginhost.call import Dispatcher, Failure
from mta.pluginhost.plugin import Plugin
from mta.pluginhost.registry import ServiceOffer
from mta.pluginhost.specs import Spec
from mta.pluginhost.step import Step, place_of_code
from mta_hooks.services import Clock, Context

SOONEST, LATEST = 1.0, 60.0
"""Seconds before a service is started again: doubled each time; what ran for ``LATEST`` begins anew at ``SOONEST``."""


class ServiceRunner:
    """The services of one worker. ``clock`` measures the pauses."""

    def __init__(self, dispatcher: Dispatcher, clock: Clock, log: Log) -> None:
        self._dispatcher, self._clock, self._log = dispatcher, clock, log
        self._tasks = Tasks(log)

    def start(self, plugin: Plugin, *, single: bool) -> None:
        for offer in plugin.offers.services:
            if offer.single is single:
                self._tasks.spawn(self._run(plugin, offer), f"service-{plugin.name}-{offer.name}")

    async def _run(self, plugin: Plugin, offer: ServiceOffer) -> None:
        """Until it returns, or is cancelled."""
        pause = SOONEST
        while True:
            began = self._clock.monotonic()
            answer = await self._dispatcher.call(_step(plugin, offer), {})
            if not isinstance(answer, Failure):
                self._log.info("plugin.service_ended", plugin=plugin.name, service=offer.name)
                plugin.troubles.pop(offer.name, None)
                return
            if self._clock.monotonic() - began >= LATEST:
                pause = SOONEST
            plugin.troubles[offer.name] = f"service {offer.name} failed: {answer.error}"
            self._log.warning("plugin.service_restarts", plugin=plugin.name, service=offer.name, seconds=pause)
            await self._clock.sleep(pause)
            plugin.troubles.pop(offer.name, None)
            pause = min(2 * pause, LATEST)

    async def stop(self, grace: float) -> None:
        """Cancel all, and wait for what they have to finish."""
        if late := await self._tasks.cancel(grace):
            self._log.warning("plugin.service_hangs", tasks=" ".join(sorted(late)))


def _step(plugin: Plugin, offer: ServiceOffer) -> Step:
    spec = Spec(f"service {offer.name}", (), "notify", frozenset(), "continue", float("inf"), (), False, "")
    run = offer.run

    def call(ctx: Context) -> Any:  # whatever the plugin calls its argument
        return run(ctx)

    step = Step(spec, plugin, call)
    step.file, step.line = place_of_code(run)
    step.is_async = True  # what it returns is awaited here: it is never moved to a thread
    step.timeout = float("inf")
    step.breaker = Breaker(0, 1.0, 1.0)  # its failures are no reason to leave the plugin's hooks out
    return step
