"""Guessing is slow by address and by account; the owner gets in. On a clock that moves by itself."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from types import SimpleNamespace

import pytest

from mta.directory import throttle
from mta.directory.throttle import Throttle
from mta.obs.log import Log
from mta.testing.smtpd import FakeClock


class Keys(dict):
    async def get(self, key):
        return dict.get(self, key)

    async def set(self, key, value, *, ttl):
        self[key] = value
        assert ttl == throttle.KNOWN_FOR


class Site:
    def __init__(self, *exempt, kv=None):
        self.clock = FakeClock(1000.0)
        self.ctx = SimpleNamespace(clock=self.clock, kv=Keys() if kv is None else kv, log=Log())
        self.told = []
        self.plugin = Throttle(exempt, self.told.append)

    async def attempt(self, client, user, right=False, reason="wrong password"):
        """Seconds it waited; None: told to come back."""
        session = SimpleNamespace(client_ip=client, id="s")
        began = self.clock.time
        verdict = await self.plugin.auth_policy(session, user, self.ctx)
        waited = self.clock.time - began
        if verdict is not None:
            assert verdict.code == 454
        await self.plugin.auth_result(session, user, right and verdict is None, reason if verdict is None else "policy", self.ctx)
        return waited if verdict is None else None


def run(scenario):
    asyncio.run(scenario())


def test_a_guessing_address_becomes_slow_and_the_owner_does_not():
    async def scenario():
        site = Site()
        began = site.clock.time
        waits = [await site.attempt("192.0.2.1", "alice@x.test") for _ in range(20)]
        assert waits[:5] == [0.0] * 5
        assert waits[5] >= 1.0
        assert waits[-1] == pytest.approx(15.0)
        assert sorted(waits) == waits
        assert site.clock.time - began > 100
        assert await site.attempt("198.51.100.7", "alice@x.test", right=True) <= 1.25  # the owner, from an address never seen
        assert await site.attempt("198.51.100.7", "alice@x.test", right=True) == 0.0

    run(scenario)


def test_who_was_here_before_is_let_in_amid_an_attack_on_the_account():
    async def scenario():
        site = Site()
        assert await site.attempt("198.51.100.7", "alice@x.test", right=True) == 0.0
        for n in range(200):
            await site.attempt(f"192.0.2.{n}", "alice@x.test")
        assert await site.attempt("198.51.100.7", "alice@x.test", right=True) == 0.0
        again = Site(kv=site.ctx.kv)  # another worker, or after a restart
        again.plugin.hear(next(line for line in site.told if line.startswith("turn u")), 1000.0)
        for n in range(12):
            await again.attempt(f"192.0.2.{n}", "alice@x.test")
        assert await again.attempt("198.51.100.7", "alice@x.test", right=True) == 0.0

    run(scenario)


def test_an_account_is_tried_sixty_times_a_minute_at_most_from_all_addresses_together():
    async def scenario():
        site = Site()
        tried = 0
        for n in range(1000):
            if await site.attempt(f"10.{n // 250}.0.{n % 250}", "alice@x.test") is not None:
                tried += site.clock.time <= 1060.0
            if site.clock.time > 1060.0:
                break
        assert 40 <= tried <= 60

    run(scenario)


def test_an_address_that_waits_too_long_is_told_to_come_back():
    async def scenario():
        site = Site()
        for _ in range(12):
            await site.attempt("192.0.2.1", "alice@x.test")
        clients = [
            site.plugin.auth_policy(SimpleNamespace(client_ip="192.0.2.1", id="s"), "alice@x.test", site.ctx) for _ in range(5)
        ]
        site.clock.sleep = lambda _seconds: asyncio.sleep(0)  # all at the same moment
        verdicts = await asyncio.gather(*clients)
        assert [verdict is None for verdict in verdicts] == [True, False, False, False, False]

    run(scenario)


def test_one_network_of_ipv6_is_one_address():
    async def scenario():
        site = Site()
        for n in range(8):
            await site.attempt(f"2001:db8::{n}", f"user{n}@x.test")
        assert await site.attempt("2001:db8::ffff", "other@x.test") > 0
        assert await site.attempt("2001:db8:0:1::1", "other@x.test") == 0.0
        for _ in range(8):
            await site.attempt("::ffff:192.0.2.9", "u@x.test")
        assert await site.attempt("192.0.2.9", "v@x.test") > 0

    run(scenario)


def test_a_phone_with_an_old_password_slows_its_owner_a_little():
    async def scenario():
        site = Site()
        await site.attempt("198.51.100.7", "alice@x.test", right=True)
        for _ in range(60):
            site.clock.time += 5
            await site.attempt("198.51.100.7", "alice@x.test")
        assert await site.attempt("198.51.100.7", "alice@x.test", right=True) <= 4.0

    run(scenario)


def test_failures_are_forgotten():
    async def scenario():
        site = Site()
        for _ in range(10):
            await site.attempt("192.0.2.1", "alice@x.test")
        site.clock.time += 3600
        assert await site.attempt("192.0.2.1", "alice@x.test") == 0.0

    run(scenario)


def test_what_says_nothing_about_a_password_does_not_count():
    async def scenario():
        site = Site()
        for reason in ("policy", "temporary failure") * 20:
            assert await site.attempt("192.0.2.1", "alice@x.test", reason=reason) == 0.0
        exempt = Site("192.0.2.0/24")
        for n in range(50):
            assert await exempt.attempt("192.0.2.1", f"user{n}@x.test") == 0.0
        for _ in range(15):
            last = await exempt.attempt("192.0.2.1", "alice@x.test")
        assert last > 0

    run(scenario)


def test_workers_share_what_they_see():
    async def scenario():
        one, two = Site(), Site()
        one.plugin._tell = lambda line: two.plugin.hear(line, two.clock.time)
        for _ in range(8):
            await one.attempt("192.0.2.1", "alice@x.test")
        two.clock.time = one.clock.time
        assert await two.attempt("192.0.2.1", "bob@x.test") > 1.0

    run(scenario)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(throttle, "_MOST_BUCKETS", 100)
    monkeypatch.setattr(throttle, "_MOST_KNOWN", 10)

    async def scenario():
        site = Site()
        for n in range(300):
            await site.attempt(f"10.0.{n // 250}.{n % 250}", f"{'x' * 200}{n}@x.test", right=n % 2 == 0)
        assert len(site.plugin._buckets) <= 100
        assert len(site.plugin._known) <= 10
        assert max(map(len, site.plugin._buckets)) < 40

    run(scenario)


def test_many_at_once_wait_until_some_have_failed():
    async def scenario():
        site = Site()
        slept = []

        async def sleep(seconds):
            slept.append(seconds)
            await asyncio.sleep(0)

        site.clock.sleep = sleep
        session = SimpleNamespace(client_ip="192.0.2.1", id="s")
        verdicts = await asyncio.gather(*(site.plugin.auth_policy(session, f"u{n}@x.test", site.ctx) for n in range(150)))
        assert sum(verdict is None for verdict in verdicts) == 100
        assert 1.0 in slept
        site.clock.time += 120  # none of them ever ended: they do not count for ever
        assert await site.attempt("192.0.2.1", "alice@x.test") == 0.0

    run(scenario)
