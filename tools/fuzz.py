"""Feed parsers and sessions with octets that nobody thought of, guided by what they make run.

    tools/fuzz.py [--seconds 60] [--target NAME]... [--seed N] [--keep] [--list]

A target is a file of tests/fuzz/targets: ``SEEDS`` and ``WORDS`` (tuples of octets), ``FILES`` (parts of the paths whose lines count
as new ground), and ``run(octets)``, which raises for a bug and for nothing else. tests/fuzz/corpus/<target> holds inputs that
reached something: each run starts with them. Inputs are changed and kept when they reach a new pair of lines. A run fails for an
exception, an input that takes longer than ``SLOW``, and for memory that grows; the input is then in tests/fuzz/found.
"""
# SPDX-License-Identifier: Apache-2.0

import argparse
import gc
import hashlib
import importlib.util
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "fuzz"
SLOW = 2.0
"""Seconds of the processor that one input may take, with its lines being watched: some ten times as slow as usual."""
LARGEST = 8192
MOST_KEPT = 1000
GROWTH = 64 * 2**20
"""Octets by which the process may grow after its first tenth: what is kept of the corpus is less than a tenth of that."""


class Stuck(Exception):
    """An input took longer than ``SLOW``."""


class Coverage:
    """Pairs of lines that followed each other in the files that matter."""

    def __init__(self, files: tuple[str, ...]) -> None:
        self._files = files
        self._matters: dict[str, bool] = {}
        self.known: set[tuple[int, int, int]] = set()
        self._seen: set[tuple[int, int, int]] = set()
        self._last = 0

    def run(self, function: Callable[[bytes], None], octets: bytes) -> int:
        """Run, and return how many pairs were new."""
        self._seen.clear()
        self._last = 0
        sys.settrace(self._enter)
        try:
            function(octets)
        finally:
            sys.settrace(None)
        new = self._seen - self.known
        self.known |= new
        return len(new)

    def _enter(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        name = frame.f_code.co_filename
        matters = self._matters.get(name)
        if matters is None:
            matters = self._matters[name] = any(part in name for part in self._files)
        return self._line if matters else None

    def _line(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        line = frame.f_lineno
        self._seen.add((id(frame.f_code), self._last, line))
        self._last = line
        return self._line


def change(chance: random.Random, octets: bytes, others: list[bytes], words: tuple[bytes, ...]) -> bytes:
    """One to six small changes."""
    out = bytearray(octets)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        at = chance.randint(0, len(out))
        span = min(chance.choice((1, 1, 2, 4, 16, 64)), len(out) - at)
        match chance.randrange(8):
            case 0:
                out[at : at + span] = b""
            case 1:
                out[at:at] = bytes(chance.randrange(256) for _ in range(chance.choice((1, 1, 2, 8))))
            case 2 if out:
                out[at % len(out)] = chance.choice(
                    (0, 9, 10, 13, 32, 34, 46, 58, 60, 62, 64, 127, 128, 255, out[at % len(out)] ^ (1 << chance.randrange(8)))
                )
            case 3:
                out[at:at] = out[at : at + span] * chance.choice((1, 2, 10, 100))
            case 4 | 5 if words:
                out[at : at + (span if chance.random() < 0.3 else 0)] = chance.choice(words)
            case 6:
                other = chance.choice(others)
                start = chance.randint(0, len(other))
                out[at:] = other[start:]
            case _:
                word = str(chance.choice((0, 1, -1, 255, 256, 65535, 2**31, 2**63, 10**20, len(out))))
                out[at:at] = word.encode()
        if len(out) > LARGEST:
            del out[LARGEST:]
    return bytes(out)


class Fuzzer:
    """One target. ``kept``: what reached new ground, seeds first."""

    def __init__(self, name: str, module: ModuleType, seed: int) -> None:
        self.name, self._run = name, module.run
        self._words: tuple[bytes, ...] = tuple(module.WORDS)
        self._coverage = Coverage(tuple(module.FILES))
        self._chance = random.Random(seed)
        folder = FOLDER / "corpus" / name
        saved = [path.read_bytes() for path in sorted(folder.glob("*"))] if folder.is_dir() else []
        self.saved = {_digest(octets) for octets in saved}
        self.kept: list[bytes] = list(dict.fromkeys([*module.SEEDS, *saved]))
        self.new: list[bytes] = []
        self.count = 0
        self.slowest = 0.0

    def try_one(self, octets: bytes) -> int:
        signal.setitimer(signal.ITIMER_PROF, SLOW)
        began = time.process_time()
        try:
            return self._coverage.run(self._run, octets)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self.slowest = max(self.slowest, time.process_time() - began)
            self.count += 1

    def work(self, seconds: float) -> bool:
        """Fuzz for so long. False: something was found."""
        began, settled, ground = time.monotonic(), 0, 0
        octets = b""
        try:
            for octets in self.kept:
                self.try_one(octets)
            while (passed := time.monotonic() - began) < seconds:
                if not settled and passed > seconds / 10:
                    settled = _resident()
                parent = self._chance.choice(self.kept[-50:] if self._chance.random() < 0.3 else self.kept)
                octets = change(self._chance, parent, self.kept, self._words)
                if self.try_one(octets) and len(self.kept) < MOST_KEPT:
                    self.kept.append(octets)
                    self.new.append(octets)
        except Exception:  # noqa: BLE001  # whatever it is, it is what is looked for
            self._found(octets)
            return False
        ground = len(self._coverage.known)
        grown = _resident() - settled if settled else 0
        rate = self.count / max(time.monotonic() - began, 0.001)
        print(
            f"{self.name}: {self.count} inputs, {rate:.0f}/s, {ground} line pairs, {len(self.kept)} kept ({len(self.new)} new), "
            f"slowest {self.slowest * 1000:.0f} ms, memory {grown / 2**20:+.1f} MiB",
            flush=True,
        )
        if grown > GROWTH:
            print(f"{self.name}: memory grows", file=sys.stderr)
            return False
        return True

    def keep(self) -> None:
        """Put new inputs into the corpus, the smallest that have its ground."""
        folder = FOLDER / "corpus" / self.name
        folder.mkdir(parents=True, exist_ok=True)
        self._coverage.known.clear()
        for octets in sorted(self.kept, key=len):
            if self.try_one(octets) and _digest(octets) not in self.saved:
                (folder / _digest(octets)).write_bytes(octets)

    def _found(self, octets: bytes) -> None:
        traceback.print_exc()
        folder = FOLDER / "found"
        folder.mkdir(exist_ok=True)
        path = folder / f"{self.name}-{_digest(octets)}"
        path.write_bytes(octets)
        print(f"{self.name}: {octets[:500]!r}\nkept as {path.relative_to(ROOT)}", file=sys.stderr)


def names() -> list[str]:
    return sorted(path.stem for path in (FOLDER / "targets").glob("*.py"))


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"fuzz_{name}", FOLDER / "targets" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _digest(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()[:16]


def _resident() -> int:
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def _stuck(_signal: int, _frame: object) -> None:
    raise Stuck(f"longer than {SLOW} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    parser.add_argument("--target", action="append", help="only these")
    parser.add_argument("--seed", type=int, default=None, help="the same changes again")
    parser.add_argument("--keep", action="store_true", help="put what reached new ground into the corpus")
    parser.add_argument("--list", action="store_true", help="print the names of the targets")
    arguments = parser.parse_args()
    known = names()
    if arguments.list:
        print("\n".join(known))
        return 0
    if unknown := set(arguments.target or ()) - set(known):
        parser.error(f"no target {min(unknown)}: there are {', '.join(known)}")
    chosen = arguments.target or known
    seed = random.randrange(2**32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    signal.signal(signal.SIGPROF, _stuck)
    good = True
    for name in chosen:
        fuzzer = Fuzzer(name, load(name), seed)
        good &= fuzzer.work(arguments.seconds / len(chosen))
        if arguments.keep and good:
            fuzzer.keep()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
