"""How many connections go where. A site is a destination with the batches that wait for it and the lanes that serve it.

A lane is one task with at most one connection. A site begins with ``FIRST`` lanes, gains as deliveries succeed, loses one when a
further connection is refused while others work, and is left alone for a while when none of its hosts works; then one lane
tries. Lanes of all sites together are bounded; when others wait for a lane, an idle one ends, and a busy one after its share.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from mta.model.delivery import DeliveryPolicy, Leased, QueuedMessage
from mta.outbound.courier import Courier
from mta.outbound.hosts import Destination

FIRST = 5
FULL = 500  # recipients that wait at one site, so that a slow one leaves room for the others
IDLE = 2.0  # seconds that a connection is kept for the next message
CONTENT = 60.0  # seconds without trying for more, after a connection more was refused
SHARE = 20  # batches that a lane serves while others wait for one


class Batch(NamedTuple):
    """Recipients of one message at one site."""

    message: QueuedMessage
    recipients: Sequence[Leased]
    policy: DeliveryPolicy | None = None


class Site:
    """``most``: lanes at most; ``names``: what the queue calls it; ``rows``: recipients that wait; ``down_until``: monotonic, with the reply that says why."""

    __slots__ = (
        "couriers", "destination", "down_remote", "down_reply", "down_until", "grows_at", "idle", "lanes", "limit", "most", "names",
        "rows", "starving", "waiting",
    )  # fmt: skip

    def __init__(self, destination: Destination, limit: float, most: int) -> None:
        self.destination = destination
        self.limit = limit
        self.most = most
        self.waiting: deque[Batch] = deque()
        self.rows = 0
        self.names: set[str] = set()
        self.lanes = 0
        self.couriers: set[Courier] = set()
        self.idle: deque[asyncio.Future[None]] = deque()
        self.starving = False
        self.grows_at = 0.0
        self.down_until = 0.0
        self.down_reply = self.down_remote = ""


class Sites:
    """All sites of one kind. ``serve(site)`` starts a lane, which calls ``ended`` as its last act. ``full``: sites that take no more."""

    def __init__(
        self, *, lanes: int, per_site: int, first: int, serve: Callable[[Site], None], monotonic: Callable[[], float]
    ) -> None:
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
        return site

    # ---- work

    def push(self, site: Site, batch: Batch) -> None:
        site.waiting.append(batch)
        site.rows += len(batch.recipients)
        if site.rows >= FULL:
            self.full.add(site)
        self._staff(site)

    def put_back(self, site: Site, batch: Batch) -> None:
        site.waiting.appendleft(batch)
        site.rows += len(batch.recipients)

    def take(self, site: Site) -> Batch | None:
        if not site.waiting:
            return None
        batch = site.waiting.popleft()
        site.rows -= len(batch.recipients)
        if site.rows < FULL:
            self.full.discard(site)
        if not site.waiting:
            site.names.clear()
        return batch

    async def next_batch(self, site: Site, served: int) -> Batch | None:
        """The next batch for a lane that has served so many; waits for one a moment. None: the lane has to end."""
        if served >= SHARE and self._starving:
            return None
        if site.lanes > max(1, int(site.limit)):
            return None
        if site.waiting or self._starving or served == 0:
            return self.take(site)
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
        return self.take(site)

    # ---- lanes

    def _staff(self, site: Site) -> None:
        """See to it that what waits is served: by an idle lane, a new one, or a place in the line for one."""
        if site.idle:
            _wake(site.idle.popleft())
            return
        if site.lanes >= max(1, int(site.limit)) or not site.waiting or site.starving:
            return
        if self.lanes < self._most:
            site.lanes += 1
            self.lanes += 1
            self._serve(site)
            return
        if site.lanes == 0:
            site.starving = True
            self._starving.append(site)
            self._release_idle()

    def _release_idle(self) -> None:
        for site in self._sites.values():
            if site.idle:
                _wake(site.idle.popleft())
                return

    def ended(self, site: Site) -> None:
        """A lane is gone; its place goes to who waits longest."""
        site.lanes -= 1
        self.lanes -= 1
        while self._starving and self.lanes < self._most:
            heir = self._starving.popleft()
            heir.starving = False
            self._staff(heir)
        self._staff(site)
        self._forget(site)

    def _forget(self, site: Site) -> None:
        if not site.lanes and not site.waiting and not site.starving and site.down_until <= self._monotonic():
            self._sites.pop(site.destination, None)

    def prune(self) -> None:
        """Forget sites that were left alone for long enough."""
        for site in list(self._sites.values()):
            self._forget(site)

    def bound(self, site: Site, most: int | None) -> None:
        """So many lanes at most; None: as many as any site. Those above end with their batch."""
        site.most = self._per_site if most is None else most
        site.limit = min(site.limit, site.most)

    # ---- what was learnt

    def succeeded(self, site: Site) -> None:
        site.down_until = 0.0
        if site.limit < site.most and site.grows_at <= self._monotonic():
            site.limit = min(site.most, site.limit + 1 / site.limit)
            self._staff(site)

    def refused(self, site: Site) -> None:
        """A connection more was too many; others work."""
        site.limit = max(1, site.lanes - 1)
        site.grows_at = self._monotonic() + CONTENT

    def failed(self, site: Site, reply: str, remote: str, seconds: float) -> None:
        """None of its hosts works: leave it alone for so long, then try with one lane."""
        site.limit = 1
        site.down_until = self._monotonic() + seconds
        site.down_reply, site.down_remote = reply, remote

    def forgive(self) -> None:
        """Leave no site alone any longer."""
        for site in self._sites.values():
            site.down_until = 0.0

    def down_for(self, site: Site) -> float:
        """Seconds that the site is left alone; 0: try."""
        return max(0.0, site.down_until - self._monotonic()) if site.down_until else 0.0


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
