"""How many deliveries run at once for one sender: lanes of a virtual time."""
# SPDX-License-Identifier: Apache-2.0

import heapq
from collections import Counter
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from mta.dispatch import senders as module
from mta.dispatch.line import Batch
from mta.dispatch.sites import Sites
from mta.model.address import Address
from mta.model.delivery import QueuedMessage, Route
from mta.model.ids import BlobId, QueueId
from mta.outbound.hosts import Destination

A, B, C = (Destination.of(Route("smtp"), f"{name}.test") for name in "abc")


class World:
    """Deliveries take as long as ``lasts`` says of their destination, in seconds."""

    def __init__(self, most, lasts=None, **more):
        self.now, self.lasts, self._events, self._order = 0.0, lasts or {}, [], count()
        self.at_work, self.peak, self.done, self.put_off = Counter(), Counter(), [], []
        fixed = {"lanes": 50, "per_site": 20, "first": 5}
        self.sites = Sites(**(fixed | more), per_sender=most, serve=self._lane, monotonic=lambda: self.now, later=self._later)

    def _later(self, seconds, function, argument):
        heapq.heappush(self._events, (self.now + seconds, next(self._order), function, argument))

    def _lane(self, site):
        self._later(0, self._step, site)

    def _step(self, site):
        batch = self.sites.begin(site)
        if batch is None:
            self.sites.ended(site)
            return
        who = str(batch.sender)
        self.at_work[who] += 1
        self.peak[who] = max(self.peak[who], self.at_work[who])
        self._later(self.lasts.get(site.destination, 1.0), self._finish, (site, batch))

    def _finish(self, pair):
        site, batch = pair
        self.at_work[str(batch.sender)] -= 1
        self.done.append((self.now, site.destination, batch))
        self.sites.done(batch)
        self._step(site)

    def push(self, destination, sender="s@x.test", times=1, rows=1, priority=0):
        """As the dispatcher does: what is not admitted goes back into the queue."""
        address = None if sender is None else Address.parse(sender)
        message = QueuedMessage(QueueId("q"), "smtp", address, BlobId(1), 1, 0, 0.0, None, None, False, False, "", "", priority)
        for _ in range(times):
            self._arrive((destination, Batch(message, [None] * rows)))

    def _arrive(self, pair):
        destination, batch = pair
        site = self.sites.at(destination)
        if wait := self.sites.admit(site, batch):
            self.put_off.append(wait)
            self._later(wait, self._arrive, pair)
        else:
            self.sites.push(site, batch)

    def run(self, until=1e9):
        while self._events and self._events[0][0] <= until:
            self.now, _, function, argument = heapq.heappop(self._events)
            function(argument)
        return self

    def ends(self, sender="s@x.test", destination=None):
        """When deliveries of this sender ended."""
        return [at for at, where, batch in self.done if str(batch.message.sender) == sender and destination in (None, where)]


def test_no_more_at_once_than_the_bound_over_all_sites():
    world = World(3)
    for destination in (A, B, C):
        world.push(destination, times=10)
    world.run()
    assert (len(world.done), world.done[-1][0], world.peak["s@x.test"]) == (30, 10.0, 3)
    assert sorted(Counter(where for _, where, _ in world.done[3:12]).values()) == [3, 3, 3], "sites take turns"


def test_without_a_bound_all_lanes_are_used():
    world = World(None)
    for destination in (A, B, C):
        world.push(destination, times=5)
    assert len(world.run(until=1.2).done) == 15


def test_others_pass_a_sender_at_its_bound():
    world = World(1)
    world.push(A, times=50)
    world.push(A, "other@x.test", times=2)
    world.push(B, "third@x.test")
    world.push(A, None, times=4)
    world.run()
    assert world.ends("other@x.test") == [1.0, 2.0]
    assert world.ends("third@x.test") == [1.0]
    assert world.ends("None") == [1.0] * 3 + [2.0], "reports have no bound; the site has five lanes"
    assert world.ends() == [float(n) for n in range(1, 51)]


