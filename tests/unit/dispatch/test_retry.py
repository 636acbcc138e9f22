"""Waits, expiry, warnings, and clocks that jump."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import replace

import pytest

from mta.config.sections import QueueSection
from mta.dispatch.retry import Schedule, SteadyClock
from mta.model.address import Address
from mta.model.delivery import DeliveryPolicy, Leased, QueuedMessage
from mta.model.ids import BlobId, QueueId

HOUR, DAY = 3600.0, 86400.0


class Clock:
    def __init__(self):
        self.wall, self.steady = 1_800_000_000.0, 5000.0

    def now(self):
        return self.wall

    def monotonic(self):
        return self.steady

    def turn(self, seconds):
        self.wall += seconds
        self.steady += seconds


def leased(attempts, received_at, warned=False):
    message = QueuedMessage(QueueId("q"), "smtp", None, BlobId(1), 1, 0, received_at, None, None, False, False, "", "")
    return Leased(1, message, Address("x", "y.test"), "remote", "y.test", None, None, frozenset(), attempts, 0.0, "", warned)


def test_the_last_wait_repeats_and_all_vary():
    schedule = Schedule(QueueSection(retry=(60, 600), jitter=0.1), SteadyClock(Clock()))
    for attempts, wait in ((1, 60), (2, 600), (3, 600), (99, 600)):
        waits = [schedule.wait(attempts) for _ in range(200)]
        assert 0.9 * wait <= min(waits) < max(waits) <= 1.1 * wait


@pytest.mark.parametrize(("attempts", "age", "expired"), [(2, 6 * DAY, True), (1, 6 * DAY, False), (50, 4 * DAY, False)])
def test_expiry_needs_age_and_attempts(attempts, age, expired):
    clock = Clock()
    schedule = Schedule(QueueSection(lifetime=5 * DAY), SteadyClock(clock))
    one = leased(attempts, clock.now())
    clock.turn(age)
    assert schedule.expired(one) is expired


def test_a_jump_forward_makes_nothing_old():
    clock = Clock()
    schedule = Schedule(QueueSection(), SteadyClock(clock))
    one = leased(30, clock.now())
    clock.wall += 30 * DAY
    assert not schedule.expired(one)
    assert not schedule.warns(one)
    clock.turn(5 * DAY + 1)
    assert schedule.expired(one)


def test_due_is_never_put_off_by_a_clock_set_back():
    clock = Clock()
    steady = SteadyClock(clock)
    before = steady.due()
    clock.wall -= DAY
    clock.turn(10)
    assert steady.due() == before + 10
    clock.wall += 2 * DAY
    assert steady.due() == clock.now()


@pytest.mark.parametrize(
    ("attempts", "age", "warned", "warns"),
    [(5, 5 * HOUR, False, True), (5, 5 * HOUR, True, False), (5, 3 * HOUR, False, False), (0, 5 * HOUR, False, False)],
)
def test_one_warning_after_four_hours(attempts, age, warned, warns):
    clock = Clock()
    schedule = Schedule(QueueSection(), SteadyClock(clock))
    one = leased(attempts, clock.now(), warned)
    clock.turn(age)
    assert schedule.warns(one) is warns
    assert Schedule(QueueSection(delay_warning=0), SteadyClock(clock)).warns(one) is False


def test_rules_by_answer_and_site_come_before_the_rest():
    section = QueueSection(
        retry=(60,),
        sites={"*.slow.test": {"retry": [600, 1200], "lifetime": "1h"}, "mx.y.test": {"delay_warning": 5}},
        answers={"4.7": {"retry": [300]}, "4.4.1": {"lifetime": 100}},
    )
    schedule = Schedule(section, SteadyClock(Clock()))
    plain = leased(0, 0.0)
    slow = replace(plain, address=Address("x", "a.slow.test"))
    assert schedule.policy_of(plain, "451 4.3.0 later", "", None) is None
    assert schedule.policy_of(slow, "450 4.7.1 greylisted", "", None) == DeliveryPolicy(retry=(300,), lifetime=3600)
    assert schedule.policy_of(slow, "451 4.4.1 refused", "", None) == DeliveryPolicy(retry=(600, 1200), lifetime=100)
    assert schedule.policy_of(plain, "451 x", "mx.y.test[192.0.2.1]:25", None) == DeliveryPolicy(delay_warning=5)
    mine = DeliveryPolicy(concurrency=2, retry=(7,))
    assert schedule.policy_of(slow, "450 4.7.1 x", "", mine) == DeliveryPolicy(concurrency=2, retry=(7,), lifetime=3600)
    assert schedule.policy_of(plain, "451 x", "", mine) is mine
    assert Schedule(QueueSection(), SteadyClock(Clock())).policy_of(slow, "450 x", "", mine) is mine


@pytest.mark.parametrize(
    "section",
    [{"answers": {"550": {}}}, {"answers": {"4.7.1": {"retry": []}}}, {"sites": {"a.*.test": {}}}, {"sites": {"a.test": {"rate": "x/m"}}},
     {"sites": {"a.test": {"colour": 1}}}, {"rates": {"sender": "5/fortnight"}}, {"rates": {"sender": 0}}, {"double_bounce": "nobody"}],
)  # fmt: skip
def test_rules_that_make_no_sense_are_refused(section):
    with pytest.raises(ValueError, match=r"."):
        QueueSection(**section)


def test_rates_are_written_for_any_time():
    assert QueueSection(rates={"sender": "60/m", "destination": "2"}).rates.model_dump() == {"destination": 2.0, "sender": 1.0}


def test_a_deadline_ends_it_or_is_told_of():
    clock = Clock()
    schedule, now = Schedule(QueueSection(), SteadyClock(clock)), clock.now()
    one = leased(0, now)
    strict = replace(one, message=replace(one.message, deliver_by=now + 100, by_mode="R"))
    told = replace(one, message=replace(one.message, deliver_by=now + 100, by_mode="NT"))
    assert [schedule.until_deadline(each, now + 300) - now for each in (one, strict, told)] == [300, 100, 100]
    assert schedule.until_deadline(replace(told, delay_warned=True), now + 300) == now + 300
    assert (schedule.missed(strict.message), schedule.warns(told)) == (False, False)
    clock.turn(100)
    assert [schedule.missed(each.message) for each in (one, strict, told)] == [False, True, False]
    assert [schedule.warns(each) for each in (one, strict, told)] == [False, False, True]
    assert schedule.until_deadline(strict, now + 300) == now + 300
