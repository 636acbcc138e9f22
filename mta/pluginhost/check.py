"""Is this a plugin that we can call? Asked before anything of it is registered; each refusal names file, line and the remedy."""
# SPDX-License-Identifier: Apache-2.0

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mta.pluginhost.specs import SPECS, Spec
from mta.wire.imap.command import VERBS as IMAP_VERBS
from mta.wire.smtp.command import VERBS
from mta_hooks import API
from mta_hooks.markers import OPTIONS, PROJECT, HookOptions


class PluginRefused(Exception):
    """Why a plugin cannot be loaded; ``file`` and ``line`` where known."""

    def __init__(self, problem: str, file: str = "", line: int = 0) -> None:
        super().__init__(problem)
        self.problem, self.file, self.line = problem, file, line


RESERVED = frozenset({"directories", "directory", "mta"})
"""Names of the engine's own parts."""


def check_name(name: str) -> None:
    if name in RESERVED:
        raise PluginRefused(f"the name {name} is the engine's own")


def nearest(word: str, words: Iterable[str]) -> str:
    """What to add to a refusal: the word that was probably meant, or nothing."""
    found = difflib.get_close_matches(word, list(words), 1)
    return f"; did you mean {found[0]}?" if found else ""


def implementations(plugin: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """(hook, function) of everything marked with ``hookimpl``."""
    for name in dir(plugin):
        if isinstance(getattr(type(plugin), name, None), property):
            continue
        function = getattr(plugin, name, None)
        if inspect.isroutine(function) and isinstance(marks := getattr(function, f"{PROJECT}_impl", None), dict):
            yield marks.get("specname") or name, function


def check(plugin: Any) -> None:
    """Raises PluginRefused for an API this server does not have, a hook or argument that does not exist, a wrapper, a generator."""
    check_api(getattr(plugin, "api", ""))
    for hook, function in implementations(plugin):
        code = getattr(inspect.unwrap(function), "__code__", None)
        problem = _problem(hook, function)
        if problem:
            raise PluginRefused(problem, code.co_filename if code else "", code.co_firstlineno if code else 0)


def _problem(hook: str, function: Callable[..., Any]) -> str:
    spec = SPECS.get(hook)
    if spec is None:
        return f"there is no hook {hook}{nearest(hook, SPECS)}"
    marks = getattr(function, f"{PROJECT}_impl")
    if marks.get("wrapper") or marks.get("hookwrapper"):
        return f"{hook}: hook wrappers are not supported; answer a verdict or an edit instead"
    if not hasattr(function, OPTIONS):
        return f"{hook}: marked with pluggy's own marker; use mta_hooks.hookimpl"
    if problem := _declaration_problem(hook, getattr(function, OPTIONS)):
        return problem
    plain = inspect.unwrap(function)
    if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
        return f"{hook}: contains yield; an implementation returns its answer"
    if spec.mode == "load" and inspect.iscoroutinefunction(plain):
        return f"{hook}: must be def, not async def"
    return _argument_problem(spec, function)


def _declaration_problem(hook: str, options: HookOptions) -> str:
    """``types`` and ``verbs`` where they mean something, and as they are written."""
    if options.types and hook != "mime_part":
        return f"{hook}: types are for mime_part"
    if bool(options.verbs) is not (hook in ("smtp_command", "imap_command")):
        return f'{hook}: verbs are for smtp_command and imap_command, which need them: @hookimpl(verbs=("XPING",))'
    known = IMAP_VERBS if hook == "imap_command" else VERBS
    if taken := [v for v in options.verbs if v in known or not _VERB.match(v)]:
        return f"{hook}: {taken[0]!r} is a verb of {'IMAP' if hook == 'imap_command' else 'SMTP'}'s own, or none at all"
    if wrong := [t for t in options.types if not _TYPE.match(t)]:
        return f'{hook}: {wrong[0]!r} is no type; write it like "image/png" or "image/*"'
    return ""


def _argument_problem(spec: Spec, function: Callable[..., Any]) -> str:
    offered = spec.arguments if spec.mode == "load" else (*spec.arguments, "ctx")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            return f"{spec.name}: {parameter} cannot be passed; name the arguments you want: {', '.join(offered)}"
        if parameter.name not in offered and parameter.default is parameter.empty:
            hint = nearest(parameter.name, offered)
            return f"{spec.name} has no argument {parameter.name}; it has {', '.join(offered)}{hint}"
    return ""


_VERB = re.compile(r"[A-Z][A-Z0-9-]{0,31}\Z")
_TYPE = re.compile(r"(?:\*/\*|[a-z0-9.+_-]+/(?:\*|[a-z0-9.+_-]+))\Z")
_BOUND = re.compile(r"\s*(>=|<=|==|<|>)\s*(\d+(?:\.\d+)*)\s*\Z")


def check_api(wanted: str) -> None:
    """``wanted`` is like ">=1.0,<2"; "": any. Raises PluginRefused when this server's API is not in it."""
    if not wanted:
        return
    have = _version(API)
    for part in str(wanted).split(","):
        match = _BOUND.match(part)
        if match is None:
            raise PluginRefused(f'api = {wanted!r} is not understood; write it like ">=1.0,<2"')
        bound = _version(match[2])
        fits = {
            ">=": have >= bound, "<=": have <= bound, "==": have == bound, "<": have < bound, ">": have > bound,
        }[match[1]]  # fmt: skip
        if not fits:
            raise PluginRefused(f"it needs api {wanted}, this server has {API}")


def _version(text: str) -> tuple[int, ...]:
    numbers = [int(n) for n in text.split(".")]
    return tuple(numbers + [0] * (4 - len(numbers)))
