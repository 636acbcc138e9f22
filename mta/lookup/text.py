"""Postfix's text tables as they are written (postmap(1), aliases(5)): logical lines, keys and values; no I/O.

A line that begins with white space continues the one before; empty lines and those whose first character is "#" are no lines, also between
a line and its continuation. Of a key that stands twice the first counts. Keys are folded to lower case.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_KEY = re.compile(r'((?:"(?>(?:[^"\\]|\\.)*)(?:"|\\?\Z)|[^\s"])+)(?:\s+|\Z)(.*)\Z', re.DOTALL)
_ALIAS = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^\s:"]+)\s*:\s*(.*)\Z', re.DOTALL)
_TARGET = re.compile(r'\s*((?:"(?:[^"\\]|\\.)*"|[^,"\s]|[ \t](?=[^,]))+)\s*(?:,|\Z)')


@dataclass(slots=True)
class Entries:
    """What a file says. ``problems``: (line, why) of what was left out."""

    values: dict[str, str] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number of its first line, line without its end)."""
    number, whole = 0, ""
    for at, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        stripped = line.lstrip()
        if not stripped or stripped.startswith("#"):
            continue
        if line[0].isspace() and whole:
            whole += line
            continue
        if whole:
            yield number, whole
        number, whole = at, line
    if whole:
        yield number, whole


def read_pairs(text: str) -> Entries:
    """``key white space value`` (hash, texthash, lmdb, …)."""
    out = Entries()
    for number, line in logical_lines(text):
        match = _KEY.match(line.strip())
        if line[0].isspace():
            out.problems.append((number, "begins with white space, and there is no line that it goes on from"))
        elif match is None or not match[2]:
            out.problems.append((number, "expected: key, white space, value"))
        else:
            _add(out, number, match[1].lower(), match[2])
    return out


def read_aliases(text: str) -> Entries:
    """``name: target, target`` (aliases(5)); values keep their commas."""
    out = Entries()
    for number, line in logical_lines(text):
        match = _ALIAS.match(line.strip())
        if line[0].isspace():
            out.problems.append((number, "begins with white space, and there is no line that it goes on from"))
        elif match is None or not match[2].strip():
            out.problems.append((number, "expected: name: target, target"))
        else:
            _add(out, number, unquoted(match[1]).lower(), match[2].strip())
    return out


def _add(out: Entries, number: int, key: str, value: str) -> None:
    if key in out.values:
        out.problems.append((number, f"{key[:80]} stands above already: the first one counts"))
    else:
        out.values[key] = value


def unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if len(text) > 1 and text[0] == text[-1] == '"' else text
