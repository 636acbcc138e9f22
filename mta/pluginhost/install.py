"""Installing, removing and rebuilding third-party distributions: resolve, fetch, build the next generation, switch.

Nothing is in force before ``Change.commit``: until then a change is a folder that nobody imports from. The pins of the lock
hold unless a change names what may move, so that installing one plugin upgrades no other.
"""
# SPDX-License-Identifier: Apache-2.0

import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mta.model.errors import ConfigError, MailError
from mta.pluginhost.environment import Environment, server_distributions
from mta.pluginhost.lock import Locked, canonical, locked_of, sha256_of
from mta.pluginhost.pip import Pip, PipFailed, Resolved, Sources

_NAME = re.compile(r"\s*([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\]\s*)?(?:$|[<>=!~;@ ])")

_PLACE = re.compile(r"\s*(?:[\w+.-]+:|[./~])")


class NotInstalled(MailError):
    """There is no such distribution in the environment."""


@dataclass(frozen=True, slots=True)
class Change:
    """The next generation, ready but not in force. ``conflicts``: what its distributions miss beside this server."""

    environment: Environment
    generation: Path
    locked: tuple[Locked, ...]
    requirements: tuple[str, ...]
    before: tuple[Locked, ...]
    conflicts: tuple[str, ...]

    def commit(self) -> None:
        self.environment.put_in_place(self.generation, self.locked, self.requirements)

    def drop(self) -> None:
        shutil.rmtree(self.generation, ignore_errors=True)

    def differences(self) -> list[str]:
        """``+ name 1.0``, ``- name 1.0``, ``name 1.0 -> 1.1``."""
        old, new = ({e.name: e.version for e in entries} for entries in (self.before, self.locked))
        moved = [f"{n} {old[n]} -> {new[n]}" for n in sorted(old.keys() & new.keys()) if old[n] != new[n]]
        return [f"+ {n} {new[n]}" for n in sorted(new.keys() - old.keys())] + moved + [
            f"- {n} {old[n]}" for n in sorted(old.keys() - new.keys())
        ]  # fmt: skip


def name_of(requirement: str) -> str:
    """Canonical name of "mta-greylist[geo]>=1" or "x @ https://…"; "" for a path or a URL."""
    file = requirement.endswith((".whl", ".tar.gz", ".zip")) and " @ " not in requirement
    found = None if file or _PLACE.match(requirement) else _NAME.match(requirement)
    return canonical(found[1]) if found else ""


class Installer:
    """Work on one environment, inside ``environment.changing()``."""

    def __init__(self, environment: Environment, pip: Pip, sources: Sources) -> None:
        self._environment = environment
        self._pip = pip
        self._sources = sources

    def install(self, wanted: Sequence[str], *, upgrade: bool = False) -> Change:
        """Add or change what these requirements name; ``upgrade``: the newest versions of them, or of all when none is named.

        Raises PipFailed, ConfigError.
        """
        old = self._environment.requirements()
        kept = {name_of(line): line for line in old}
        named = {name_of(line): line for line in wanted if name_of(line)}
        moving = {n for n, line in named.items() if upgrade or kept.get(n) != line}
        pins = [] if upgrade and not wanted else self._pins(without=moving, tops=kept.keys() if upgrade else None)
        paths = [line for line in wanted if not name_of(line)]
        return self._resolve({**kept, **named}, paths, pins)

    def uninstall(self, names: Iterable[str]) -> Change:
        """Remove distributions, and what only they needed. Raises NotInstalled, PipFailed, ConfigError."""
        kept = {name_of(line): line for line in self._environment.requirements()}
        for name in names:
            if kept.pop(canonical(name), None) is None:
                listed = ", ".join(sorted(kept)) or "nothing"
                raise NotInstalled(f"{name} was not asked for; installed by request: {listed}")
        return self._resolve(kept, [], self._pins())

    def sync(self) -> Change:
        """Build again exactly what the lock says, fetching what ``wheels/`` lacks. Raises PipFailed, ConfigError."""
        locked = self._environment.lock()
        missing = [e for e in locked if not self._has(e)]
        if missing:
            wanted = [Resolved(e.name, e.version, "", e.sha256, direct=False, asked=False) for e in missing]
            self._fetch(wanted, self._sources)  # not from wheels/: what is there under that name is another file
        return self._build(locked, self._environment.requirements())

    def relock(self) -> Change:
        """Find files for this Python and server again, at the locked versions where that goes. Raises PipFailed."""
        kept = {name_of(line): line for line in self._environment.requirements()}
        try:
            return self._resolve(kept, [], self._pins())
        except (PipFailed, ConfigError):
            return self._resolve(kept, [], [])

    def _has(self, entry: Locked) -> bool:
        wheel = self._environment.wheels / entry.wheel
        return wheel.is_file() and sha256_of(wheel) == entry.sha256

    def _pins(self, without: Iterable[str] = (), tops: Iterable[str] | None = None) -> list[str]:
        """``tops``: only these are held."""
        free = set(without)
        held = None if tops is None else set(tops)
        return [
            f"{e.name}=={e.version}" for e in self._environment.lock() if e.name not in free and (held is None or e.name in held)
        ]

    def _resolve(self, kept: dict[str, str], paths: Sequence[str], pins: Sequence[str]) -> Change:
        asked = [*kept.values(), *paths]
        resolved = self._pip.resolve(asked, [*_server_pins(), *pins], self._with_wheels()) if asked else []
        requirements = dict(kept)
        for found in resolved:
            if found.direct and found.asked:  # a path may be gone when the next change resolves; its wheel is not
                requirements[found.name] = f"{found.name}=={found.version}  # {found.url}"
        locked = [locked_of(wheel) for wheel in self._fetch(resolved, self._with_wheels())] if resolved else []
        return self._build(locked, list(requirements.values()))

    def _with_wheels(self) -> Sources:
        given = self._sources
        places = (*given.find_links, str(self._environment.wheels))
        return Sources(places, given.no_index, given.index_url, given.extra_index_url, given.build, given.no_build_isolation)

    def _fetch(self, resolved: Sequence[Resolved], sources: Sources) -> list[Path]:
        """Into ``wheels/``, by way of a folder of its own: what is half there is not there."""
        with tempfile.TemporaryDirectory(dir=self._environment.folder, prefix=".wheels-") as folder:
            found = self._pip.fetch(resolved, Path(folder), sources)
            have, wanted = {locked_of(w).name for w in found}, {r.name for r in resolved}
            if have != wanted:
                raise PipFailed(f"pip brought {', '.join(sorted(have)) or 'nothing'}, not {', '.join(sorted(wanted))}")
            return [wheel.replace(self._environment.wheels / wheel.name) for wheel in found]

    def _build(self, locked: Sequence[Locked], requirements: Sequence[str]) -> Change:
        try:
            before = tuple(self._environment.lock())
        except ConfigError:  # it is about to be written anew
            before = ()
        generation = self._environment.new_generation()
        try:
            self._pip.install(locked, self._environment.wheels, generation)
            names = {e.name for e in locked}
            conflicts = (
                [line for line in self._pip.conflicts(generation) if canonical(line.split(" ")[0]) in names] if locked else []
            )
        except BaseException:
            shutil.rmtree(generation, ignore_errors=True)
            raise
        return Change(self._environment, generation, tuple(locked), tuple(requirements), before, tuple(conflicts))


def _server_pins() -> list[str]:
    return [f"{d.name}=={d.version}" for d in server_distributions() if d.version]
