"""YAML as a tree that remembers its lines: PyYAML's nodes, read strictly.

Refused with file and line: duplicate keys, merge keys, tags, and what YAML 1.1 turns into something else than it looks
(yes, no, on, off; 010; 1_000; 12:30). JSON is YAML. Leaves out: several documents, anchors on keys.
"""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass, field
from typing import Any

import yaml

from mta.model.errors import ConfigError

Path = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_LARGEST = 100_000
"""Nodes, aliases counted each time they are used: bounds what a few nested anchors could grow to."""


@dataclass(slots=True)
class Tree:
    """``value`` is plain dicts, lists and scalars; ``lines`` holds the line, from 1, of each path."""

    file: str
    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[ConfigError] = field(default_factory=list)
    nodes: int = 0

    def where(self, path: Path) -> str:
        """``file:line`` of the path, or of its nearest parent that is written in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.file}:{self.lines[path]}" if path in self.lines else self.file

    def refuse(self, path: Path, line: int, problem: str, fix: str = "") -> None:
        self.problems.append(ConfigError(f"{self.file}:{line}", dotted(path) or "(document)", problem, fix))


def dotted(path: Path) -> str:
    """``listen[0].url``."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".")


def read(text: str, file: str) -> Tree:
    """Parse; problems are collected in the tree, except a syntax error, which stands alone."""
    tree = Tree(file)
    try:
        node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark else 1
        tree.refuse((), line, f"not YAML: {exc.problem or exc.context}", "check indentation, colons and quotes around this line.")
        return tree
    except yaml.YAMLError as exc:
        tree.refuse((), 1, f"not YAML: {str(exc).splitlines()[0]}")
        return tree
    tree.value = {} if node is None else _plain(tree, node, ())
    return tree


def _plain(tree: Tree, node: yaml.Node, path: Path) -> Any:
    tree.nodes += 1
    tree.lines.setdefault(path, node.start_mark.line + 1)
    if tree.nodes > _LARGEST:
        if tree.nodes == _LARGEST + 1:
            tree.refuse(path, node.start_mark.line + 1, f"more than {_LARGEST} values")
        return None
    if isinstance(node, yaml.MappingNode):
        return _mapping(tree, node, path)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(tree, item, (*path, i)) for i, item in enumerate(node.value)]
    return _scalar(tree, node, path)


def _mapping(tree: Tree, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            tree.refuse(path, line, "a key must be plain text")
            continue
        key = key_node.value
        below = (*path, key)
        if key_node.tag == f"{_TAG}merge":
            tree.refuse(path, line, "merge keys (<<) are not read", "write the keys out.")
            continue
        if _trap(key_node) is not None:
            tree.refuse(below, line, f"the key {key} is read by YAML 1.1 as something else", f'write "{key}" in quotes.')
        if key in out:
            tree.refuse(below, line, f"given twice, first in line {tree.lines[below]}", "keep one of them.")
            continue
        tree.lines[below] = line
        out[key] = _plain(tree, value_node, below)
    return out


def _scalar(tree: Tree, node: yaml.Node, path: Path) -> Any:
    text: str = node.value
    kind = node.tag.removeprefix(_TAG)
    if (trap := _trap(node)) is not None:
        tree.refuse(path, node.start_mark.line + 1, *trap)
        return None
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        return int(text, 0)
    if kind == "float" and not text.lower().lstrip("+-").startswith("."):
        return float(text)
    if kind in ("str", "float", "timestamp", "value"):
        return text
    tree.refuse(path, node.start_mark.line + 1, f"the tag {node.tag.replace(_TAG, '!!')} is not read", "remove it.")
    return None


def _trap(node: yaml.Node) -> tuple[str, str] | None:
    """Problem and fix for a plain scalar that YAML 1.1 and the eye read differently."""
    text: str = node.value
    kind = node.tag.removeprefix(_TAG)
    if kind == "bool" and text.lower() not in ("true", "false"):
        return f"{text} means {'true' if text.lower() in ('yes', 'on') else 'false'} in YAML 1.1", (
            f'write true or false, or "{text}" in quotes when it is a name.'
        )
    if kind not in ("int", "float"):
        return None
    digits = text.lstrip("+-")
    if ":" in digits:
        return f"{text} is a number to base 60 in YAML 1.1", f'write "{text}" in quotes, or a time as 12h or 30m.'
    if "_" in digits:
        return f"{text} has underscores, which not every YAML reader takes", f"write {text.replace('_', '')}."
    if kind == "int" and len(digits) > 1 and digits.startswith("0") and digits[1] not in "xX":
        return f"{text} is not a decimal number in YAML 1.1", f'write {digits.lstrip("0bo") or "0"}, or "{text}" in quotes.'
    return None
