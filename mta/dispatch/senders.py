"""How many deliveries run at once for one sender, over all sites (config ``queue.concurrency_per_sender``).

A sender at its bound is parked: its batches leave the lines of the sites that would begin them, so that lanes see what may go only, and
the site waits in the sender's row. A place that gets free is offered to the site that waits longest. One that does not come for it in
``OFFER`` seconds, because its lanes are busy, waits anew when they are not, and is given twice the time then. Of what waits little is kept
in memory, the rest in the queue.

Reports, whose sender is null, are nobody's and go as they come.
"""
# SPDX-License-Identifier: Apache-2.0

from collections import deque
from collections.abc import Callable, Hashable
from itertools import islice
from typing import TYPE_CHECKING, Any

from mta.dispatch.line import Batch
from mta.dispatch.rates import Slots

if TYPE_CHECKING:
    from mta.dispatch.sites import Site

OFFER = 1.0  # seconds that a place is kept for a site, the first time
_PATIENCE = 8  # how often that is doubled
ROOM = 1000  # recipients in memory, of all senders at their bound together: half of those in our hands
SOON = 0.25  # least time for which something is put back into the queue
_MEMORY = 64  # deliveries whose mean is known: one that takes a minute must not put off what takes a second each
_GUESS = 0.1  # seconds between two deliveries of a sender of whom nothing is known
_KNOWN = 10_000


class Sender:
    """``rows``: recipients that wait in our hands, in so many ``batches``; ``offered``: sites for which a place is kept, and until when; ``missed``: how often each
    did not come; ``every``: seconds between the ends of two deliveries, while there is more; ``row``: sites where it is parked."""

    __slots__ = ("at_work", "batches", "ended_at", "every", "missed", "offered", "row", "rows", "seen", "slots", "watched")

    def __init__(self) -> None:
        self.at_work = self.rows = self.batches = self.seen = 0
        self.row: deque[Site] = deque()
        self.offered: dict[Site, float] = {}
        self.missed: dict[Site, int] = {}
        self.watched = False
        self.slots = Slots()
        self.ended_at = 0.0
        self.every = _GUESS

    @property
    def places(self) -> int:
        """Those that are taken."""
        return self.at_work + len(self.offered)


class Senders:
    """``staff(site)``: see to it that a lane comes for what waits there; ``later(seconds, function, sender)`` as the loop's ``call_later``."""

    def __init__(
        self,
        most: int,
        staff: Callable[["Site"], None],
        monotonic: Callable[[], float],
        later: Callable[[float, Callable[[Any], None], Any], object] | None = None,
    ) -> None:
        self._most = most
        self._staff = staff
        self._monotonic = monotonic
        self._later = later
        self._known: dict[Hashable, Sender] = {}
        self._bound: set[Sender] = set()

    def _of(self, key: Hashable) -> Sender:
        if (sender := self._known.get(key)) is None:
            if len(self._known) >= _KNOWN:
                for old, known in list(islice(self._known.items(), _KNOWN // 10)):
                    if not known.places and not known.rows:
                        del self._known[old]
            sender = self._known[key] = Sender()
        return sender

    # ---- into our hands

    def admit(self, batch: Batch) -> float:
        """Seconds for which this batch waits in the queue, because its sender has enough in our hands; 0.0: it may be pushed."""
        if batch.sender is None:
            return 0.0
        sender = self._of(batch.sender)
        if not sender.rows or sender.rows < self._share(sender):
            return 0.0
        now = self._monotonic()
        every = sender.every + max(0.0, now - sender.ended_at - sender.every) / _MEMORY if sender.ended_at else sender.every
        return max(SOON, sender.batches * every / 2 + sender.slots.next(batch.sender, now, every / 2))  # early: it must not run dry

    def _share(self, sender: Sender) -> int:
        """Recipients that one sender may have here: a fifth of what the others leave."""
        held = sum(other.rows for other in self._bound if other is not sender)
        return max(self._most, (ROOM - held) // 5)

    def waits(self, batch: Batch) -> None:
        """It is in a line now."""
        if batch.sender is not None:
            sender = self._of(batch.sender)
            sender.rows += len(batch.recipients)
            sender.batches += 1

    def gone(self, batch: Batch) -> None:
        """It left the line, to whatever end."""
        if (sender := self._known.get(batch.sender)) is not None:
            sender.rows -= len(batch.recipients)
            sender.batches -= 1

    # ---- at work

    def may_begin(self, site: "Site", key: Hashable) -> bool:
        """One more delivery begins, which ``began`` and ``ended`` follow; or the sender is parked at this site."""
        if key is None:
            return True
        sender = self._of(key)
        if not (sender.offered and sender.offered.pop(site, None) is not None) and sender.places >= self._most:
            sender.row.append(site)
            return False
        sender.missed.pop(site, None)
        sender.at_work += 1
        return True

    def began(self, site: "Site", batch: Batch) -> None:
        """A place is for one batch: what else waits at its site goes to the end of the row."""
        if batch.sender is None or (sender := self._of(batch.sender)).places < self._most:
            return
        self._bound.add(sender)
        if site.line.park(batch.sender, had=True):
            sender.row.append(site)

    def ended(self, batch: Batch) -> None:
        key = batch.sender
        if (sender := self._known.get(key)) is None:
            return
        now = self._monotonic()
        if sender.at_work >= self._most and sender.ended_at:
            sender.seen = min(sender.seen + 1, _MEMORY)
            sender.every += (now - sender.ended_at - sender.every) / sender.seen
        sender.ended_at = now if sender.rows else 0.0
        sender.at_work -= 1
        if not sender.rows:
            sender.missed.clear()
        self._offer(key, sender)

    def _offer(self, key: Hashable, sender: Sender) -> None:
        while sender.row and sender.places < self._most:
            site = sender.row.popleft()
            if site.line.unpark(key):  # else it was given up meanwhile
                sender.offered[site] = self._monotonic() + OFFER * 2 ** sender.missed.get(site, 0)
                self._staff(site)
        if sender.offered and not sender.watched and self._later is not None:
            sender.watched = True
            self._later(OFFER, self._look_again, key)
        if sender.places < self._most:
            self._bound.discard(sender)

    def _look_again(self, key: Hashable) -> None:
        """A site that did not come for its place has it no longer."""
        if (sender := self._known.get(key)) is None:
            return
        sender.watched = False
        now = self._monotonic()
        for site, until in list(sender.offered.items()):
            if until <= now:
                del sender.offered[site]
                sender.missed[site] = min(sender.missed.get(site, 0) + 1, _PATIENCE)
        self._offer(key, sender)
