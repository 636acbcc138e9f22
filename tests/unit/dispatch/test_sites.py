"""Lanes: how many, for whom, and when they end."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

from mta.dispatch import sites as module
from mta.dispatch.sites import Batch, Sites
from mta.model.delivery import Route
from mta.outbound.hosts import Destination

A, B, C = (Destination.of(Route("smtp"), f"{name}.test") for name in "abc")


class Pool:
    """Starts no tasks: remembers which sites got a lane."""

    def __init__(self, **more):
        self.now = 100.0
        self.started = []
        fixed = {"lanes": 10, "per_site": 20, "first": 5}
        self.sites = Sites(**(fixed | more), serve=self.started.append, monotonic=lambda: self.now)

    def push(self, destination, count=1, rows=1):
        site = self.sites.at(destination)
        for _ in range(count):
            self.sites.push(site, Batch(None, [None] * rows))
        return site


def test_lanes_begin_few_and_grow_with_success():
    pool = Pool()
    site = pool.push(A, 20)
    assert site.lanes == 5
    for _ in range(6):
        pool.sites.succeeded(site)
    assert site.lanes == 6
    for _ in range(1000):
        pool.sites.succeeded(site)
    assert site.lanes == 10  # all there are
    assert site.limit == 20


def test_one_batch_needs_one_lane():
    pool = Pool()
    assert pool.push(A).lanes == 1


def test_a_refused_connection_is_not_tried_again_at_once():
    pool = Pool()
    site = pool.push(A, 20)
    pool.sites.refused(site)
    assert site.limit == 4
    for _ in range(100):
        pool.sites.succeeded(site)
    assert site.limit == 4
    pool.now += module.CONTENT
    pool.sites.succeeded(site)
    assert site.limit > 4


def test_a_site_that_failed_is_left_alone_then_tried_by_one_lane():
    pool = Pool()
    site = pool.push(A, 5)
    pool.sites.failed(site, "451 4.4.1 refused", "", 60)
    assert pool.sites.down_for(site) == 60
    while pool.sites.take(site):
        pass
    for _ in range(5):
        pool.sites.ended(site)
    assert A in pool.sites._sites  # it remembers
    pool.now += 61
    assert pool.sites.down_for(site) == 0
    pool.push(A, 5)
    assert site.lanes == 1
    pool.sites.succeeded(site)
    assert site.lanes == 2


def test_sites_are_forgotten_when_nothing_is_left_of_them():
    pool = Pool()
    site = pool.push(A)
    pool.sites.take(site)
    pool.sites.ended(site)
    assert len(pool.sites) == 0
    down = pool.push(B)
    pool.sites.take(down)
    pool.sites.failed(down, "", "", 60)
    pool.sites.ended(down)
    pool.sites.prune()
    assert len(pool.sites) == 1
    pool.now += 61
    pool.sites.prune()
    assert len(pool.sites) == 0


def test_who_waits_for_a_lane_gets_the_next_that_ends():
    pool = Pool(lanes=5)
    busy = pool.push(A, 20)
    waiting = pool.push(B, 3)
    assert (busy.lanes, waiting.lanes) == (5, 0)

    async def main():
        assert await pool.sites.next_batch(busy, served=1) is not None  # not yet its share
        assert await pool.sites.next_batch(busy, served=module.SHARE) is None

    asyncio.run(main())
    pool.sites.ended(busy)
    assert pool.started[-1] is waiting
    assert (busy.lanes, waiting.lanes) == (4, 1)


def test_an_idle_lane_takes_what_comes_or_makes_way():
    async def main():
        pool = Pool(lanes=1)
        site = pool.push(A)
        pool.sites.take(site)
        idle = asyncio.ensure_future(pool.sites.next_batch(site, served=1))
        await asyncio.sleep(0)
        pool.push(A)
        assert await idle is not None
        idle = asyncio.ensure_future(pool.sites.next_batch(site, served=1))
        await asyncio.sleep(0)
        pool.push(B)
        assert await idle is None
        pool.sites.ended(site)
        assert pool.started[-1].destination == B

    asyncio.run(main())


def test_an_idle_lane_ends_after_a_moment(monkeypatch):
    monkeypatch.setattr(module, "IDLE", 0.01)

    async def main():
        pool = Pool()
        site = pool.push(A)
        pool.sites.take(site)
        assert await pool.sites.next_batch(site, served=1) is None
        assert not site.idle

    asyncio.run(main())


def test_a_full_site_says_so():
    pool = Pool()
    site = pool.push(A, 5, rows=100)
    assert pool.sites.full == {site}
    pool.sites.take(site)
    assert not pool.sites.full


def test_what_is_put_back_comes_next():
    pool = Pool()
    site = pool.push(A, 2)
    batch = pool.sites.take(site)
    pool.sites.put_back(site, batch)
    assert site.rows == 2
    assert pool.sites.take(site) is batch


def test_a_bound_of_a_policy_holds_until_another_comes():
    pool = Pool()
    site = pool.push(A, 20)
    pool.sites.bound(site, 2)
    for _ in range(50):
        pool.sites.succeeded(site)
    assert site.limit == 2
    assert pool.push(A).most == 2
    pool.sites.bound(site, None)
    for _ in range(1000):
        pool.sites.succeeded(site)
    assert site.limit == 20
