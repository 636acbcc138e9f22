"""The live numbers of all workers: what each counts, and how its plugins fare. Shared memory, one place for each worker.

A worker writes a snapshot once a second; whoever wants the numbers (the supervisor for ``mta status`` and ``mta plugins``,
any worker for ``ctx.metrics``) reads all of them and asks nobody, so a worker that hangs is still seen as it last was. What a
worker that ended had counted goes to the last place: counters never fall while the server runs.
"""
# SPDX-License-Identifier: Apache-2.0

import mmap
import struct
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from mta import __version__
from mta.app.board import SLOTS, Board
from mta.obs import metrics
from mta.pluginhost.health import HookHealth, PluginHealth
from mta_hooks.metrics import Metric

ROOM = 256 * 1024
"""Octets of one snapshot. Memory that is never written costs nothing."""
STALE = 10.0
"""Seconds after which a worker that wrote nothing hangs."""

_HEAD = struct.Struct("II")  # length, checksum: a snapshot read while it is written does not fit its checksum
_TRIES = 5
_WORST = ("ok", "degraded", "suspended", "failed")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One worker at one moment. ``at``: wall clock, seconds."""

    worker: int
    pid: int
    at: float
    metrics: tuple[Metric, ...] = ()
    plugins: tuple[PluginHealth, ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Snapshot).decode


class Live:
    """Made before the fork. Each place has one writer: its worker, and the supervisor when that has ended."""

    def __init__(self, slots: int = SLOTS) -> None:
        self._ended = slots
        self._memory = mmap.mmap(-1, (slots + 1) * ROOM)

    def write(self, slot: int, snapshot: Snapshot) -> bool:
        """False: it was too large, and was written without what plugins say of themselves."""
        octets = _encode(snapshot)
        fits = len(octets) <= ROOM - _HEAD.size
        if not fits:
            own = tuple(m for m in snapshot.metrics if m.name in metrics.DECLARED)
            octets = _encode(replace(snapshot, metrics=own, plugins=()))
        begin = slot * ROOM
        self._memory[begin + _HEAD.size : begin + _HEAD.size + len(octets)] = octets
        _HEAD.pack_into(self._memory, begin, len(octets), zlib.crc32(octets))
        return fits

    def read(self, slot: int) -> Snapshot | None:
        """None: nobody is there."""
        begin = slot * ROOM
        for _ in range(_TRIES):
            length, checksum = _HEAD.unpack_from(self._memory, begin)
            if length == 0:
                return None
            octets = self._memory[begin + _HEAD.size : begin + _HEAD.size + length]
            if zlib.crc32(octets) == checksum:
                return _decode(octets)
        return None

    def bury(self, slot: int) -> None:
        """The worker has ended: keep what it had counted, free its place."""
        last = self.read(slot)
        _HEAD.pack_into(self._memory, slot * ROOM, 0, 0)
        if last is not None:
            before = self.ended()
            counted = merge_metrics([before.metrics, [m for m in last.metrics if m.kind != "gauge"]])
            plugins = merge_plugins([before.plugins, [replace(p, state="ok", reason="") for p in last.plugins if p.hooks]])
            self.write(self._ended, Snapshot(-1, 0, last.at, tuple(counted), tuple(plugins)))

    def restarted(self) -> None:
        """A worker that ended unasked is started again."""
        before = self.ended()
        counted = merge_metrics([before.metrics, [metrics.sample(metrics.RESTARTS, 1)]])
        self.write(self._ended, replace(before, metrics=tuple(counted)))

    def ended(self) -> Snapshot:
        """What workers that have ended had counted."""
        return self.read(self._ended) or Snapshot(-1, 0, 0.0)


def merge_metrics(several: Iterable[Iterable[Metric]]) -> list[Metric]:
    """Add up what has the same name and labels, sorted by name."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], Metric] = {}
    for each in several:
        for metric in each:
            key = (metric.name, tuple(sorted(metric.labels.items())))
            known = found.get(key)
            found[key] = metric if known is None else _added(known, metric)
    return [found[key] for key in sorted(found)]


def _added(one: Metric, other: Metric) -> Metric:
    buckets = one.buckets
    if [bound for bound, _ in buckets] == [bound for bound, _ in other.buckets]:
        buckets = tuple((bound, a + b) for (bound, a), (_, b) in zip(buckets, other.buckets, strict=True))
    return replace(one, value=one.value + other.value, buckets=buckets, count=one.count + other.count)


