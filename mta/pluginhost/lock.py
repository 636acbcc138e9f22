"""lock.txt: exact versions with hashes, in the form that ``pip install --require-hashes -r`` reads."""
# SPDX-License-Identifier: Apache-2.0

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mta.model.errors import ConfigError

HEAD = (
    "# Written by mta plugins install; mta plugins sync builds the environment from it. Hashes are those of the files in wheels/.\n"
)
_LINE = re.compile(r"([A-Za-z0-9][\w.-]*)==(\S+) --hash=sha256:([0-9a-f]{64})  # ([\w.+!-]+\.whl)\Z")


@dataclass(frozen=True, slots=True)
class Locked:
    """One distribution: ``name`` canonical, ``sha256`` in hexadecimal, ``wheel`` the name of its file."""

    name: str
    version: str
    sha256: str
    wheel: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}  # {self.wheel}"


def canonical(name: str) -> str:
    """The one spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked_of(wheel: Path) -> Locked:
    """A wheel's file name begins with name and version."""
    name, version = wheel.name.split("-")[:2]
    return Locked(canonical(name), version, sha256_of(wheel), wheel.name)


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_lock(file: Path) -> list[Locked]:
    """Empty when there is none. Raises ConfigError."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(str(file), "(file)", f"cannot be read: {exc}") from exc
    return list(_entries(file, lines))


def _entries(file: Path, lines: Iterable[str]) -> Iterable[Locked]:
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            fix = "mta plugins sync --relock writes it anew from requirements.txt."
            raise ConfigError(f"{file}:{number}", "(line)", "not a line that mta plugins install wrote", fix)
        yield Locked(canonical(match[1]), match[2], match[3], match[4])


def lock_text(locked: Sequence[Locked]) -> str:
    return HEAD + "".join(f"{entry}\n" for entry in sorted(locked, key=lambda e: e.name))
