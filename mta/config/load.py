"""Reads the config file: strict YAML, ``${ENV}`` and ``file:/path`` references, checks, defaults of the machine.

Every problem of the file is reported at once, each as ``file:line: key: problem. Fix: …`` (design: exit status 78).
"""
# SPDX-License-Identifier: Apache-2.0

import difflib
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from mta.config.describe import section_at
from mta.config.safe import asked_for_safe_mode, without_third_parties
from mta.config.sections import Config
from mta.config.yaml import Path, Tree, dotted, read
from mta.model.domain import normalise
from mta.model.errors import ConfigError

DEFAULT_FILE = "/etc/mta/mta.yaml"
MOST_WORKERS = 8

_REFERENCE = re.compile(r"\$(\$|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_INDEX = re.compile(r"\[[0-9]+\]")
_STEP = re.compile(r"\[([0-9]+)\]|([^.\[\]]+)")


class InvalidConfig(ConfigError):
    """All problems of one file; ``str`` has a line for each."""

    def __init__(self, problems: list[ConfigError]) -> None:
        first = problems[0]
        super().__init__(first.where, first.key, first.problem, first.fix)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(str(p) if p is not self else super().__str__() for p in self.problems)


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """The config, and where its keys stand.

    references  key paths whose value came from the environment or a file, with what was written instead: shown in its place
    left_out    plugins and "hooks_dir" that safe mode took out
    """

    config: Config
    file: str
    tree: Tree = field(repr=False)
    references: Mapping[Path, str] = field(default_factory=dict, repr=False)
    left_out: tuple[str, ...] = ()

    def where(self, key: str) -> str:
        """``file:line`` of ``listen[0].url``, of its nearest parent in the file, or the file alone."""
        for path in self.tree.lines:
            if dotted(path) == key:  # keys such as domains of routes hold dots themselves
                return self.tree.where(path)
        return self.tree.where(tuple(int(m[1]) if m[1] else m[2] for m in _STEP.finditer(key)))

    def mistake(self, key: str, problem: str, fix: str = "") -> ConfigError:
        return ConfigError(self.where(key), key, problem, fix)


def load(file: str | None = None) -> LoadedConfig:
    """Read ``file``, or $MTA_CONFIG, or /etc/mta/mta.yaml. Raises InvalidConfig."""
    file = file or os.environ.get("MTA_CONFIG") or DEFAULT_FILE
    try:
        with open(file, encoding="utf-8") as stream:
            text = stream.read()
    except OSError as exc:
        fix = "name another with --config FILE or $MTA_CONFIG; docs/operators/install.md starts with a short one."
        raise InvalidConfig([ConfigError(file, "(file)", f"cannot be read: {exc.strerror}", fix)]) from exc
    except UnicodeDecodeError as exc:
        raise InvalidConfig([ConfigError(file, "(file)", "is not UTF-8", "save it as UTF-8.")]) from exc
    return loads(text, file)


def loads(text: str, file: str) -> LoadedConfig:
    """Like ``load``, for text that stands for ``file``. Raises InvalidConfig."""
    tree = read(text, file)
    if not tree.problems and not isinstance(tree.value, dict):
        tree.refuse((), 1, "must be keys with values", "begin with a line such as hostname: mx.example.org.")
    if not isinstance(tree.value, dict):
        raise InvalidConfig(tree.problems)
    references: dict[Path, str] = {}
    value = _resolve(tree, tree.value, (), references)
    base = os.path.dirname(os.path.abspath(file))
    try:
        config = Config.model_validate(value, context={"base": base})
    except ValidationError as exc:
        refused = {p.key for p in tree.problems}
        problems = [p for p in _translate(tree, exc) if p.key not in refused]
        raise InvalidConfig(sorted(tree.problems + problems, key=_line)) from exc
    if tree.problems:
        raise InvalidConfig(tree.problems)
    config = _of_this_machine(config)
    left_out: tuple[str, ...] = ()
    if asked_for_safe_mode():
        config, left_out = without_third_parties(config)
    return LoadedConfig(config, file, tree, references, left_out)


def _line(problem: ConfigError) -> int:
    line = problem.where.rpartition(":")[2]
    return int(line) if line.isdigit() else 0


def _resolve(tree: Tree, value: Any, path: Path, references: dict[Path, str]) -> Any:
    """Put in the values of ``${ENV}`` and ``file:/path``."""
    if isinstance(value, dict):
        return {key: _resolve(tree, item, (*path, key), references) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(tree, item, (*path, i), references) for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    if value.startswith("file:/"):
        references[path] = value
        return _secret_file(tree, path, value.removeprefix("file:"))
    if "$" not in value:
        return value

    def variable(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        references[path] = value
        if (found := os.environ.get(match[2])) is None:
            tree.refuse(path, tree.lines[path], f"the environment has no {match[2]}", "set it, or write $${ for a plain ${.")
            return ""
        return found

    return _REFERENCE.sub(variable, value)


def _secret_file(tree: Tree, path: Path, name: str) -> str:
    try:
        with open(name, encoding="utf-8") as stream:
            return stream.read().removesuffix("\n")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        tree.refuse(path, tree.lines[path], f"{name} cannot be read: {reason}", "mend the file or its mode.")
        return ""


def _translate(tree: Tree, exc: ValidationError) -> list[ConfigError]:
    """One problem for each key: pydantic gives one for each member of a union."""
    found: dict[Path, ConfigError] = {}
    for error in exc.errors(include_url=False):
        path = _written(tree.value, error["loc"], missing=error["type"] == "missing")
        if path in found:
            continue
        key = dotted(path) or "(document)"
        problem, fix = _explain(error, path, key)
        found[path] = ConfigError(tree.where(path), key, problem, fix)
    return list(found.values())


def _written(value: Any, loc: tuple[str | int, ...], *, missing: bool) -> Path:
    """The part of a pydantic location that exists in the file; the rest names union members and model internals."""
    path: Path = ()
    for step in loc:
        try:
            value = value[step]  # a union member's name is no index, a scalar has none
        except (KeyError, IndexError, TypeError):
            return (*path, step) if missing and step == loc[-1] else path
        path = (*path, step)
    return path


def _explain(error: Any, path: Path, key: str) -> tuple[str, str]:
    kind: str = error["type"]
    if kind == "extra_forbidden":
        section = section_at(path[:-1])
        known = list(section.model_fields) if section else []
        near = difflib.get_close_matches(str(path[-1]), known, 1, 0.5)
        return "unknown key", f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}."
    message: str = error["msg"]
    problem = message.removeprefix("Value error, ").replace("Input should be", "must be")
    given = error.get("input")
    if kind == "string_type" and isinstance(given, bool | int | float):
        return problem, f"write {str(given).lower() if isinstance(given, bool) else given} in quotes."
    return problem, f"see mta config explain {_INDEX.sub('', key)}."


def _of_this_machine(config: Config) -> Config:
    update: dict[str, object] = {}
    if not config.hostname:
        update["hostname"] = machine_name()
    if config.workers == "auto":
        update["workers"] = min(len(os.sched_getaffinity(0)), MOST_WORKERS)
    return config.model_copy(update=update)


def machine_name() -> str:
    """Name of this machine without asking DNS: its host name; when that has no dot, /etc/mailname."""
    names = [socket.gethostname()]
    if "." not in names[0]:
        try:
            with open("/etc/mailname", encoding="ascii") as stream:
                names.insert(0, stream.readline().strip())
        except (OSError, UnicodeDecodeError):
            pass
    for name in names:
        try:
            return normalise(name)
        except ValueError:
            continue
    return "localhost"
