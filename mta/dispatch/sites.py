"""How many connections go where. A site is a destination with the batches that wait for it and the lanes that serve it.

A lane is one task with at most one connection. A site begins with ``FIRST`` lanes, gains one when as many deliveries as it has lanes
have succeeded, loses one when a further connection is refused while others work and half when it says that it is too much, and is
left alone for a while when none of its hosts works, longer each time; then one lane tries. Lanes of all sites together are bounded;
when others wait for a lane, an idle one ends, and a busy one after its share. Sites that a pattern of the config names share a pool.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

from mta.config.delivery import SiteRule
from mta.config.sections import QueueRates
from mta.dispatch.line import Batch, Line
from mta.dispatch.rates import Pace, Slots
from mta.dispatch.rules import Names
from mta.dispatch.senders import Senders
from mta.model.delivery import DeliveryPolicy
from mta.obs.metrics import POSTPONED
from mta.outbound.courier import Courier
from mta.outbound.hosts import Destination

FIRST = 5
FULL = 500  # recipients that wait at one site, so that a slow one leaves room for the others
PRESSED = 4  # recipients that wait for each lane of a site, from which on another lane is worth its connection
PATIENCE = 0.1  # seconds that fewer wait for a lane, as long as lanes come back within them
IDLE = 2.0  # seconds that a connection is kept for the next message
CONTENT = 60.0  # seconds without trying for more, after a connection more was refused
SHARE = 20  # batches that a lane serves while others wait for one
CROWD = FULL // 2  # recipients at a slow site, half of them of one sender: more of that sender wait in the queue
SLOW = 5.0  # seconds for which a site has enough to do
DEAD = 300.0  # longest time that a site is left alone
_KNOWN = 10_000  # sites and senders of which something is remembered: about 2 MiB


class Pool:
    """What the sites of one pattern share. ``waiting``: those that would like a lane."""

    __slots__ = ("lanes", "most", "pace", "slots", "waiting")

    def __init__(self, rule: SiteRule) -> None:
        self.most = rule.concurrency
        self.pace = Pace(rule.rate)
        self.slots = Slots()
        self.lanes = 0
        self.waiting: deque[Site] = deque()

    @property
    def full(self) -> bool:
        return self.most is not None and self.lanes >= self.most


class Site:
    """``most``: lanes at most; ``names``: what the queue calls it; ``down_until``: monotonic, with the reply that says why;
    ``served``: batches since ``since``, when something began to wait; ``taken``: all; ``seen``: when ``_look_again`` looked last, -1: it
    will not."""

    __slots__ = (
        "couriers", "destination", "down_remote", "down_reply", "down_until", "grows_at", "idle", "lanes", "limit", "line", "look_at", "most", "names",
        "pace", "pool", "seen", "served", "since", "slots", "starving", "taken",
    )  # fmt: skip

    def __init__(self, destination: Destination, limit: float, most: int) -> None:
        self.destination = destination
        self.limit = limit
        self.most = most
        self.line = Line()
        self.pace = Pace()
        self.slots = Slots()
        self.pool: Pool | None = None
        self.served = self.taken = 0
        self.seen, self.look_at = -1, 0.0
        self.since = 0.0
        self.names: set[str] = set()
        self.lanes = 0
        self.couriers: set[Courier] = set()
        self.idle: deque[asyncio.Future[None]] = deque()
        self.starving = False
        self.grows_at = 0.0
        self.down_until = 0.0
        self.down_reply = self.down_remote = ""

    @property
    def rows(self) -> int:
        """Recipients that wait."""
        return self.line.rows


class Sites:
    """All sites of one kind. ``serve(site)`` starts a lane, which calls ``ended`` as its last act. ``full``: sites that take no more."""

    def __init__(
        self,
        *,
        lanes: int,
        per_site: int,
        first: int,
        serve: Callable[[Site], None],
        monotonic: Callable[[], float],
        rules: Mapping[str, SiteRule] | None = None,
        rates: QueueRates | None = None,
        per_sender: int | None = None,
        later: Callable[[float, Callable[[Any], None], Any], object] | None = None,
    ) -> None:
        """``later(seconds, function, argument)`` as the loop's ``call_later``; None: whatever waits has a lane at once, up to the limits."""
        self._later = later
        self._pools = Names({pattern: Pool(rule) for pattern, rule in (rules or {}).items()})
        self._pool_known: dict[Destination, Pool] = {}
        self._rates = rates or QueueRates()
        self._paces: dict[Hashable, tuple[Pace, Slots]] = {}
        self._senders = Senders(per_sender, partial(self._staff, patient=False), monotonic, later) if per_sender else None
        self._strikes: dict[Destination, int] = {}
        self._most = lanes
        self._per_site = per_site
        self._first = min(first, per_site)
        self._serve = serve
        self._monotonic = monotonic
        self._sites: dict[Destination, Site] = {}
        self._starving: deque[Site] = deque()
        self.full: set[Site] = set()
        self.lanes = 0

    def __len__(self) -> int:
        return len(self._sites)

    def __iter__(self) -> Iterator[Site]:
        return iter(self._sites.values())

    def at(self, destination: Destination) -> Site:
        if (site := self._sites.get(destination)) is None:
            site = self._sites[destination] = Site(destination, self._first, self._per_site)
            site.pace.rate = self._rates.destination
            if self._pools:
                self._enrol(
                    site, self._pool_known.get(destination) or self._pools.find(destination.domain or destination.route.host or "")
                )
                if site.pool is None:
                    site.limit = 1  # until the name of its server is known
        return site

    def met(self, site: Site, remote: str) -> None:
        """``remote``: the mail server that a lane of this site talked to, as replies have it."""
        if site.pool is not None or not self._pools or not remote:
            return
        if (pool := self._pools.find(remote.partition("[")[0].rstrip(".").lower())) is not None:
            if len(self._pool_known) >= _KNOWN:
                self._pool_known.clear()
            self._pool_known[site.destination] = pool
            self._enrol(site, pool)

    def _enrol(self, site: Site, pool: Pool | None) -> None:
        if pool is None:
            return
        site.pool = pool
        pool.lanes += site.lanes
        if pool.most is not None:
            site.most = min(pool.most, self._most)
            site.limit = min(site.limit, site.most)

    # ---- work

    def admit(self, site: Site, batch: Batch) -> float:
        """Seconds for which this batch waits in the queue, for the sake of a rate or of other senders; 0.0: it may be pushed."""
        now = self._monotonic()
        limits: list[tuple[Pace, Slots]] = []
        if site.pace.interval(now):
            limits.append((site.pace, site.slots))
        if site.pool is not None and site.pool.pace.interval(now):
            limits.append((site.pool.pace, site.pool.slots))
        if self._rates.sender is not None:
            limits.append(self._pace_of(batch.sender, self._rates.sender))
        wait, pace, slots = 0.0, None, None
        for one, turns in limits:
            if (seconds := one.wait(now)) > wait:
                wait, pace, slots = seconds, one, turns
        if pace is not None and slots is not None:
            POSTPONED["rate"].value += len(batch.recipients)
            return max(wait, slots.next(batch.sender, now, pace.interval(now)))
        if crowded := self._crowded(site, batch, now):
            POSTPONED["slow"].value += len(batch.recipients)
            return crowded
        if self._senders is not None and (crowded := self._senders.admit(batch)):
            POSTPONED["sender"].value += len(batch.recipients)
            return crowded
        for one, _ in limits:
            one.took(now)
        return 0.0

    def _pace_of(self, sender: Hashable, rate: float) -> tuple[Pace, Slots]:
        if (found := self._paces.get(sender)) is None:
            if len(self._paces) >= _KNOWN:  # the first ones to come were last seen longest ago, or come again
                for old in list(islice(self._paces, _KNOWN // 10)):
                    del self._paces[old]
            found = self._paces[sender] = (Pace(rate), Slots())
        return found

    def _crowded(self, site: Site, batch: Batch, now: float) -> float:
        """A sender with much for a slow site leaves room in our hands for others; 0.0: it is neither."""
        each = _slowness(site, now)
        if not each or site.line.rows_of(batch) < CROWD // 2:
            return 0.0
        return SLOW / 2 + site.slots.next(batch.sender, now, each / 2)  # early: a site must not run dry

    def shed(self) -> list[tuple[Batch, float]]:
        """What a slow site that is full gives back of who has most there, so that others get in; with the seconds until its turn."""
        now, out = self._monotonic(), list[tuple[Batch, float]]()
        for site in list(self.full):
            each = _slowness(site, now)
            while each and site.rows > CROWD and (batch := site.line.drop(CROWD // 2)) is not None:
                out.append((batch, SLOW / 2 + site.slots.next(batch.sender, now, each / 2)))
                self._left(batch)
                POSTPONED["slow"].value += len(batch.recipients)
            if site.rows < FULL:
                self.full.discard(site)
        return out

    def push(self, site: Site, batch: Batch) -> None:
        if not site.line:
            site.since, site.served = self._monotonic(), 0
        self._enters(site, batch)
        if site.rows >= FULL:
            self.full.add(site)
        self._staff(site)

    def put_back(self, site: Site, batch: Batch) -> None:
        self._enters(site, batch, first=True)

    def _enters(self, site: Site, batch: Batch, *, first: bool = False) -> None:
        site.line.push(batch, first=first)
        if self._senders is not None:
            self._senders.waits(batch)

    def _left(self, batch: Batch) -> None:
        if self._senders is not None:
            self._senders.gone(batch)

    def take(self, site: Site) -> Batch | None:
        """For another end than to be delivered."""
        if site.line.parked:
            site.line.unpark_all()
        return self._take(site)

    def begin(self, site: Site) -> Batch | None:
        """To be delivered, which ``done`` ends."""
        if (senders := self._senders) is None:
            return self._take(site)
        if (batch := self._take(site, partial(senders.may_begin, site))) is not None:
            senders.began(site, batch)
        return batch

    def done(self, batch: Batch) -> None:
        """It was delivered, or not."""
        if self._senders is not None:
            self._senders.ended(batch)

    def _take(self, site: Site, may: Callable[[Hashable], bool] | None = None) -> Batch | None:
        batch = site.line.take(may)
        if batch is not None:
            site.served += 1
            site.taken += 1
            self._left(batch)
        if site.rows < FULL:
            self.full.discard(site)
        if not site.line and not site.line.parked:
            site.names.clear()
        return batch

    async def next_batch(self, site: Site, served: int) -> Batch | None:
        """The next batch for a lane that has served so many; waits for one a moment. None: the lane has to end."""
        if served >= SHARE and self._starving:
            return None
        if site.lanes > max(1, int(site.limit)):
            return None
        pool = site.pool
        if pool is not None and pool.most is not None and (pool.lanes > pool.most or (pool.waiting and served >= SHARE)):
            return None
        batch = self.begin(site) if site.line else None
        if batch is not None or self._starving or served == 0 or (pool is not None and pool.waiting):
            return batch
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(IDLE, _wake, woken)
        site.idle.append(woken)
        try:
            await woken
        finally:
            timer.cancel()
            if woken in site.idle:
                site.idle.remove(woken)
        return self.begin(site)

    # ---- lanes

    def _staff(self, site: Site, *, patient: bool = True) -> None:
        """See to it that what waits is served: by an idle lane, one that soon is, a new one, or a place in the line for one."""
        if site.idle:
            _wake(site.idle.popleft())
            return
        if site.lanes >= max(1, int(site.limit)) or not site.line or site.starving:
            return
        if patient and self._later is not None and site.lanes and site.rows < PRESSED * site.lanes:
            if site.seen < 0:
                site.seen, site.look_at = site.taken, self._monotonic() + PATIENCE
                self._later(PATIENCE, self._look_again, site)
            return
        if (pool := site.pool) is not None and pool.full:
            if site.lanes == 0:
                site.starving = True
                pool.waiting.append(site)
                self._release_idle(pool)
            return
        if self.lanes < self._most:
            site.lanes += 1
            self.lanes += 1
            if pool is not None:
                pool.lanes += 1
            self._serve(site)
            return
        if site.lanes == 0:
            site.starving = True
            self._starving.append(site)
            self._release_idle()

    def _look_again(self, site: Site) -> None:
        """Lanes that did not come back take longer than a connection more."""
        came_back, site.seen = site.taken - site.seen, -1
        connecting = any(courier.dialing for courier in site.couriers)  # it is there before a connection more would be
        if connecting or came_back >= site.lanes or self._monotonic() - site.look_at > PATIENCE:  # or it is we who are late
            self._staff(site)
            return
        for _ in range(site.rows):
            self._staff(site, patient=False)

    def _release_idle(self, pool: Pool | None = None) -> None:
        for site in self._sites.values():
            if site.idle and (pool is None or site.pool is pool):
                _wake(site.idle.popleft())
                return

    def ended(self, site: Site) -> None:
        """A lane is gone; its place goes to who waits longest."""
        site.lanes -= 1
        self.lanes -= 1
        if (pool := site.pool) is not None:
            pool.lanes -= 1
            if pool.waiting and not pool.full:
                next_one = pool.waiting.popleft()
                next_one.starving = False
                self._staff(next_one)
        while self._starving and self.lanes < self._most:
            heir = self._starving.popleft()
            heir.starving = False
            self._staff(heir)
        self._staff(site)
        self._forget(site)

    def _forget(self, site: Site) -> None:
        if not site.lanes and not site.line and not site.line.parked and not site.starving and site.down_until <= self._monotonic():
            self._sites.pop(site.destination, None)

    def prune(self) -> None:
        """Forget sites that were left alone for long enough."""
        for site in list(self._sites.values()):
            self._forget(site)

    def obey(self, site: Site, policy: DeliveryPolicy) -> None:
        """What a plugin says about the site, until it says something else; None: as any site. Lanes above end with their batch."""
        pool = None if site.pool is None else site.pool.most
        site.most = (pool or self._per_site) if policy.concurrency is None else policy.concurrency
        site.limit = min(site.limit, site.most)
        site.pace.rate = self._rates.destination if policy.rate is None else policy.rate

    # ---- what was learnt

    def succeeded(self, site: Site) -> None:
        site.down_until = 0.0
        if self._strikes:
            self._strikes.pop(site.destination, None)
        if site.limit < site.most and site.grows_at <= self._monotonic():
            step = 1 / site.limit if site.grows_at else 1.0  # it doubles with each round, until it is too much for the first time
            site.limit = min(site.most, site.limit + step)
            self._staff(site)

    def refused(self, site: Site) -> None:
        """A connection more was too many; others work."""
        site.limit = max(1, site.lanes - 1)
        site.grows_at = self._monotonic() + CONTENT

    def throttled(self, site: Site) -> None:
        """It answered that it is too much: fewer connections, then less in a time, until it has been content for a while."""
        now = self._monotonic()
        if site.limit < 2 or site.pace.rate is not None or (site.pool is not None and site.pool.pace.rate is not None):
            (site.pace if site.pool is None or site.pool.pace.rate is None else site.pool.pace).complain(now)
        if now >= site.grows_at - CONTENT + 1.0:  # not once for each of many answers that say the same
            site.limit = max(1.0, min(site.limit, site.lanes or 1) / 2)
            site.grows_at = now + CONTENT

    def failed(self, site: Site, reply: str, remote: str, seconds: float) -> None:
        """None of its hosts works: leave it alone for so long, longer each time; then try with one lane."""
        strikes = self._strikes.get(site.destination, 0)
        if len(self._strikes) >= _KNOWN:
            self._strikes.clear()
        self._strikes[site.destination] = strikes + 1
        site.limit = 1
        site.down_until = self._monotonic() + max(seconds, min(seconds * 2.0 ** min(strikes, 10), DEAD))
        site.down_reply, site.down_remote = reply, remote

    def forgive(self) -> None:
        """Leave no site alone any longer."""
        self._strikes.clear()
        for site in self._sites.values():
            site.down_until = 0.0

    def down_for(self, site: Site) -> float:
        """Seconds that the site is left alone; 0: try."""
        return max(0.0, site.down_until - self._monotonic()) if site.down_until else 0.0


def _slowness(site: Site, now: float) -> float:
    """Seconds that a site takes for one batch, when it has enough to do for a while; 0.0: it has not."""
    if site.rows < CROWD or (passed := now - site.since) < SLOW:
        return 0.0
    each = passed / max(1, site.served)
    return each if site.rows * each >= SLOW else 0.0


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
