"""Lanes: how many, for whom, and when they end."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from unittest.mock import Mock

import pytest

from mta.config.delivery import RetryRule, SiteRule
from mta.config.sections import QueueRates
from mta.dispatch import sites as module
from mta.dispatch.line import Batch
from mta.dispatch.rates import TOO_FAST
from mta.dispatch.rules import Answers, Names
from mta.dispatch.sites import Sites
from mta.model.address import Address
from mta.model.delivery import DeliveryPolicy, QueuedMessage, Route
from mta.model.ids import BlobId, QueueId
from mta.outbound.hosts import Destination

A, B, C = (Destination.of(Route("smtp"), f"{name}.test") for name in "abc")


def message(sender="s@x.test", priority=0):
    address = Address.parse(sender)
    return QueuedMessage(QueueId("q"), "smtp", address, BlobId(1), 1, 0, 0.0, None, None, False, False, "", "", priority)


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
            self.sites.push(site, Batch(message(), [None] * rows))
        return site


def test_lanes_begin_few_and_grow_with_success():
    pool = Pool()
    site = pool.push(A, 20)
    assert site.lanes == 5
    for _ in range(2):
        pool.sites.succeeded(site)
    assert site.lanes == 7
    for _ in range(1000):
        pool.sites.succeeded(site)
    assert site.lanes == 10  # all there are
    assert site.limit == 20


def test_what_waits_has_patience_with_lanes_that_come_back():
    looks = []
    pool = Pool(later=lambda seconds, look, site: looks.append((seconds, look, site)))

    def looks_again(late=0.0):
        [(seconds, look, site)] = looks
        looks.clear()
        pool.now += seconds + late
        look(site)
        return site.lanes

    site = pool.push(A, 3)
    assert site.lanes == 1
    pool.push(A)
    assert site.lanes == 2, "four wait for one lane"
    assert pool.sites.take(site)
    assert pool.sites.take(site)
    assert looks_again() == 2, "both came back"
    assert looks_again(late=1.0) == 2, "that we are late says nothing about the site"
    assert looks_again() == 4, "no lane came back: those who wait have one each"
    assert pool.sites.take(site)
    pool.push(B)
    assert not looks


def test_a_connection_under_way_is_waited_for():
    looks = []
    pool = Pool(later=lambda seconds, look, site: looks.append((look, site)))
    site = pool.push(A, 2)
    courier = Mock(dialing=True)
    site.couriers.add(courier)
    for dialing, lanes in ((True, 1), (True, 1), (False, 3)):
        courier.dialing = dialing
        look, _ = looks.pop()
        pool.now += module.PATIENCE
        look(site)
        assert site.lanes == lanes


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
    assert site.limit == 4.25, "slowly from now on"


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
    pool.sites.obey(site, DeliveryPolicy(concurrency=2, rate=5.0))
    for _ in range(50):
        pool.sites.succeeded(site)
    assert site.limit == 2
    assert pool.push(A).most == 2
    assert site.pace.rate == 5.0
    pool.sites.obey(site, DeliveryPolicy())
    assert site.pace.rate is None
    for _ in range(1000):
        pool.sites.succeeded(site)
    assert site.limit == 20


# ---- what next hops say, and what the config says of them


def test_a_site_that_fails_again_is_left_alone_for_longer():
    pool = Pool()
    site = pool.push(A, 5)
    for seconds in (60, 120, 240, 300, 300):
        pool.sites.failed(site, "451 4.4.1 refused", "", 60)
        assert pool.sites.down_for(site) == seconds
    pool.sites.succeeded(site)
    pool.sites.failed(site, "451 4.4.1 refused", "", 60)
    assert pool.sites.down_for(site) == 60
    pool.sites.failed(site, "451 4.4.1 refused", "", 60)
    pool.sites.forgive()
    assert pool.sites.down_for(site) == 0


def test_too_much_means_half_the_connections_then_half_the_pace():
    pool = Pool()
    site = pool.push(A, 20)
    for _ in range(9):
        pool.sites.throttled(site)
    assert site.limit == 2.5, "many answers at once say one thing"
    assert site.pace.interval(pool.now) == 0
    pool.now += 2
    pool.sites.throttled(site)
    pool.now += 2
    assert site.limit == 1.25
    pool.sites.throttled(site)
    assert site.pace.interval(pool.now) == 2
    pool.now += 2
    pool.sites.throttled(site)
    assert site.pace.interval(pool.now) == 4
    for seconds, interval in ((30, 4), (31, 2), (61, 0)):
        pool.now += seconds
        assert site.pace.interval(pool.now) == interval
    pool.sites.succeeded(site)
    assert site.limit > 1.25


def admitted(pool, site, count, **who):
    """Seconds for which each of so many is put off."""
    waits = []
    for _ in range(count):
        batch = Batch(message(**who), [None])
        waits.append(round(pool.sites.admit(site, batch), 3))
        if not waits[-1]:
            pool.sites.push(site, batch)
    return waits


def test_a_rate_lets_a_second_of_it_go_and_spreads_the_rest():
    pool = Pool(rates=QueueRates(destination="4/s"))
    site = pool.sites.at(A)
    assert admitted(pool, site, 7) == [0, 0, 0, 0, 0.25, 0.5, 0.75]
    pool.now += 0.25
    assert admitted(pool, site, 1) == [0]
    assert admitted(pool, pool.sites.at(B), 1) == [0]


def test_senders_share_what_a_site_takes():
    pool = Pool(rates=QueueRates(destination="1/m"))
    site = pool.sites.at(A)
    assert admitted(pool, site, 100)[-1] == 3600, "not further than that: rates change"
    assert admitted(pool, site, 1, sender="other@x.test") == [120], "its turn comes between those of the first"


def test_a_sender_has_a_rate_over_all_sites():
    pool = Pool(rates=QueueRates(sender="2/s"))
    a, b = pool.sites.at(A), pool.sites.at(B)
    assert admitted(pool, a, 1) + admitted(pool, b, 2) == [0, 0, 0.5]
    assert admitted(pool, b, 1, sender="other@x.test") == [0]


def test_sites_of_a_pattern_share_connections_and_rate():
    pool = Pool(rules={"*.big.test": SiteRule(concurrency=2, rate="100/s"), "c.test": SiteRule(concurrency=9)})
    a, b, c = pool.push(A, 5), pool.push(B, 5), pool.push(C, 9)
    assert (a.lanes, b.lanes) == (1, 1), "few until their servers are known"
    assert (c.lanes, c.most) == (5, 9)
    pool.sites.met(a, "mx1.BIG.test[192.0.2.1]:25")
    pool.sites.met(b, "mx2.big.test[192.0.2.2]:25")
    for _ in range(10):
        pool.sites.succeeded(a)
    assert (a.lanes, b.lanes, a.pool) == (1, 1, b.pool)
    while pool.sites.take(b):
        pass
    pool.sites.ended(b)
    pool.sites.push(a, Batch(message(), [None]))
    assert a.lanes == 2
    again = pool.push(B)
    assert (again.lanes, again.starving) == (0, True)
    pool.sites.ended(a)
    assert again.lanes == 1, "who waits for a place in the pool gets the next"
    assert len([wait for wait in admitted(pool, a, 60) + admitted(pool, again, 60) if not wait]) in (99, 100)


def test_a_flood_for_a_slow_site_leaves_room_for_others():
    pool = Pool()
    site = pool.push(A, 300)
    assert admitted(pool, site, 1) == [0], "nothing is known of it yet"
    for _ in range(10):
        pool.sites.take(site)
    pool.now += 10  # one a second
    first, second = admitted(pool, site, 2)
    assert 2.5 < first < second < 5
    assert admitted(pool, site, 1, sender="other@x.test") == [0]
    for _ in range(240):
        pool.sites.take(site)
    assert admitted(pool, site, 1) == [0], "a site must not run dry"


def test_senders_take_turns_and_urgent_mail_goes_first():
    pool = Pool()
    site = pool.push(A, 3)
    for who in ({"sender": "b@x.test"}, {"priority": 5}, {"priority": -5}, {"sender": "b@x.test"}):
        pool.sites.push(site, Batch(message(**who), [None]))
    taken = [pool.sites.take(site).message for _ in range(site.rows)]
    order = [(str(one.sender)[0], one.priority) for one in taken]
    assert order[:6] == [("s", 5), ("s", 0), ("b", 0), ("s", 0), ("b", 0), ("s", 0)]
    assert order[6] == ("s", -5)
    for _ in range(20):
        pool.sites.push(site, Batch(message(priority=5), [None]))
    pool.sites.push(site, Batch(message(priority=-5), [None]))
    assert -5 in [pool.sites.take(site).message.priority for _ in range(8)], "late, but not forgotten"


@pytest.mark.parametrize(
    ("reply", "much"),
    [
        ("421 4.7.0 try again later, closing connection", True),
        ("450 4.7.0 too many concurrent SMTP connections", True),
        ("452 4.3.1 Too many messages", True),
        ("450-4.2.1 The user you are trying to contact is receiving mail at a rate that", True),
        ("451 4.7.28 unusual rate of unsolicited mail", True),
        ("451 4.4.2 Throttled", True),
        ("450 4.7.1 greylisted, try again in 5 minutes", False),
        ("452 4.2.2 mailbox is full", False),
        ("450 4.1.8 sender domain not found", False),
    ],
)
def test_which_answers_mean_too_much(reply, much):
    assert bool(TOO_FAST.search(reply)) is much


def test_the_nearest_rule_is_taken():
    names = Names({"a.test": 1, "*.b.test": 2, "*.c.b.test": 3})
    assert [names.find(name) for name in ("a.test", "x.a.test", "b.test", "x.b.test", "y.x.b.test", "x.c.b.test")] == [
        1, None, None, 2, 2, 3,
    ]  # fmt: skip
    assert Names({"*": 4}).find("any.test") == 4
    rule, other, rest = RetryRule(lifetime=1), RetryRule(lifetime=2), RetryRule(lifetime=3)
    answers = Answers({"4.7": rule, "451": other, "4xx": rest})
    assert [answers.find(reply) for reply in ("450 4.7.1 x", "451 4.4.1 x", "451 x", "452 4.2.2 x", "250 ok")] == [
        rule, other, other, rest, None,
    ]  # fmt: skip


def test_a_full_slow_site_gives_back_the_last_of_who_has_most():
    pool = Pool()
    site = pool.push(A, 500)
    pool.sites.push(site, Batch(message("other@x.test"), [None]))
    assert (pool.sites.shed(), pool.sites.full) == ([], {site}), "nothing is known of it yet"
    for _ in range(10):
        pool.sites.take(site)
    pool.sites.push(site, Batch(message("other@x.test"), [None]))
    pool.sites.full.add(site)
    pool.now += 10  # one a second
    shed = pool.sites.shed()
    assert site.rows == module.CROWD
    assert not pool.sites.full
    assert {str(batch.message.sender) for batch, _ in shed} == {"s@x.test"}
    assert 2.5 < shed[0][1] < shed[-1][1] < 300
