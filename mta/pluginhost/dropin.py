"""Drop-in hooks: every ``NAME.py`` of ``hooks_dir`` is a plugin, and every program ``<hook>.d/NN-name``, with ``NAME.yaml`` beside it.

Loaded at start, and again within a second of a save; a version that cannot run leaves the one before in place. NAME.yaml:

    config: {url: "http://…"}          what ``ctx.config`` holds
    when: {recipient: "support@*", sender: …, protocol: …}
    order: {before: …, after: …, enabled: true}
    on_error: defer                    and timeout: 10s, isolate: process, as in a plugin's section of the config
    process: {memory: 512 MiB}         of a program: account and limits (confine.py)

A file, or the folder itself, that somebody else than root and ourselves could change is never run.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from mta.config.yaml import Tree, read
from mta.model.errors import ConfigError
from mta.model.pipe import NAME
from mta.pluginhost import executables
from mta.pluginhost.check import PluginRefused, check_name, implementations, nearest
from mta.pluginhost.confine import Confinement
from mta.pluginhost.executables import Program, look_at
from mta.pluginhost.host import HookHost
from mta.pluginhost.isolation import IsolatedPlugin
from mta.pluginhost.load import guarded
from mta.pluginhost.plugin import Kind, Plugin
from mta.pluginhost.section import Section, split, validate
from mta.pluginhost.when import When

POLL = 1.0
LARGEST = 2**20
"""Octets of one file: a hook is a page of text."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\Z")
_KEYS = ("config", "when", "order", "on_error", "timeout", "isolate", "process")
_OURS = ("drop-in", "executable")
_ORDER = ("before", "after", "enabled")

_Stamp = tuple[int, int, int, int] | None
"""(inode, mtime and ctime in ns, size) of a file, None: not there. ctime: chmod and chown mend a file, too."""


