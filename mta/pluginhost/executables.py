"""``hooks_dir/<hook>.d/NN-name``: programs in any language as hooks, in the order of NN; docs/plugin-authors/executables.md.

``hooks_dir/pipe.d/name`` are those that aliases name as ``|name``. Each is a plugin called ``<hook>.d/NN-name``, with settings in ``NN-name.yaml`` beside it (those of a drop-in hook, and ``process:``). A line
``# mta: persistent`` at the top of the file keeps it running and speaks JSON lines with it. Loaded, reloaded and dropped with
the drop-in hooks; never a link, and never a file or folder that somebody else than root and ourselves could change.
"""
# SPDX-License-Identifier: Apache-2.0

import inspect
import os
import re
import stat
from collections.abc import Callable, Coroutine, Mapping
from types import ModuleType
from typing import Any, NamedTuple

from mta.model.errors import TemporaryFailure
from mta.pluginhost.call import Outside
from mta.pluginhost.check import PluginRefused, nearest
from mta.pluginhost.confine import Confinement, account_for, credentials
from mta.pluginhost.crossing import BadAnswer, answer_in, arguments_out, keep_notes, notes_in, uncrossable
from mta.pluginhost.exported import environment
from mta.pluginhost.handover import Handover
from mta.pluginhost.jsonlines import VERSION
from mta.pluginhost.launcher import Command, Launcher
from mta.pluginhost.lineprocess import LineProcess
from mta.pluginhost.oneshot import OneShot
from mta.pluginhost.plugin import Plugin
from mta.pluginhost.specs import SPECS, Spec
from mta_hooks.markers import hookimpl

NAME = re.compile(r"\d\d-[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
PIPES = "pipe.d/"
"""Where the programs lie that aliases name: called like ``deliver`` hooks, each for its aliases only."""
_HEAD = 1024
_PERSISTENT = re.compile(rb"\W{1,4}\s*mta:\s*persistent\s*\Z")
Answer = Callable[[Mapping[str, Any]], Coroutine[Any, Any, Any]]


class Found(NamedTuple):
    """A program that may run. ``name`` is ``<hook>.d/NN-name``."""

    name: str
    path: str
    spec: Spec
    persistent: bool


def look_at(name: str, path: str, refuse: Callable[[os.stat_result, str], None]) -> Found:
    """Raises PluginRefused. ``refuse`` raises for what a stranger could have written."""
    hook = "deliver" if name.startswith(PIPES) else name.partition(".d/")[0]
    spec = SPECS.get(hook)
    if spec is None:
        raise PluginRefused(f"there is no hook {hook}{nearest(hook, SPECS)}", path)
    problem = "it is called while loading, which a program cannot be" if spec.mode == "load" else ""
    if problem or (problem := uncrossable(spec, spec.arguments)):
        raise PluginRefused(problem, path)
    check_file(path, refuse)
    try:
        with open(path, "rb") as file:
            lines = file.read(_HEAD).split(b"\n")[1:5]
    except OSError as exc:
        raise PluginRefused(f"cannot be read: {exc.strerror}", path) from None
    return Found(name, path, spec, any(_PERSISTENT.match(line) for line in lines))


def check_file(path: str, refuse: Callable[[os.stat_result, str], None]) -> None:
    """Raises PluginRefused for a link, what a stranger could change, and what is not executable."""
    try:
        found = os.lstat(path)
    except OSError as exc:
        raise PluginRefused(f"cannot be read: {exc.strerror}", path) from None
    if stat.S_ISLNK(found.st_mode):
        raise PluginRefused("a link; put the file itself here", path)
    if not stat.S_ISREG(found.st_mode):
        raise PluginRefused("not a file", path)
    refuse(found, path)
    if not found.st_mode & stat.S_IXUSR:
        raise PluginRefused(f"not executable; run: chmod +x {path}", path)


def implementation(hook: str, names: tuple[str, ...], answer: Answer, **options: Any) -> Callable[..., Any]:
    """A function that the host takes for one with these arguments."""

    async def call(*values: Any) -> Any:
        return await answer(dict(zip(names, values, strict=True)))

    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    call.__name__ = hook
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return hookimpl(**options)(call)


class Program:
    """Fulfils mta.pluginhost.plugin.Process: one executable, once the plugin that stands for it is made.

    ``refuse`` as in ``look_at``: the file is looked at again before each start.
    """

    def __init__(self, found: Found, refuse: Callable[[os.stat_result, str], None]) -> None:
        self._found, self._refuse = found, refuse
        self._one_shot: OneShot | None = None
        self._lines: LineProcess | None = None
        self._handover: Handover | None = None

    def module(self) -> ModuleType:
        """What the host registers."""
        found = self._found
        module = ModuleType(found.name)
        module.__file__ = found.path
        setattr(module, found.spec.name, implementation(found.spec.name, found.spec.arguments, self.answer))
        return module

    def place(self, plugin: Plugin, launcher: Launcher, confinement: Confinement) -> None:
        """Raises PluginRefused when there is no account to run it as."""
        found, account = self._found, account_for(confinement.user, launcher)
        if not found.persistent:
            self._one_shot = OneShot(found.spec, found.path, plugin, launcher, confinement, account)
            return
        env = environment(found.spec.name, {}, account)
        command = Command((found.path, found.spec.name), env, credentials(account), confinement.limits(one_shot=False))
        self._handover = Handover(plugin.pool)
        self._lines = LineProcess(launcher, command, plugin.context.log)
        self._lines.closed = self._handover.close
        self._config = dict(plugin.context.config or {})

    async def answer(self, arguments: Mapping[str, Any]) -> Any:
        """Raises Outside, TemporaryFailure."""
        if self._lines is None or not self._lines.runs:
            try:
                check_file(self._found.path, self._refuse)
            except PluginRefused as exc:
                raise Outside(exc.problem) from None
        if self._one_shot is not None:
            return await self._one_shot.call(arguments)
        return await self._ask(arguments)

    async def _ask(self, arguments: Mapping[str, Any]) -> Any:
        assert self._lines is not None
        assert self._handover is not None
        given = arguments_out(arguments)
        message, handed = arguments.get("message"), {}
        if message is not None:
            handed = await self._handover.put(message)
            given["message"] |= {"headers": message.headers, **handed}
        try:
            said = await self._lines.ask({"version": VERSION, "hook": self._found.spec.name, "config": self._config, "args": given})
        finally:
            if "file" in handed:
                self._handover.drop(handed["file"])
        return answer_from(self._found.spec, said, arguments)

    def retire(self) -> None:
        if self._lines is not None:
            self._lines.retire()

    def close(self) -> None:
        if self._lines is not None:
            self._lines.close()

    @property
    def trouble(self) -> str:
        return self._lines.trouble if self._lines is not None else ""


def answer_from(spec: Spec, said: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    """The answer in one line of a process. Raises Outside, TemporaryFailure."""
    if "error" in said:
        error = str(said["error"])[:1000]
        raise TemporaryFailure(error) if said.get("temporary") is True else Outside(error)
    try:
        answer = answer_in(spec, said.get("verdict", said.get("result")), arguments)
        if "notes" in said:
            keep_notes(notes_in(said["notes"]), arguments)
    except BadAnswer as exc:
        raise Outside(f"answered {exc}") from None
    return answer
