"""What waits at one site: urgent messages first, senders in turn, each sender's messages in their order."""
# SPDX-License-Identifier: Apache-2.0

from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
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
    """``rows``: recipients that wait."""

    __slots__ = ("_levels", "_turns", "rows")

    def __init__(self) -> None:
        self._levels: dict[int, OrderedDict[Hashable, deque[Batch]]] = {}
        self._turns = 0
        self.rows = 0

    def __bool__(self) -> bool:
        return bool(self._levels)

    def rows_of(self, batch: Batch) -> int:
        """Recipients that wait of the same sender and priority."""
        senders = self._levels.get(batch.message.priority)
        own = None if senders is None else senders.get(batch.sender)
        return 0 if own is None else sum(len(one.recipients) for one in own)

    def push(self, batch: Batch, *, first: bool = False) -> None:
        """``first``: it was taken before, and comes next."""
        senders = self._levels.setdefault(batch.message.priority, OrderedDict())
        sender = batch.sender
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

    def take(self) -> Batch | None:
        if not self._levels:
            return None
        self._turns += 1
        if len(self._levels) == 1:
            [level] = self._levels
        else:
            level = min(self._levels) if self._turns % EVERY == 0 else max(self._levels)
        senders = self._levels[level]
        sender, own = next(iter(senders.items()))
        batch = own.popleft()
        if own:
            senders.move_to_end(sender)
        else:
            del senders[sender]
            if not senders:
                del self._levels[level]
        self.rows -= len(batch.recipients)
        return batch
