"""After acceptance: a hook that goes on failing puts the recipient into the error hold, with its name, place and traceback."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

from mta_hooks import TemporaryFailure, hookimpl
from mta_hooks.backends.queue import QueueFilter

LIMITS = {"hooks": {"hold_after": 2}, "queue": {"retry": [10.0], "jitter": 0.0}}
ZONES = """
dest.test      MX 10 mx1.dest.test.
mx1.dest.test  A  127.0.0.2
"""
ARGUMENTS = {
    "route": "sender, recipient",
    "delivery_policy": "envelope, site",
    "delivery_attempt": "envelope, attempt",
    "delivery_modify": "envelope, message",
    "delivery_status": "envelope, recipient, status",
    "mx_lookup": "domain, envelope",
    "tls_policy": "domain, mx",
    "dsn_compose": "report",
}


def failing(hook, error='ValueError("secret words")', on_error="defer"):
    names = {"TemporaryFailure": TemporaryFailure}
    exec(f"def {hook}({ARGUMENTS[hook]}):\n    raise {error}\n", names)
    return hookimpl(on_error=on_error)(names[hook])


@pytest.mark.parametrize("hook", ARGUMENTS)
def test_every_hook_of_the_queue(relay, sink, hook):
    who = {"delivery_status": "later@dest.test", "dsn_compose": "gone@dest.test"}.get(hook, "x@dest.test")

    async def main():
        async with relay(ZONES, plugins=[failing(hook)], **LIMITS) as r, sink(r, "127.0.0.2") as hop:
            hop.answer("RCPT", "450 4.2.0 later", match="later@")
            hop.answer("RCPT", "550 5.1.1 no", match="gone@")
            bob = await r.user("bob@here.test")
            await r.queue(who)
            [row] = await r.settled()
            assert (row.state, row.trouble.times) == ("waiting", 1)
            for _ in range(3):
                [row] = await r.later(120)
                if row.state == "error":
                    break
            assert (row.state, row.trouble.times, row.trouble.plugin, row.trouble.hook) == ("error", 2, hook, hook)
            assert row.trouble.line
            assert "secret words" in row.trouble.traceback
            assert "secret words" not in row.hold + row.last_reply
            assert r.log.named("queue.error_hold")[0]["plugin"] == hook
            assert await r.inbox(bob) == []
            assert await r.db.queue.release(QueueFilter(state="error"), now=r.clock.now()) == 1
            [row] = await r.settled()
            assert row.state == "waiting"
            assert row.trouble is None or row.trouble.times == 1  # None: the site is still left alone

    asyncio.run(main())


@pytest.mark.parametrize(("error", "on_error"), [("TemporaryFailure('away')", "defer"), ("ValueError()", "continue")])
def test_what_is_away_and_what_may_fail_is_never_held(relay, sink, error, on_error):
    async def main():
        plugin = failing("route", error, on_error)
        async with relay(ZONES, plugins=[plugin], **LIMITS) as r, sink(r, "127.0.0.2") as hop:
            await r.queue("x@dest.test")
            rows = await r.settled()
            for _ in range(3):
                rows = await r.later(60)
            assert [row.state for row in rows] == (["waiting"] if on_error == "defer" else [])
            assert all(row.trouble is None for row in rows)
            assert len(hop.messages) == (on_error == "continue")

    asyncio.run(main())


def test_one_failure_among_others_is_forgotten(relay, sink):
    calls = []

    @hookimpl
    def route(sender, recipient):
        calls.append(recipient)
        if len(calls) % 2:
            raise ValueError

    async def main():
        async with relay(ZONES, plugins=[route], **LIMITS) as r, sink(r, "127.0.0.2") as hop:
            hop.answer("RCPT", "450 4.2.0 later", times=3)
            await r.queue("x@dest.test")
            seen = [(await r.settled())[0].trouble]
            seen += [(await r.later(60))[0].trouble for _ in range(3)]
            assert [one and one.times for one in seen] == [1, None, 1, None]

    asyncio.run(main())
