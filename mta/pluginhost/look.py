"""What a plugin hooks and asks for, read from its source: nothing of it is run before the operator has agreed.

Sees marked functions, ``api``, ``roles``, ``permissions``, what is named of ``ctx``, and what is offered to ``registry``. A plugin
that makes its hooks at run time shows less here than ``mta plugins info`` does later.
"""
# SPDX-License-Identifier: Apache-2.0

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from typing import Any

from mta.config.safe import GROUP
from mta.pluginhost.check import PluginRefused, check_api, check_name
from mta_hooks import API

_SERVICES = {
    "db": "has tables of its own",
    "dns": "asks DNS",
    "http": "speaks HTTP",
    "kv": "keeps data of its own",
    "send": "sends mail",
    "threads": "runs threads",
}
_MODULES = {
    "ctypes": "calls native code",
    "multiprocessing": "starts processes",
    "socket": "opens sockets",
    "subprocess": "starts programs",
}
_DECLARED = ("api", "roles", "permissions")


@dataclass(slots=True)
class Look:
    """One entry point of one distribution. ``uses`` and ``offers`` are words for people."""

    name: str
    distribution: str
    version: str
    author: str
    summary: str
    hooks: list[str] = field(default_factory=list)
    uses: list[str] = field(default_factory=list)
    offers: list[str] = field(default_factory=list)
    declared: dict[str, Any] = field(default_factory=dict)

    @property
    def api(self) -> str:
        return str(self.declared.get("api", ""))

    def problem(self) -> str:
        """Why it would be refused at load; "" when nothing is to be seen."""
        try:
            check_name(self.name)
            check_api(self.api)
        except PluginRefused as exc:
            return exc.problem
        return ""

    def lines(self) -> Iterator[str]:
        """For people."""
        by = f", by {self.author}" if self.author else ""
        yield f"{self.name}: {self.distribution} {self.version}{by}" + (f": {self.summary}" if self.summary else "")
        yield f"  hooks: {', '.join(self.hooks) or 'none to be seen in its source'}"
        yield f"  asks for: {', '.join([*self.uses, *self.permissions()]) or 'nothing'}"
        if self.offers:
            yield f"  brings: {', '.join(self.offers)}"
        yield f"  api: {self.api or 'any'} (this server: {API})"
        if problem := self.problem():
            yield f"  will not load: {problem}"

    def permissions(self) -> list[str]:
        declared = self.declared.get("permissions", ())
        return [str(p) for p in ([declared] if isinstance(declared, str) else declared)]


def looks(distribution: Distribution) -> Iterator[Look]:
    """One for each plugin that the distribution provides."""
    for entry in distribution.entry_points.select(group=GROUP):
        found = describe(entry, distribution)
        for source in _sources(distribution, entry):
            _read(found, source)
        for words in (found.hooks, found.uses, found.offers):
            words[:] = sorted(set(words))
        yield found


def describe(entry: EntryPoint, distribution: Distribution) -> Look:
    """Name, version, author and summary alone."""
    meta = distribution.metadata
    known = {field: meta[field] for field in ("Author", "Author-email", "Maintainer-email", "Summary") if field in meta}
    author = known.get("Author") or known.get("Author-email") or known.get("Maintainer-email") or ""
    return Look(entry.name, distribution.name, distribution.version, author, known.get("Summary", ""))


def _sources(distribution: Distribution, entry: EntryPoint) -> Iterable[Path]:
    """Python files of the top-level package, or module, that the entry point names."""
    top = entry.module.partition(".")[0]
    for file in distribution.files or ():
        if file.suffix == ".py" and (file.parts[0] == top or file.name == f"{top}.py"):
            yield Path(str(distribution.locate_file(file)))


def _read(found: Look, source: Path) -> None:
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError):
        found.uses.append(f"cannot be read: {source.name}")
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.hooks += [hook for d in node.decorator_list if (hook := _hook(d, node.name)) and hook != "register"]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ctx":
            found.uses += [_SERVICES[node.attr]] if node.attr in _SERVICES else []
        elif isinstance(node, ast.Call):
            found.offers += _offer(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            found.uses += [_MODULES[top] for n in names if (top := n.partition(".")[0]) in _MODULES]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            _declare(found, node)


def _hook(decorator: ast.expr, name: str) -> str:
    """The hook that a decorator marks; "" for another decorator."""
    call = decorator if isinstance(decorator, ast.Call) else None
    plain = call.func if call else decorator
    if (plain.attr if isinstance(plain, ast.Attribute) else getattr(plain, "id", "")) != "hookimpl":
        return ""
    for keyword in call.keywords if call else ():
        if keyword.arg == "specname" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return name


def _offer(call: ast.Call) -> list[str]:
    function = call.func
    if not (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "registry"):
        return []
    words = [str(a.value) for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    if function.attr == "routes":
        return ["routes over HTTP"]
    return [] if function.attr == "config" else [" ".join([function.attr, *words])]


def _declare(found: Look, node: ast.Assign | ast.AnnAssign) -> None:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    for target in targets:
        if isinstance(target, ast.Name) and target.id in _DECLARED and node.value is not None and target.id not in found.declared:
            try:
                found.declared[target.id] = ast.literal_eval(node.value)
            except ValueError:
                continue