def test_a_slow_site_keeps_a_senders_places_from_no_other_site():
    """All lanes of B are at work for others when a place is free: it waits a second for one, not a minute; longer each time."""
    world = World(1, {B: 60.0}, first=1, per_site=1)
    world.push(B, "other@x.test")
    world.run(until=0.0)
    world.push(A)
    world.push(B)
    for n in range(30):
        world.push(B, f"other{n}@x.test")
    world._later(0.5, lambda _: world.push(A, times=1500), None)
    world.run(until=90.0)
    assert len(world.ends(destination=A)) > 80
    world.run()
    assert len(world.done) == 1533
    assert 60 < world.ends(destination=B)[0] < 15 * 60, "it need not wait for all others"
    assert world.ends(destination=A)[-1] < 1.4 * 1500


def test_a_flood_waits_in_the_queue_and_the_sender_never_runs_dry():
    world = World(2)
    world.push(A, times=600)
    world.run(until=0.0)
    assert 190 <= sum(site.rows + site.line.parked for site in world.sites) < 220
    assert min(world.put_off) >= module.SOON
    world.run()
    assert (len(world.done), world.peak["s@x.test"], world.done[-1][0]) == (600, 2, 300.0)
    assert len(world.put_off) < 600 * 3


def test_many_floods_leave_room_in_memory():
    world = World(1, {A: 600.0}, lanes=100, first=100, per_site=100)
    for n in range(100):
        world.push(A, f"s{n}@x.test", times=5)
        world.run(until=0.0)
    for n in range(100):
        world.push(A, f"s{n}@x.test", times=100)
    assert sum(site.rows + site.line.parked for site in world.sites) < 1250
    assert not world.sites.full


def test_urgent_mail_of_a_parked_sender_goes_first():
    world = World(1)
    world.push(A, times=3)
    world.run(until=0.5)
    world.push(A, times=1, priority=5)
    world.run()
    assert [batch.message.priority for _, _, batch in world.done] == [0, 5, 0, 0]


def test_what_a_dead_site_gives_up_frees_the_row():
    world = World(1, first=1)
    world.push(A, times=2)
    world.push(B, times=2)
    world.run(until=0.5)
    site = world.sites.at(B)
    assert site.line.parked == 2
    assert [world.sites.take(site) is not None for _ in range(3)] == [True, True, False]
    world.run().sites.prune()
    assert (len(world.done), world.done[-1][0], len(world.sites)) == (2, 2.0, 0)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([A, B, C]), st.integers(0, 4), st.integers(1, 3), st.sampled_from([0, 5]), st.integers(0, 20)),
        max_size=60,
    ),
    st.integers(1, 4),
    st.integers(1, 8),
    st.tuples(*[st.sampled_from([0.01, 0.3, 7.0])] * 3),
)
def test_all_arrive_within_the_bound(arrivals, most, lanes, lasts):
    world = World(most, dict(zip((A, B, C), lasts, strict=True)), lanes=lanes, per_site=4, first=2)
    for destination, sender, rows, priority, at in arrivals:
        world._later(
            at / 10, lambda them: world.push(them[0], f"s{them[1]}@x.test", 1, *them[2:]), (destination, sender, rows, priority)
        )
    world.run()
    assert len(world.done) == len(arrivals)
    assert all(peak <= most for peak in world.peak.values())
    assert len(world.sites) == 0
    senders = world.sites._senders
    assert not any(one.places or one.rows for one in senders._known.values())


def test_senders_at_their_bounds_take_turns_at_a_site_with_one_lane():
    world = World(1, first=1, per_site=1)
    for name in ("s", "other"):
        world.push(A, f"{name}@x.test", times=3)
    world.run()
    assert [str(batch.message.sender)[0] for _, _, batch in world.done] == ["s", "o", "s", "o", "s", "o"]
