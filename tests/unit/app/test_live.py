"""Snapshots in shared memory, and how they are added up."""
# SPDX-License-Identifier: Apache-2.0

import random
import threading
from dataclasses import replace

from mta.app.board import Board, Line
from mta.app.live import ROOM, STALE, Live, Overview, Snapshot, merge_metrics, merge_plugins
from mta.pluginhost.health import HookHealth, PluginHealth
from mta_hooks.metrics import Histogram, Metric


def hook(name="smtp_mail", calls=1, errors=0, at=0.0):
    return HookHealth(name, calls, errors, 0.5, 0, f"error at {at}" if at else "", at, "defer", 10.0)


def plugin(state="ok", *hooks, name="demo"):
    return PluginHealth(name, "package", state, "" if state == "ok" else f"is {state}", hooks=hooks)


def test_what_was_written_is_read():
    live = Live(2)
    snapshot = Snapshot(0, 42, 1.5, (Metric("a_total", 3, labels={"x": "y"}),), (plugin("ok", hook()),))
    assert live.read(0) is None
    assert live.write(0, snapshot)
    assert live.read(0) == snapshot
    assert live.read(1) is None


def test_same_name_and_labels_add_up_and_others_do_not():
    one, other = Histogram((1, 10)), Histogram((1, 10))
    for value in (0.5, 5, 50):
        one.observe(value)
    other.observe(5)
    merged = merge_metrics(
        [
            [Metric("a_total", 1, labels={"p": "x"}), one.metric("h")],
            [Metric("a_total", 2, labels={"p": "x"}), Metric("a_total", 5, labels={"p": "y"}), other.metric("h")],
        ]
    )
    assert [(m.name, m.labels, m.value) for m in merged if m.name == "a_total"] == [
        ("a_total", {"p": "x"}, 3),
        ("a_total", {"p": "y"}, 5),
    ]
    histogram = merged[-1]
    assert (histogram.buckets, histogram.count, histogram.value) == (((1, 1), (10, 3)), 4, 60.5)


def test_the_worst_state_and_the_latest_error_stand():
    merged = merge_plugins(
        [[plugin("ok", hook(errors=1, at=5.0))], [plugin("suspended", hook(errors=2, at=9.0), hook("job x"))], [plugin("degraded")]]
    )
    assert len(merged) == 1
    assert (merged[0].state, merged[0].reason) == ("suspended", "is suspended")
    first = merged[0].hooks[0]
    assert (first.calls, first.errors, first.seconds, first.last_error) == (2, 3, 1.0, "error at 9.0")
    assert [h.hook for h in merged[0].hooks] == ["smtp_mail", "job x"]


def test_counters_of_the_dead_stay_and_gauges_go():
    live, board = Live(3), Board()
    for slot in (0, 1):
        board.write(slot, Line(100 + slot, 0, 0, 0, 0, 1))
        found = (Metric("a_total", 10), Metric("g", 7, "gauge"))
        live.write(slot, Snapshot(slot, 100 + slot, 1.0, found, (plugin("suspended", hook(errors=1)),)))
    overview = Overview(board, live, 3, 2)
    live.bury(0)
    board.clear(0)
    live.bury(0)  # nobody there any more
    live.restarted()
    values = {m.name: m.value for m in overview.metrics()}
    assert values["a_total"] == 20
    assert values["g"] == 7
    assert values["mta_workers"] == 1
    assert values["mta_worker_restarts_total"] == 1
    assert [(p.state, p.hooks[0].errors) for p in overview.plugins()] == [("suspended", 2)]
    live.bury(1)
    assert {m.name: m.value for m in overview.metrics()}["a_total"] == 20
    assert overview.plugins() == []


def test_too_much_is_written_without_what_plugins_say():
    live = Live(1)
    own = Metric("mta_worker_restarts_total", 1)
    theirs = tuple(Metric(f"mta_x_{n}_total", n, labels={"address": "x" * 200}) for n in range(ROOM // 200))
    assert not live.write(0, Snapshot(0, 1, 1.0, (own, *theirs)))
    assert live.read(0).metrics == (own,)


def test_a_snapshot_read_while_it_is_written_is_old_or_new_never_both():
    live = Live(1)
    snapshots = [Snapshot(0, 1, float(n), tuple(Metric("a_total", n) for _ in range(n))) for n in range(1, 60)]
    stop = threading.Event()

    def write():
        while not stop.is_set():
            live.write(0, random.choice(snapshots))

    live.write(0, snapshots[0])
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(2000):
            found = live.read(0)
            assert found is None or {m.value for m in found.metrics} == {found.at}
    finally:
        stop.set()
        writer.join()


def test_readiness_wants_all_workers_and_hears_them(monkeypatch):
    live, board = Live(2), Board()
    monkeypatch.setattr("mta.app.live.time.time", lambda: 1000.0)
    board.write(0, Line(1, 0, 0, 0, 0, 1))
    live.write(0, Snapshot(0, 1, 1000.0))
    overview = Overview(board, live, 2, 2)
    assert overview.problems() == ["1 of 2 workers serve"]
    board.write(1, Line(2, 0, 0, 0, 0, 1))
    live.write(1, Snapshot(1, 2, 1000.0))
    assert overview.problems() == []
    live.write(1, replace(Snapshot(1, 2, 1000.0), at=1000.0 - STALE - 1))
    assert overview.problems() == ["worker 1 has not been heard for 11 s"]
