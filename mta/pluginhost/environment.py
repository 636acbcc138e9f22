"""The plugin environment: where third-party packages live in data_dir, and how they get on ``sys.path``.

    data_dir/plugins/requirements.txt   what the operator asked for
    data_dir/plugins/lock.txt           what came of it: exact versions, each with its sha256
    data_dir/plugins/wheels/            the files themselves, so that a rebuild needs no network
    data_dir/plugins/site               link to the generation in use, ``site-000003/``, made by ``pip install --target``

A process goes on with the generation it began with: the link is followed once, when plugins are loaded. The folder stands last on
``sys.path``: nothing in it hides a package of the server. Whoever can write there runs code as us, so a folder that
somebody else owns or can write is left out. Leaves out: ``.pth`` files, which would run code in processes that load no plugin.
"""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import fcntl
import importlib
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from mta import __version__
from mta.config.safe import asked_for_safe_mode
from mta.model.errors import TemporaryFailure
from mta.pluginhost.lock import Locked, canonical, lock_text, read_lock

KEPT = 3
"""Generations kept: workers that have not been reloaded still import from theirs."""
_GENERATION = re.compile(r"site-([0-9]{6})\Z")
_BUILT = ".mta-built.json"


@dataclass(frozen=True, slots=True)
class Built:
    """For which Python and server a generation was built; "" when its stamp cannot be read."""

    python: str = ""
    mta: str = ""

    @classmethod
    def here(cls) -> "Built":
        return cls(f"{sys.implementation.cache_tag}-{os.uname().machine}", __version__)


class Environment:
    """The folder ``data_dir/plugins``."""

    def __init__(self, data_dir: str | Path) -> None:
        self.folder = Path(data_dir) / "plugins"
        self.site = self.folder / "site"
        self.wheels = self.folder / "wheels"
        self.lock_file = self.folder / "lock.txt"
        self.requirements_file = self.folder / "requirements.txt"

    # ---- what is there

    def current(self) -> Path | None:
        """The generation in use."""
        try:
            target = self.folder / os.readlink(self.site)
        except OSError:
            return None
        return target if target.is_dir() else None

    def lock(self) -> list[Locked]:
        """Raises ConfigError."""
        return read_lock(self.lock_file)

    def requirements(self) -> list[str]:
        """As given, without comments."""
        try:
            lines = self.requirements_file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [text for line in lines if (text := line.partition(" #")[0].strip()) and not text.startswith("#")]

    def built(self, generation: Path) -> Built:
        try:
            return Built(**json.loads((generation / _BUILT).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return Built()

    def distrust(self, *also: int) -> str:
        """Why code in here must not be run by this process; "" when it may. ``also``: uids trusted beside root and ourselves."""
        trusted = {0, os.geteuid(), *also}
        for path in (self.folder, self.current()):
            try:
                found = os.lstat(path) if path else None
            except FileNotFoundError:
                return ""
            if found is None:
                return ""
            if not stat.S_ISDIR(found.st_mode):
                return f"{path} is not a folder"
            if found.st_uid not in trusted:
                return f"{path} belongs to uid {found.st_uid}; run: chown -R {os.geteuid()} {self.folder}"
            if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return f"group or world can write {path}; run: chmod go-w {path}"
        return ""

    # ---- changing it

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """One change at a time. Raises TemporaryFailure when another runs, OSError when the folder cannot be made."""
        mask = os.umask(0o022)  # the server's account reads what root installs
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o755)
            self.wheels.mkdir(exist_ok=True, mode=0o755)
            held = os.open(self.folder / ".changing", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield
            except BlockingIOError:
                raise TemporaryFailure(f"{self.folder}: another mta plugins command is at work; try again later") from None
            finally:
                os.close(held)
        finally:
            os.umask(mask)

    def new_generation(self) -> Path:
        """An empty folder for the next one."""
        numbers = [int(m[1]) for entry in self.folder.iterdir() if (m := _GENERATION.match(entry.name))]
        path = self.folder / f"site-{max(numbers, default=0) + 1:06d}"
        path.mkdir(mode=0o755)
        return path

    def put_in_place(self, generation: Path, locked: Sequence[Locked], requirements: Sequence[str]) -> None:
        """Record, then switch the link; what is older than KEPT goes. A crash in between is mended by ``mta plugins sync``."""
        (generation / _BUILT).write_text(json.dumps({"python": Built.here().python, "mta": __version__}), encoding="utf-8")
        head = "# What was asked for; written by mta plugins install, uninstall and sync.\n"
        replace(self.requirements_file, head + "".join(f"{line}\n" for line in requirements))
        replace(self.lock_file, lock_text(locked))
        link = self.folder / ".site"
        link.unlink(missing_ok=True)
        link.symlink_to(generation.name)
        os.replace(link, self.site)
        wanted = {entry.wheel for entry in locked}
        for wheel in self.wheels.iterdir():
            if wheel.name not in wanted:
                wheel.unlink()
        generations = sorted(entry for entry in self.folder.iterdir() if _GENERATION.match(entry.name))
        for old in generations[:-KEPT]:
            if old != generation:
                shutil.rmtree(old, ignore_errors=True)


def replace(path: Path, text: str) -> None:
    """Write the whole file or leave the old one; on disk when it returns."""
    draft = path.with_name(f".{path.name}.new")
    with draft.open("w", encoding="utf-8", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(draft, path)


def installed_in(generation: Path | None) -> dict[str, Distribution]:
    """Distributions of one generation, by canonical name."""
    return {} if generation is None else {canonical(d.name): d for d in distributions(path=[str(generation)])}


# ---- sys.path is the process's, and so is this state: the command line names the folder before the supervisor forks; each worker
# enters it when it loads plugins, after it gave up root, so that the supervisor never has it on its path.

_named: Environment | None = None
_entered = ""


def use(data_dir: str | Path) -> Environment:
    """Name the environment that ``enter`` enters."""
    global _named  # noqa: PLW0603  # see above
    _named = Environment(data_dir)
    return _named


def enter() -> str:
    """Put the named environment's generation last on ``sys.path``, in the place of one entered before. Returns why not, or ""."""
    named = None if asked_for_safe_mode() else _named
    problem = named.distrust() if named is not None else ""
    generation = None if named is None or problem else named.current()
    enter_generation(generation)
    return problem


def enter_generation(generation: Path | None) -> None:
    """None: leave."""
    global _entered  # noqa: PLW0603  # see above
    path = "" if generation is None else str(generation.resolve())
    if path == _entered:
        return
    if _entered in sys.path:
        sys.path.remove(_entered)
    if path:
        sys.path.append(path)
    _entered = path
    importlib.invalidate_caches()


def server_distributions() -> list[Distribution]:
    """What stands on ``sys.path`` without the plugin environment."""
    seen: dict[str, Distribution] = {}
    for found in distributions(path=[p for p in sys.path if p != _entered]):
        if found.name:
            seen.setdefault(canonical(found.name), found)
    return list(seen.values())
