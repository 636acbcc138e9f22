"""What waits at one site: urgent messages first, senders in turn, each sender's messages in their order."""
# SPDX-License-Identifier: Apache-2.0

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from mta.model.delivery import DeliveryPolicy, Leased, QueuedMessage

EVERY = 8  # of so many turns one is of the least urgent, so that they are late but not forgotten


class Batch(NamedTuple):
    """Recipients of one message at one site."""

    message: QueuedMessage
    recipients: Sequence[Leased]
    policy: DeliveryPolicy | None = None

    @property
    def sender(self) -> Hashable:
        """Whose turn it is: the account's that submitted it, or the envelope sender's."""
        return self.message.user or self.message.sender


class Line:
    """``rows``: recipients that wait; ``parked``: those beside them, of senders that may have no more at work."""

    __slots__ = ("_had", "_levels", "_parked", "_turns", "parked", "rows")

    def __init__(self) -> None:
        self._levels: dict[int, OrderedDict[Hashable, deque[Batch]]] = {}
        self._parked: dict[Hashable, dict[int, deque[Batch]]] = {}
        self._had: set[Hashable] = set()  # of those that are parked, who had a turn before
        self._turns = 0
        self.rows = self.parked = 0

    def __bool__(self) -> bool:
        """Something may be taken, as far as is known."""
        return bool(self._levels)

    def rows_of(self, batch: Batch) -> int:
        """Recipients that wait of the same sender and priority."""
        senders = self._levels.get(batch.message.priority)
        own = None if senders is None else senders.get(batch.sender)
        return 0 if own is None else sum(len(one.recipients) for one in own)

    def push(self, batch: Batch, *, first: bool = False) -> None:
        """``first``: it was taken before, and comes next."""
        sender = batch.sender
        if self._parked and (aside := self._parked.get(sender)) is not None:
            mine = aside.setdefault(batch.message.priority, deque())
            (mine.appendleft if first else mine.append)(batch)
            self.parked += len(batch.recipients)
            return
        senders = self._levels.setdefault(batch.message.priority, OrderedDict())
        if (own := senders.get(sender)) is None:
            own = senders[sender] = deque()
        if first:
            own.appendleft(batch)
            senders.move_to_end(sender, last=False)
        else:
            own.append(batch)
        self.rows += len(batch.recipients)

    def drop(self, share: int) -> Batch | None:
        """The last batch of who has most, when that is more than ``share`` batches."""
        own = max((batches for senders in self._levels.values() for batches in senders.values()), key=len, default=deque[Batch]())
        if len(own) <= max(share, 1):
            return None
        batch = own.pop()  # more than one: its place in the line stays
        self.rows -= len(batch.recipients)
        return batch

    def take(self, may: Callable[[Hashable], bool] | None = None) -> Batch | None:
        """``may(sender)``: False parks this sender."""
        self._turns += 1
        while self._levels:
            if len(self._levels) == 1:
                [level] = self._levels
            else:
                level = min(self._levels) if self._turns % EVERY == 0 else max(self._levels)
            senders = self._levels[level]
            sender, own = next(iter(senders.items()))
            if may is not None and not may(sender):
                self.park(sender)
                continue
            batch = own.popleft()
            if own:
                senders.move_to_end(sender)
            else:
                del senders[sender]
                if not senders:
                    del self._levels[level]
            self.rows -= len(batch.recipients)
            return batch
        return None

    # ---- senders that may have no more at work

    def park(self, sender: Hashable, *, had: bool = False) -> bool:
        """Put all of its batches aside until ``unpark``: it has the next turn then, unless it ``had`` one. False: there are none."""
        aside: dict[int, deque[Batch]] = {}
        for level, senders in list(self._levels.items()):
            if (own := senders.pop(sender, None)) is not None:
                aside[level] = own
                if not senders:
                    del self._levels[level]
        if not aside:
            return False
        self._parked[sender] = aside
        if had:
            self._had.add(sender)
        self._count(aside, 1)
        return True

    def unpark(self, sender: Hashable) -> bool:
        """False: it is not parked here."""
        if (aside := self._parked.pop(sender, None)) is None:
            return False
        had = sender in self._had
        self._had.discard(sender)
        for level, own in aside.items():
            senders = self._levels.setdefault(level, OrderedDict())
            senders[sender] = own
            senders.move_to_end(sender, last=had)
        self._count(aside, -1)
        return True

    def unpark_all(self) -> None:
        for sender in list(self._parked):
            self.unpark(sender)

    def _count(self, aside: dict[int, deque[Batch]], sign: int) -> None:
        rows = sign * sum(len(batch.recipients) for own in aside.values() for batch in own)
        self.parked += rows
        self.rows -= rows
