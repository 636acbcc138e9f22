"""How many deliveries run at once for one sender, out of the queue of a real database."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections import Counter

import pytest

from mta.testing.sink import Sink
from mta_sql import open_database

DELAY = 0.04


class Watchful(Sink):
    """Answers the end of a message after ``DELAY``, and counts how many of each sender go on at once until then."""

    def __init__(self, now, peak):
        super().__init__()
        self.now, self.peak = now, peak
        self.answer("DOT", "", delay=DELAY)

    def rule(self, stage, line):
        if stage == "MAIL":
            sender = line.split("<")[1].split(">")[0]
            self.now[sender] += 1
            self.peak[sender] = max(self.peak[sender], self.now[sender])
        return super().rule(stage, line)

    def loses(self, mail, rcpts, octets):
        asyncio.get_running_loop().call_later(DELAY * 0.9, self.now.subtract, [mail.split("<")[1].split(">")[0]])
        return False


@pytest.mark.parametrize("bound", [2, None])
def test_a_sender_keeps_to_its_bound_and_others_pass(relay, tmp_path, bound):
    async def main():
        queue = {"concurrency_per_sender": bound, "concurrency_per_destination": 5}
        now, peak = Counter(), Counter()
        async with Watchful(now, peak) as one, Watchful(now, peak) as two:
            routes = {"a.test": f"smtp://127.0.0.1:{one.port}", "b.test": f"smtp://127.0.0.1:{two.port}"}
            made = relay(
                routes=routes, queue=queue, data_dir=str(tmp_path), database=lambda options: open_database("sqlite", options)
            )
            async with made as r:
                await r.user("bob@here.test")
                await asyncio.gather(*(r.queue(f"x{n}@{'ab'[n % 2]}.test") for n in range(30)))
                await asyncio.gather(*(r.queue(f"y{n}@a.test", sender="carol@here.test") for n in range(4)))
                assert await r.settled() == []
                assert (one.count, two.count) == (19, 15)
                assert peak["bob@here.test"] == bound if bound else peak["bob@here.test"] > 4
                order = [message.mail.split("<")[1].split("@")[0] for message in one.messages]
                assert not bound or order[15:] == ["bob"] * 4, "carol's are not behind all of bob's"

    asyncio.run(main())