class DropIns:
    """The folder as last seen, kept in step with the host."""

    def __init__(self, host: HookHost, folder: str) -> None:
        self._host = host
        self._folder = Path(folder)
        self._seen: dict[str, tuple[_Stamp, _Stamp]] = {}
        self._refused_folder = ""

    async def run(self) -> None:
        """Look once a second, until cancelled."""
        while True:
            await asyncio.sleep(POLL)
            self.scan()

    def scan(self) -> None:
        """Load what is new or changed, drop what is gone. A folder of a hundred files takes about a millisecond."""
        found = self._look()
        for name in [n for n in self._seen if n not in found]:
            del self._seen[name]
            self._forget(name)
        for name, stamps in sorted(found.items()):
            if self._seen.get(name) != stamps:
                self._seen[name] = stamps
                self._load(name)

    def add(self, name: str) -> None:
        """Load ``NAME.py`` of the folder alone, in place of a drop-in hook of the same name. Raises PluginRefused."""
        self._load(name)
        if (failed := self._host.failed.get(name)) is not None:
            raise PluginRefused(failed.reason, failed.file, failed.line)

    def _look(self) -> dict[str, tuple[_Stamp, _Stamp]]:
        try:
            _refuse_foreign(os.stat(self._folder), str(self._folder))
            files = {entry.name: entry for entry in os.scandir(self._folder)}
        except PluginRefused as exc:
            self._refuse_folder(exc.problem)
            return {}
        except OSError as exc:
            self._refuse_folder(exc.strerror or "cannot be read")
            return {}
        self._refused_folder = ""
        names = [n[:-3] for n in files if n.endswith(".py") and not n.startswith((".", "_"))]
        names += [f"{n}/{file}" for n in files if n.endswith(".d") and not n.startswith(".") for file in self._programs(n)]
        return {n: (_stamp(self._path(n)), _stamp(self._folder / f"{n}.yaml")) for n in names}

    def _programs(self, folder: str) -> list[str]:
        """Names of files like 50-archive.sh; others, such as README and what editors leave, are nobody's business."""
        try:
            _refuse_foreign(os.stat(self._folder / folder), str(self._folder / folder))
            wanted = NAME if f"{folder}/" == executables.PIPES else executables.NAME
            names = [n for n in os.listdir(self._folder / folder) if wanted.match(n) and not n.endswith(".yaml")]
        except PluginRefused as exc:
            self._complain(folder, exc)
            return []
        except OSError:
            return []
        self._host.failed.pop(folder, None)
        return names

    def _complain(self, name: str, exc: PluginRefused) -> None:
        """Once, though it is looked at every second."""
        known = self._host.failed.get(name)
        if known is None or known.reason != exc.problem:
            self._host.refuse(name, "executable", exc)

    def _path(self, name: str) -> Path:
        return self._folder / (name if _is_program(name) else f"{name}.py")

    def _refuse_folder(self, problem: str) -> None:
        if problem != self._refused_folder:
            self._refused_folder = problem
            self._host.services.log.error("plugin.folder", folder=str(self._folder), reason=problem)

    def _forget(self, name: str) -> None:
        self._host.failed.pop(name, None)
        plugin = self._host.plugins.get(name)
        if plugin is not None and plugin.kind in _OURS:
            self._host.change(remove=[plugin])
            self._host.services.log.info("plugin.unloaded", plugin=name)

    def _load(self, name: str) -> None:
        log, host = self._host.services.log, self._host
        old = host.plugins.get(name)
        kind: Kind = "executable" if _is_program(name) else "drop-in"
        if old is not None and old.kind not in _OURS:
            host.refuse(name, kind, PluginRefused(f"the name is taken by a {old.kind}", str(self._path(name))))
            return
        remove = [old] if old is not None else []
        durable = host.durable
        module = f"mta_drop_in_{name}"
        running = sys.modules.get(module)
        try:
            new = self._make(name, module)
            host.change(remove=remove, add=[new] if new is not None else [])
        except (PluginRefused, ConfigError) as exc:
            if running is not None:
                sys.modules[module] = running
            refused = exc if isinstance(exc, PluginRefused) else _from_config(exc)
            host.refuse(name, kind, refused)
            return
        host.failed.pop(name, None)
        hooks = sorted({hook for hook, _ in implementations(new.object)}) if new is not None else []
        log.info("plugin.loaded", plugin=name, hooks=",".join(hooks) or "none", again=old is not None)
        if host.durable - durable:
            log.info("plugin.reload_needed", plugin=name, hooks=",".join(sorted(host.durable - durable)))

    def _make(self, name: str, module: str) -> Plugin | None:
        """None: switched off by its NAME.yaml."""
        path = self._path(name)
        if not _is_program(name) and not _NAME.match(name):
            raise PluginRefused("a name is letters, digits, - and _, a letter first", str(path))
        check_name(name)
        tree = read(_text(self._folder / f"{name}.yaml", missing=""), str(self._folder / f"{name}.yaml"))
        settings = _settings(tree)
        if settings["order"].get("enabled", True) is not True:
            return None
        common = split({k: v for k, v in settings.items() if k in ("on_error", "timeout", "isolate")}, "", _where(tree))
        plugin = (
            self._program(name, path, settings, tree)
            if _is_program(name)
            else self._python(name, module, path, common, settings, tree)
        )
        try:
            if plugin.offers.jobs or plugin.offers.backends:
                raise PluginRefused("a drop-in hook brings no jobs and no backends; make it a package", str(path))
            plugin.on_error, plugin.timeout = common.on_error, common.timeout
            plugin.before, plugin.after = (_names(tree, settings["order"], word) for word in ("before", "after"))
            plugin.when = When(settings["when"]) if settings["when"] else None
        except (PluginRefused, ConfigError):
            if plugin.process is not None:
                plugin.process.close()
            raise
        return plugin

    def _python(self, name: str, module: str, path: Path, common: Section, settings: dict[str, Any], tree: Tree) -> Plugin:
        host = self._host
        if "process" in settings:
            raise ConfigError(tree.where(("process",)), "process", "is for programs", "isolate: {…} takes the same keys.")
        if common.isolate is None:
            plugin = host.make(name, _module(module, path), "drop-in")
            plugin.context.config = validate(plugin.offers.model, settings["config"], "config", _where(tree))
            return plugin
        isolated = IsolatedPlugin(name, common.isolate, host.services, {"file": str(path), "text": _text(path)})
        object = isolated.load(host.launcher, settings["config"], "config", _where(tree))
        try:
            plugin = host.make(name, object, "drop-in", config=MappingProxyType(settings["config"]))
        except PluginRefused:
            isolated.close()
            raise
        plugin.process = isolated
        isolated.place(plugin)
        return plugin

    def _program(self, name: str, path: Path, settings: dict[str, Any], tree: Tree) -> Plugin:
        if "isolate" in settings:
            raise ConfigError(
                tree.where(("isolate",)), "isolate", "a program is a process already", "process: {…} takes its limits."
            )
        confinement = validate(Confinement, settings.get("process", {}), "process", _where(tree))
        program = Program(look_at(name, str(path), _refuse_foreign), _refuse_foreign)
        plugin = self._host.make(name, program.module(), "executable", config=MappingProxyType(settings["config"]))
        plugin.process = program
        program.place(plugin, self._host.launcher, confinement)
        return plugin


