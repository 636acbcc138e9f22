"""Results on their way into the queue: together, alone when one cannot be written, again when the database is away."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

from mta.dispatch import settle as module
from mta.dispatch.conclude import Settlement
from mta.dispatch.settle import Settler
from mta.model.address import Address
from mta.model.delivery import Leased, Outcome, QueuedMessage
from mta.model.errors import NoSuchUser, OverQuota, StorageDead, TemporaryFailure
from mta.model.ids import BlobId, QueueId, UserId
from mta.model.message import LocalDelivery
from mta.testing.plugins import RecordingLog

MESSAGE = QueuedMessage(QueueId("q"), "smtp", None, BlobId(1), 1, 0, 0.0, None, None, False, False, "", "")


def outcome(row, result="relayed", delivery=None):
    leased = Leased(row, MESSAGE, Address("x", "y.test"), "remote", "y.test", None, None, frozenset(), 0, 0.0, "", False)
    return Outcome(leased, result, delivery=delivery)


class Queue:
    def __init__(self, fail=lambda outcomes, submissions: None):
        self.batches = []
        self.fail = fail
        self.gate = None

    async def settle(self, outcomes, submissions=()):
        if self.gate is not None:
            await self.gate.wait()
        if (failure := self.fail(outcomes, submissions)) is not None:
            raise failure
        self.batches.append(([(o.leased.row, o.result) for o in outcomes], list(submissions)))


class Concluder:
    async def conclude(self, message, findings):
        return Settlement(tuple(outcome(f.leased.row, "failed") for f in findings))


def run(queue, settlements, until):
    async def main():
        gone = []
        log = RecordingLog()
        settler = Settler(queue, Concluder(), log, lambda leased: gone.append(leased.row))
        task = asyncio.ensure_future(settler.run())
        for one in settlements:
            settler.add(one)
        async with asyncio.timeout(5):
            while not until(gone) and not task.done():
                await asyncio.sleep(0)
        assert task.done() or settler.empty or not gone
        if task.done():
            await task
        task.cancel()
        return gone, log

    return asyncio.run(main())


def test_what_waits_is_written_together():
    queue = Queue()
    gone, _ = run(queue, [Settlement((outcome(n),)) for n in range(5)], lambda gone: len(gone) == 5)
    assert len(queue.batches) == 1
    assert gone == [0, 1, 2, 3, 4]


def _written_while(in_hand, numbers):
    """The transactions that results of ``numbers`` were written in, when a turn of the loop lies between two of them."""

    async def main():
        queue, hand = Queue(), set(in_hand)
        settler = Settler(queue, Concluder(), RecordingLog(), lambda leased: hand.discard(leased.row), in_hand=lambda: len(hand))
        task = asyncio.ensure_future(settler.run())
        for number in numbers:
            settler.add(Settlement((outcome(number),)))
            for _ in range(5):
                await asyncio.sleep(0)
        async with asyncio.timeout(5):
            while hand & set(numbers):
                await asyncio.sleep(0)
        task.cancel()
        return [[row for row, _ in rows] for rows, _ in queue.batches]

    return asyncio.run(main())


def test_results_wait_a_moment_for_those_under_way(monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.05)
    assert _written_while(range(10), range(4)) == [[0, 1, 2, 3]]


def test_nothing_waits_when_no_more_can_come(monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 60.0)
    assert _written_while(range(4), range(4)) == [[0, 1, 2, 3]]
    assert _written_while([7], [7]) == [[7]]


def test_one_transaction_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "MAX_BATCH", 3)
    queue = Queue()
    run(queue, [Settlement((outcome(n), outcome(n + 100))) for n in range(4)], lambda gone: len(gone) == 8)
    assert [len(rows) for rows, _ in queue.batches] == [4, 4]


def test_database_that_is_away_is_waited_for(monkeypatch):
    monkeypatch.setattr(module, "_RETRY", 0.001)
    failures = [TemporaryFailure("away")] * 3
    queue = Queue(lambda *_: failures.pop() if failures else None)
    gone, log = run(queue, [Settlement((outcome(1),))], lambda gone: gone)
    assert gone == [1]
    assert len(log.named("queue.settle_waits")) == 3


def test_full_mailbox_fails_its_recipient_alone():
    full = LocalDelivery(UserId(9), Address("full", "here.test"))

    def fail(outcomes, submissions):
        return OverQuota("full") if any(o.delivery == full for o in outcomes) else None

    queue = Queue(fail)
    work = [Settlement((outcome(1),)), Settlement((outcome(2, "delivered", full), outcome(3))), Settlement((outcome(4),))]
    gone, _ = run(queue, work, lambda gone: len(gone) == 4)
    assert sorted(row for rows, _ in queue.batches for row in rows) == [
        (1, "relayed"),
        (2, "failed"),
        (3, "relayed"),
        (4, "relayed"),
    ]
    assert sorted(gone) == [1, 2, 3, 4]


def test_report_that_nobody_can_take_is_dropped_and_its_cause_written():
    class Report:
        id = "dsn-1"

    queue = Queue(lambda outcomes, submissions: NoSuchUser("gone") if submissions else None)
    _, log = run(queue, [Settlement((outcome(1, "failed"),), (Report(),))], lambda gone: gone)
    assert queue.batches == [([(1, "failed")], [])]
    assert len(log.named("dsn.undeliverable")) == 1


def test_a_bug_costs_one_settlement_not_the_queue():
    queue = Queue(lambda outcomes, _: ValueError("bug") if any(o.leased.row == 2 for o in outcomes) else None)
    _, log = run(queue, [Settlement((outcome(n),)) for n in range(4)], lambda gone: len(gone) == 4)
    assert sorted(row for rows, _ in queue.batches for row, _ in rows) == [0, 1, 3]
    assert log.named("queue.settle_failed")


def test_a_dead_disk_ends_it():
    with pytest.raises(StorageDead):
        run(Queue(lambda *_: StorageDead("EIO")), [Settlement((outcome(1),))], lambda gone: gone)
