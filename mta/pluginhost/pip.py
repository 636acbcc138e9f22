"""pip as a program: which one, and the four things that it is asked.

The server's own packages are never touched: pip resolves with them installed and pinned (``--constraint``), and installs what
is missing with ``--target``. Runs in a process of its own; its settings (index, proxy, certificates) apply, those that move
the target do not. Leaves out: uv and other installers.
"""
# SPDX-License-Identifier: Apache-2.0

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mta.model.errors import MailError
from mta.pluginhost.lock import Locked, canonical

_SCRUBBED = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_CONSTRAINT", "PIP_NO_DEPS")


class PipFailed(MailError):
    """What pip said, for the operator. ``mta`` exits with 69."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where pip looks, as given on the command line; empty: as pip is configured.

    build  source distributions may be built, which runs their code
    """

    find_links: tuple[str, ...] = ()
    no_index: bool = False
    index_url: str = ""
    extra_index_url: tuple[str, ...] = ()
    build: bool = False
    no_build_isolation: bool = False

    def words(self) -> list[str]:
        words = [w for place in self.find_links for w in ("--find-links", place)]
        words += [w for url in self.extra_index_url for w in ("--extra-index-url", url)]
        if self.no_index:
            words.append("--no-index")
        if self.index_url:
            words += ["--index-url", self.index_url]
        if self.no_build_isolation:
            words.append("--no-build-isolation")
        return words if self.build else [*words, "--only-binary", ":all:"]


@dataclass(frozen=True, slots=True)
class Resolved:
    """One distribution that must be added. ``sha256`` is "" where there is no archive (a folder, a repository)."""

    name: str
    version: str
    url: str
    sha256: str
    direct: bool
    asked: bool


@dataclass(slots=True)
class Pip:
    """``words`` start it; ``text`` names it with version and place."""

    words: list[str]
    text: str
    env: dict[str, str] = field(default_factory=dict)

    @classmethod
    def find(cls) -> "Pip":
        """Take this interpreter's own pip, else the one that Python carries for venv, else one on PATH. Raises PipFailed."""
        if found := importlib.util.find_spec("pip"):
            return cls([sys.executable, "-m", "pip"], f"pip {version('pip')} of {Path(str(found.origin)).parent}")
        tried: list[tuple[list[str], dict[str, str]]] = []
        if carried := importlib.util.find_spec("ensurepip"):
            wheels = sorted(Path(str(carried.origin)).parent.glob("_bundled/pip-*.whl"))
            tried += [([sys.executable, "-m", "pip"], {"PYTHONPATH": str(wheel)}) for wheel in wheels[-1:]]
        if elsewhere := shutil.which("pip") or shutil.which("pip3"):
            tried.append(([elsewhere, "--python", sys.executable], {}))
        for words, env in tried:
            pip = cls(words, "", env)
            try:
                pip.text = pip.run("--version").strip()
            except (PipFailed, OSError):
                continue
            return pip
        raise PipFailed(
            f"no pip works for {sys.executable}. Fix: install it there (python -m ensurepip, or apt install python3-venv)."
        )

    def run(self, *words: str, env: dict[str, str] | None = None) -> str:
        """Standard output. Raises PipFailed with the end of standard error."""
        given = {k: v for k, v in os.environ.items() if k not in _SCRUBBED}
        given |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(  # noqa: S603  # words are ours; requirements come after "--"
            [*self.words, *words],
            env={**given, **self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            umask=0o022,
        )
        if done.returncode:
            raise PipFailed(_said(done.stdout, done.stderr))
        return done.stdout

    # ---- what it is asked

    def resolve(self, requirements: Sequence[str], constraints: Iterable[str], sources: Sources) -> list[Resolved]:
        """What has to be added to the server's packages, none of which changes, so that the requirements are met."""
        with tempfile.TemporaryDirectory(prefix="mta-pip-") as folder:
            pins, report = Path(folder) / "constraints.txt", Path(folder) / "report.json"
            pins.write_text("".join(f"{line}\n" for line in constraints), encoding="utf-8")
            words = ["install", "--dry-run", "--report", str(report), "--constraint", str(pins)]
            self.run(*words, *sources.words(), "--", *requirements)
            return [_resolved(item) for item in json.loads(report.read_text(encoding="utf-8"))["install"]]

    def fetch(self, wanted: Sequence[Resolved], folder: Path, sources: Sources) -> list[Path]:
        """Download each, checked against its hash, or build it; wheels in ``folder``."""
        hashed = [f"{_exact(r)} --hash=sha256:{r.sha256}" for r in wanted if r.sha256]
        plain = [_exact(r) for r in wanted if not r.sha256]
        for lines, more in ((hashed, ["--require-hashes"]), (plain, [])):
            if lines:
                listed = folder / "wanted.txt"
                listed.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
                words = ["wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), *more, *sources.words()]
                self.run(*words, "--requirement", str(listed))
                listed.unlink()
        return sorted(folder.glob("*.whl"))

    def install(self, locked: Sequence[Locked], wheels: Path, target: Path) -> None:
        """Unpack the locked wheels, each checked against its hash, into ``target``."""
        if not locked:
            return
        with tempfile.TemporaryDirectory(prefix="mta-pip-") as folder:
            lock = Path(folder) / "lock.txt"
            lock.write_text("".join(f"{entry}\n" for entry in locked), encoding="utf-8")
            words = ["install", "--quiet", "--no-index", "--no-deps", "--find-links", str(wheels), "--target", str(target)]
            self.run(*words, "--no-warn-script-location", "--require-hashes", "--requirement", str(lock))

    def conflicts(self, generation: Path) -> list[str]:
        """What ``pip check`` says with this generation on the path; each line begins with the distribution that is not content."""
        path = os.pathsep.join(p for p in (self.env.get("PYTHONPATH"), os.environ.get("PYTHONPATH"), str(generation)) if p)
        try:
            self.run("check", env={"PYTHONPATH": path})
        except PipFailed as exc:
            return str(exc).splitlines()
        return []


def _resolved(item: dict[str, Any]) -> Resolved:
    info, metadata = item["download_info"], item["metadata"]
    hashes = info.get("archive_info", {}).get("hashes", {})
    return Resolved(
        name=canonical(metadata["name"]),
        version=metadata["version"],
        url=_url(info),
        sha256=hashes.get("sha256", ""),
        direct=bool(item["is_direct"]),
        asked=bool(item["requested"]),
    )


def _url(info: dict[str, Any]) -> str:
    if vcs := info.get("vcs_info"):
        return f"{vcs['vcs']}+{info['url']}@{vcs['commit_id']}"
    return str(info["url"])


def _exact(wanted: Resolved) -> str:
    return f"{wanted.name} @ {wanted.url}" if wanted.direct else f"{wanted.name}=={wanted.version}"


def _said(output: str, errors: str) -> str:
    """The end of what pip complained of, with the parties of a conflict, which it tells to standard output."""
    lines = [line.removeprefix("ERROR: ").rstrip() for line in (errors.strip() or output).splitlines()]
    lines = [line for line in lines if line and not line.startswith(("WARNING", "ResolutionImpossible"))]
    parties = output.partition("\nThe conflict is caused by:\n")[2].partition("\nTo fix this")[0]
    lines += [line.rstrip().replace("The user requested (constraint)", "this server has") for line in parties.splitlines() if line]
    return "\n".join(lines[-30:]) or "pip failed and did not say why"
