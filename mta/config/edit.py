"""Edits of the ``plugins:`` section in the operator's own file: one entry comes or goes, every other octet stays.

The place comes from YAML's own marks. An entry that goes is not lost: its lines are commented out with ``#~`` and come back with
``enable`` as they were. Whatever the edit made of the file is read again, and refused with the lines to write by hand when it
differs from what was wanted in anything but this entry.
"""
# SPDX-License-Identifier: Apache-2.0

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mta.config.checks import plugin_table
from mta.config.yaml import read
from mta.model.errors import ConfigError

DEFAULT = "sql"
"""What runs when the file has no ``plugins``."""
_OFF = "#~ "
_OFF_RAW = "#~<"
"""For a line that does not begin with the entry's indentation."""


class _Unusual(Exception):
    """The form of the file is not one of those that we edit."""


def enable(text: str, file: str, name: str, settings: Mapping[str, Any] | None = None) -> str:
    """The text with ``name`` listed last, or where it was switched off. Raises ConfigError with the lines to add by hand."""
    wanted = dict(settings or {})
    try:
        before = _plugins(text, file)
        new = _enabled(text, name, wanted)
        after = _plugins(new, file)
        got = after.pop(name, None)
        if got is None or (wanted and got != wanted) or _rest(text, file) != _rest(new, file) or after != before:
            raise _Unusual
    except (_Unusual, ConfigError) as exc:
        lines = _entry(name, wanted, "  ", "\n").rstrip("\n")
        raise _refusal(file, f"add to plugins:\n{lines}") from exc
    return new


def disable(text: str, file: str, name: str) -> str:
    """The text without ``name``. Raises ConfigError with what to remove by hand."""
    try:
        before = _plugins(text, file)
        before.pop(name, None)
        new = _disabled(text, name)
        if _rest(text, file) != _rest(new, file) or _plugins(new, file) != before:
            raise _Unusual
    except (_Unusual, ConfigError) as exc:
        raise _refusal(file, f"remove {name} from plugins yourself.") from exc
    return new


def write(file: str, text: str) -> Path:
    """Put the text in place, mode and owner kept, the old one beside it as ``FILE.bak``. Returns the copy's path. Raises OSError."""
    path = Path(os.path.realpath(file))
    found = path.stat()
    copy = path.with_name(f"{path.name}.bak")
    for target, octets in ((copy, path.read_bytes()), (path, text.encode())):
        draft = target.with_name(f".{target.name}.new")
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as stream:
            if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(stream.fileno(), found.st_uid, found.st_gid)
            os.fchmod(stream.fileno(), found.st_mode & 0o7777)
            stream.write(octets)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, target)
    return copy


# ---- what the file says, for comparison


def _tree(text: str, file: str) -> dict[str, Any]:
    tree = read(text, file)
    if tree.problems:
        raise tree.problems[0]
    return tree.value if isinstance(tree.value, dict) else {}


def _plugins(text: str, file: str) -> dict[str, Any]:
    table = plugin_table(_tree(text, file).get("plugins", [DEFAULT]))
    if not isinstance(table, dict):
        raise _Unusual
    return table


def _rest(text: str, file: str) -> dict[str, Any]:
    return {key: value for key, value in _tree(text, file).items() if key != "plugins"}


def _refusal(file: str, lines: str) -> ConfigError:
    return ConfigError(file, "plugins", "the file's form is too unusual to be edited safely; nothing was changed", lines)


# ---- where it says it


def _root(text: str) -> yaml.MappingNode | None:
    node = yaml.compose(text, Loader=yaml.SafeLoader)  # libyaml's marks count octets, these count characters
    if node is None:
        return None
    if not isinstance(node, yaml.MappingNode):
        raise _Unusual
    return node


def _section(root: yaml.MappingNode) -> tuple[yaml.Node, yaml.Node] | None:
    found = next(((k, v) for k, v in root.value if k.value == "plugins"), None)
    if found is not None and found[1].start_mark.index < found[0].end_mark.index:
        raise _Unusual  # an alias: what it names is written elsewhere
    return found