def _settings(tree: Tree) -> dict[str, Any]:
    if tree.problems:
        raise tree.problems[0]
    settings: dict[str, Any] = {"config": {}, "when": {}, "order": {}}
    mappings = (*settings, "process")
    if not isinstance(tree.value, dict):
        raise ConfigError(tree.where(()), "(document)", "must be a mapping", f"keys: {', '.join(_KEYS)}.")
    for key, value in tree.value.items():
        if key not in _KEYS:
            raise ConfigError(tree.where((key,)), key, f"unknown key{nearest(key, _KEYS)}", f"known keys: {', '.join(_KEYS)}.")
        if key in mappings and not isinstance(value, dict):
            raise ConfigError(tree.where((key,)), key, "must be a mapping", f"{key}: {{…}}")
        settings[key] = value
    for word in settings["order"]:
        if word not in _ORDER:
            raise ConfigError(
                tree.where(("order", word)),
                f"order.{word}",
                f"unknown key{nearest(word, _ORDER)}",
                f"known keys: {', '.join(_ORDER)}.",
            )
    return settings


def _names(tree: Tree, order: Mapping[str, Any], word: str) -> tuple[str, ...]:
    value = order.get(word, ())
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else (None,)
    if not all(isinstance(n, str) for n in names):
        raise ConfigError(
            tree.where(("order", word)), f"order.{word}", "must be names of plugins or roles", "a name, or a list of names."
        )
    return names


def _where(tree: Tree) -> Any:
    return lambda key: tree.where(tuple(part for part in key.split(".") if part))


def _from_config(exc: ConfigError) -> PluginRefused:
    file, _, line = exc.where.rpartition(":")
    problem = f"{exc.key}: {exc.problem}" + (f" Fix: {exc.fix}" if exc.fix else "")
    return PluginRefused(problem, file, int(line)) if line.isdigit() else PluginRefused(problem, exc.where)


def _module(name: str, path: Path) -> ModuleType:
    source = _text(path)
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    code = guarded(compile, source, str(path), "exec")
    guarded(exec, code, vars(module))
    return module


def _is_program(name: str) -> bool:
    return "/" in name


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _text(path: Path, missing: str | None = None) -> str:
    """The file's text, after checking the very file that is read. Raises PluginRefused."""
    try:
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK | os.O_CLOEXEC)) as file:
            _refuse_foreign(os.fstat(file.fileno()), str(path))
            octets = file.read(LARGEST + 1)
    except FileNotFoundError:
        if missing is not None:
            return missing
        raise PluginRefused("it is gone", str(path)) from None
    except OSError as exc:
        raise PluginRefused(f"cannot be read: {exc.strerror}", str(path)) from None
    if len(octets) > LARGEST:
        raise PluginRefused(f"larger than {LARGEST} octets", str(path))
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise PluginRefused("not UTF-8", str(path), octets[: exc.start].count(b"\n") + 1) from None


def _refuse_foreign(found: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise PluginRefused("not a file", path)
    if found.st_uid not in (0, os.geteuid()):
        raise PluginRefused(f"belongs to uid {found.st_uid}; run: chown root {path}", path)
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PluginRefused(f"group or world can write it; run: chmod go-w {path}", path)
