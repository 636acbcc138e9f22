"""What hooks of the queue say stands in the message's trace, attempt by attempt."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from types import SimpleNamespace

from mta.testing.sink import Sink
from mta_hooks import AddHeader, accept, defer, hookimpl


@hookimpl
def delivery_attempt(attempt):
    return defer("not yet", reason="first") if attempt.number == 1 else accept("go")


@hookimpl
def delivery_modify(message):
    return AddHeader("X-Way", "out")


@hookimpl(on_error="continue")
def delivery_policy(site):
    raise RuntimeError("broken")


def test_hooks_of_an_attempt_are_in_the_trace(relay):
    async def main():
        async with (
            Sink() as hop,
            relay(
                plugins=[delivery_attempt, delivery_modify, delivery_policy], routes={"dest.test": f"smtp://127.0.0.1:{hop.port}"}
            ) as r,
        ):
            queued = await r.queue("x@dest.test", "y@dest.test")
            await r.settled()
            await r.later(3600)
            assert await r.settled() == []
            [record] = await r.db.traces.find(queued.id)
            steps = [SimpleNamespace(**{"hook": "", "result": "", "verdict": {}, **step}) for step in record.steps]
            told = [step.hook or step.result for step in steps]
            assert told.count("delivery_attempt") == 2
            assert told.count("deferred") == told.count("relayed") == 2
            assert told.index("delivery_attempt") < told.index("deferred") < told.index("delivery_modify") < told.index("relayed")
            assert [step.verdict["action"] for step in steps if step.hook == "delivery_attempt"] == ["defer", "accept"]
            assert all(step.plugin and step.at > 0 and step.seconds >= 0 for step in steps if step.hook)

    asyncio.run(main())