def _end(text: str, node: yaml.Node) -> int:
    """Behind the last character of the node's own text; YAML's mark stands behind comments that follow."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(node, yaml.MappingNode) else last)
    begin, end = node.start_mark.index, node.end_mark.index
    return begin + len(text[begin:end].rstrip())


def _line(text: str, at: int) -> tuple[int, int]:
    """Begin of the line of ``at`` and of the next one."""
    end = text.find("\n", at)
    return text.rfind("\n", 0, at) + 1, len(text) if end < 0 else end + 1


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _entry(name: str, settings: Mapping[str, Any], indent: str, newline: str) -> str:
    if not settings:
        return f"{indent}{name}: {{}}{newline}"
    lines = [f"{indent}{name}:", *(f"{indent}  {_value(key)}: {_value(value)}" for key, value in settings.items())]
    return "".join(line + newline for line in lines)


def _value(value: Any) -> str:
    """JSON is YAML; plain words need no quotes."""
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_./@-]*", value)
    return value if plain and yaml.safe_load(value) == value else json.dumps(value, ensure_ascii=False)


# ---- enable


def _enabled(text: str, name: str, settings: Mapping[str, Any]) -> str:
    root = _root(text)
    section = _section(root) if root else None
    newline = _newline(text)
    if root is not None and root.flow_style:
        return _enabled_in_flow(text, root, section, name, settings)
    if section is None:
        gap = "" if not text or text.endswith("\n") else newline
        return f"{text}{gap}{newline}plugins:{newline}  {DEFAULT}: {{}}{newline}" + _entry(name, settings, "  ", newline)
    key, value = section
    if not isinstance(value, yaml.CollectionNode) or (not value.value and not value.flow_style):
        raise _Unusual
    if value.flow_style:
        return _into_flow(text, value, name, settings)
    first = value.value[0][0] if isinstance(value, yaml.MappingNode) else value.value[0]
    begin, _ = _line(text, first.start_mark.index)
    lead = text[begin : first.start_mark.index]
    if restored := _restored(text, key.end_mark.index, lead, name):
        if settings:
            raise _Unusual  # it has settings already
        return restored
    if isinstance(value, yaml.MappingNode):
        if lead.strip():
            raise _Unusual
        added = _entry(name, settings, lead, newline)
    else:
        if lead.strip() != "-" or settings:
            raise _Unusual
        added = f"{lead}{name}{newline}"
    _, at = _line(text, _end(text, value))
    gap = "" if text[:at].endswith("\n") else newline
    return text[:at] + gap + added + text[at:]


def _enabled_in_flow(
    text: str, root: yaml.MappingNode, section: tuple[yaml.Node, yaml.Node] | None, name: str, settings: Mapping[str, Any]
) -> str:
    if section is None:
        return _into_flow(text, root, "plugins", {DEFAULT: {}, name: dict(settings)})
    if not isinstance(section[1], yaml.CollectionNode):
        raise _Unusual
    return _into_flow(text, section[1], name, settings)


def _into_flow(text: str, node: yaml.CollectionNode, name: str, settings: Mapping[str, Any]) -> str:
    """JSON, ``{sql: {}}`` or ``[sql]``."""
    mapping = isinstance(node, yaml.MappingNode)
    if not mapping and settings:
        raise _Unusual
    last = None if not node.value else node.value[-1]
    keys = last[0] if mapping and last else last
    quoted = json.dumps(name) if keys is None or keys.style == '"' else name
    added = f"{quoted}: {json.dumps(dict(settings), ensure_ascii=False)}" if mapping else quoted
    if last is None:
        at = node.start_mark.index + 1
        return text[:at] + added + text[at:]
    at = _end(text, last[1] if mapping else last)
    return f"{text[:at]}, {added}{text[at:]}"


def _restored(text: str, begin: int, lead: str, name: str) -> str:
    """The text with the commented-out entry back in place; "" when there is none."""
    indent = lead[: len(lead) - len(lead.lstrip())]
    lines = text[begin:].splitlines(keepends=True)
    off, off_raw = indent + _OFF, indent + _OFF_RAW
    entry = re.compile(re.escape(off) + r"(-\s+)?[\"']?" + re.escape(name) + r"[\"']?\s*(:|#|$)")
    at = next((i for i, line in enumerate(lines) if entry.match(line)), None)
    if at is None:
        return ""
    back = [indent + lines[at][len(off) :]]
    for line in lines[at + 1 :]:
        body = line[len(off) :]
        if line.startswith(off_raw):
            back.append(line[len(off_raw) :])
        elif line.startswith(off) and (body[:1] in (" ", "\t", "#") or (body.startswith("-") and not lead.strip())):
            back.append(indent + body)
        else:
            break
    return text[:begin] + "".join([*lines[:at], *back, *lines[at + len(back) :]])


# ---- disable


def _disabled(text: str, name: str) -> str:
    root = _root(text)
    section = _section(root) if root else None
    if section is None or not isinstance(section[1], yaml.CollectionNode):
        raise _Unusual
    node = section[1]
    pairs = [(i, i) for i in node.value] if isinstance(node, yaml.SequenceNode) else node.value
    at = next((i for i, (key, _) in enumerate(pairs) if key.value == name), None)
    if at is None:
        raise _Unusual
    begin, end = pairs[at][0].start_mark.index, _end(text, pairs[at][1])
    if node.flow_style:
        return _cut_from_flow(text, pairs, at, begin, end)
    first, _ = _line(text, begin)
    lead = text[first:begin]
    if lead.strip() not in ("", "-"):
        raise _Unusual
    indent = lead[: len(lead) - len(lead.lstrip())]
    _, last = _line(text, max(begin, end - 1))
    lines = text[first:last].splitlines(keepends=True)
    off = [
        indent + _OFF + line[len(indent) :] if line.startswith(indent) and line.strip() else indent + _OFF_RAW + line
        for line in lines
    ]
    return text[:first] + "".join(off) + text[last:]


def _cut_from_flow(text: str, pairs: Any, at: int, begin: int, end: int) -> str:
    if at:
        cut = _end(text, pairs[at - 1][1]), end
    elif len(pairs) > 1:
        cut = begin, pairs[1][0].start_mark.index
    else:
        cut = begin, end
    if "#" in text[cut[0] : begin] or "#" in text[end : cut[1]]:
        raise _Unusual
    return text[: cut[0]] + text[cut[1] :]