def merge_plugins(several: Iterable[Sequence[PluginHealth]]) -> list[PluginHealth]:
    """One for each name, in the order in which they first come: the worst state, the sums of the calls."""
    found: dict[str, PluginHealth] = {}
    for each in several:
        for plugin in each:
            known = found.get(plugin.name)
            found[plugin.name] = plugin if known is None else _joined(known, plugin)
    return list(found.values())


def _joined(one: PluginHealth, other: PluginHealth) -> PluginHealth:
    worst = max(one, other, key=lambda p: _WORST.index(p.state))
    hooks = {hook.hook: hook for hook in one.hooks}
    for hook in other.hooks:
        known = hooks.get(hook.hook)
        hooks[hook.hook] = hook if known is None else _summed(known, hook)
    return replace(one, state=worst.state, reason=worst.reason, hooks=tuple(hooks.values()))


def _summed(one: HookHealth, other: HookHealth) -> HookHealth:
    last = max(one, other, key=lambda h: h.last_error_at)
    return replace(
        one,
        calls=one.calls + other.calls,
        errors=one.errors + other.errors,
        seconds=one.seconds + other.seconds,
        blocked=one.blocked + other.blocked,
        last_error=last.last_error,
        last_error_at=last.last_error_at,
    )


def measure(worker: int, pid: int, plugins: Sequence[PluginHealth], further: Sequence[Metric]) -> Snapshot:
    """The state of our worker now; ``further``: what its plugins count themselves."""
    found = metrics.collect()
    for plugin in plugins:
        for hook in plugin.hooks:
            if hook.calls or hook.errors:
                labels = (plugin.name, hook.hook)
                found.append(metrics.sample(metrics.HOOK_CALLS, hook.calls, *labels))
                found.append(metrics.sample(metrics.HOOK_ERRORS, hook.errors, *labels))
                found.append(metrics.sample(metrics.HOOK_SECONDS, hook.seconds, *labels))
        found.append(metrics.sample(metrics.SUSPENDED, float(plugin.state == "suspended"), plugin.name))
    found += [metric for metric in further if metric.name not in metrics.DECLARED]
    return Snapshot(worker, pid, time.time(), tuple(found), tuple(plugins))


class Overview:
    """All workers of one server, as seen from any of its processes. ``wanted``: how many there are to be."""

    def __init__(self, board: Board, live: Live, slots: int, wanted: int) -> None:
        self._board, self._live, self._slots, self._wanted = board, live, slots, wanted

    def snapshots(self) -> list[Snapshot]:
        return [found for slot in range(self._slots) if (found := self._live.read(slot)) is not None]

    def metrics(self) -> list[Metric]:
        """Of all workers together."""
        lines = [self._board.read(slot) for slot in range(self._slots)]
        own = [
            metrics.sample(metrics.WORKERS, sum(bool(line.pid and line.accepting) for line in lines)),
            metrics.sample(metrics.INFO, 1, __version__),
        ]
        return merge_metrics([own, self._live.ended().metrics, *(s.metrics for s in self.snapshots())])

    def plugins(self) -> list[PluginHealth]:
        """Those that run now, with what they did in workers that have ended."""
        now = merge_plugins([s.plugins for s in self.snapshots()])
        names = {p.name for p in now}
        return merge_plugins([now, [p for p in self._live.ended().plugins if p.name in names]])

    def problems(self) -> list[str]:
        """Why the server is not ready; none when every worker serves and lives."""
        lines = [(slot, self._board.read(slot)) for slot in range(self._slots)]
        serving = [slot for slot, line in lines if line.pid and line.accepting]
        found = [] if len(serving) >= self._wanted else [f"{len(serving)} of {self._wanted} workers serve"]
        now = time.time()
        for slot in serving:
            last = self._live.read(slot)
            if last is not None and now - last.at > STALE:
                found.append(f"worker {last.worker} has not been heard for {now - last.at:.0f} s")
        return found

    def describe(self) -> dict[str, Any]:
        """For the control socket, as JSON."""
        return {
            "ok": True,
            "problems": self.problems(),
            "workers": [{"worker": s.worker, "pid": s.pid, "at": s.at} for s in self.snapshots()],
            "plugins": msgspec.to_builtins(self.plugins()),
            "metrics": msgspec.to_builtins(self.metrics()),
        }
