"""Shared numbers and the patience with crashing workers."""
# SPDX-License-Identifier: Apache-2.0

import time

from mta.app.board import Board, Line
from mta.app.family import Member, Patience


def member(number: int = 0, lived: float = 0.0) -> Member:
    return Member(1, number, 1, 0, -1, started=time.monotonic() - lived)


def test_least_connections_counts_only_others_that_accept() -> None:
    board = Board()
    assert board.least_connections(0, 4) is None
    board.write(0, Line(10, 1, 0, 0, 0, 1))
    board.write(1, Line(11, 3, 2, 1, 0, 1))
    board.write(2, Line(12, 0, 0, 0, 0, 0))  # draining
    assert board.least_connections(0, 4) == 6
    assert board.least_connections(1, 4) == 1
    board.clear(1)
    assert board.least_connections(0, 4) is None
    assert board.read(0).connections == 1


def test_slots_are_used_again() -> None:
    board = Board()
    assert board.free_slot({0, 1, 3}) == 2


def test_the_first_crash_costs_nothing_the_next_ones_more() -> None:
    patience = Patience()
    pauses = [patience.after(member(), 70) for _ in range(12)]
    assert pauses[0] == 0.0
    assert pauses[1:4] == [0.4, 0.8, 1.6]
    assert pauses[-1] == 2.0
    assert patience.after(member(1), 70) == 0.0, "each worker for itself"
    assert patience.after(member(lived=60), 70) == 0.0
    assert patience.after(member(), 70) == 0.0, "a long life is forgiven"


def test_a_dead_disk_is_left_alone_for_a_moment() -> None:
    assert Patience().after(member(), 74) == 1.0


def test_a_disk_that_stays_dead_is_asked_ever_more_seldom() -> None:
    patience = Patience()
    assert [patience.after(member(), 74) for _ in range(12)][-1] == 30.0
