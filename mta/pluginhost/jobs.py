"""Jobs of plugins: run every so often, by the same dispatcher as hooks, so that they have its deadline, breaker and counters."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator
from typing import Any

from mta.pluginhost.call import Dispatcher
from mta.pluginhost.plugin import Plugin
from mta.pluginhost.registry import JobOffer
from mta.pluginhost.specs import Spec
from mta.pluginhost.step import Step, place_of_code
from mta_hooks.services import Clock, Context

SHORTEST_DEADLINE = 60.0


def jobs_of(plugin: Plugin, *, single: bool) -> Iterator[tuple[Step, float]]:
    """(what to call, seconds between calls)."""
    for offer in plugin.offers.jobs:
        if offer.single is single:
            yield _step(plugin, offer), offer.every


def _step(plugin: Plugin, offer: JobOffer) -> Step:
    timeout = max(SHORTEST_DEADLINE, offer.every)
    spec = Spec(f"job {offer.name}", (), "notify", frozenset(), "continue", timeout, (), False, "")
    run = offer.run

    def call(ctx: Context) -> Any:  # whatever the plugin calls its argument
        return run(ctx)

    step = Step(spec, plugin, call)
    step.file, step.line = place_of_code(run)
    step.is_async = True  # what it returns is awaited here: it is never moved to a thread
    return step


async def run_job(step: Step, every: float, dispatcher: Dispatcher, clock: Clock) -> None:
    """Until cancelled. The first run comes after a minute at most, so that a daily job survives daily restarts."""
    await clock.sleep(min(every, 60.0))
    while True:
        await dispatcher.call(step, {})
        await clock.sleep(every)
