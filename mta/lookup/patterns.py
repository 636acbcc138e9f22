"""``regexp:`` and ``pcre:`` tables (regexp_table(5), pcre_table(5)): /pattern/flags value, "!", if and endif, $1 ${1} $(1) $$ in values.

The first expression that holds counts. Case does not matter unless the flag i says so. Left out, with a word in the log: basic regular
expressions (flag x of regexp), the flags A, E, U and X of pcre.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from mta.lookup.regex import BadPattern, Pattern
from mta.lookup.text import logical_lines

_REFERENCE = re.compile(r"\$(?:(\$)|(\d+)|\{(\d+)\}|\((\d+)\)|(.?))", re.DOTALL)


@dataclass(slots=True)
class _Rule:
    """``parts``: of the value, texts and numbers of groups. ``skip``: of an ``if``, the rule behind its ``endif``; 0: none."""

    pattern: Pattern
    negated: bool
    parts: tuple[str | int, ...] = ()
    skip: int = 0


@dataclass(slots=True)
class Patterns:
    """What a file says. ``problems``: (line, why) of rules that were left out."""

    problems: list[tuple[int, str]] = field(default_factory=list)
    _rules: list[_Rule] = field(default_factory=list)
    _limit: int = 0

    @classmethod
    def read(cls, text: str, *, perl: bool) -> "Patterns":
        out = cls()
        opened: list[tuple[_Rule | None, int]] = []
        for number, line in logical_lines(text):
            line = line.strip()
            word = line[:5].lower()
            if word == "endif":
                if not opened:
                    out.problems.append((number, "endif without if"))
                elif (rule := opened.pop()[0]) is not None:
                    rule.skip = len(out._rules)
                continue
            conditional = word.startswith("if") and line[2:3].isspace()
            try:
                rule = _rule(line[2:].lstrip() if conditional else line, perl, conditional)
            except BadPattern as exc:
                out.problems.append((number, str(exc)))
                rule = None
            if conditional:
                opened.append((rule, number))
                if rule is not None:
                    rule.skip = -1
            if rule is not None:
                out._rules.append(rule)
        for rule, number in opened:
            out.problems.append((number, "if without endif"))
            if rule is not None:
                rule.skip = len(out._rules)
        out._limit = min((rule.pattern.limit for rule in out._rules), default=2**31)
        return out

    def quick(self, key: str) -> bool:
        """Asking takes no time worth a thread."""
        return len(key) <= self._limit

    def get(self, key: str) -> str | None:
        at = 0
        while at < len(self._rules):
            rule = self._rules[at]
            groups = rule.pattern.search(key)
            holds = (groups is not None) != rule.negated
            if rule.skip:
                at = at + 1 if holds else rule.skip
                continue
            if holds:
                return _filled(rule.parts, groups)
            at += 1
        return None


def _filled(parts: Sequence[str | int], groups: Sequence[str | None] | None) -> str:
    return "".join(part if isinstance(part, str) else (groups or ())[part] or "" for part in parts)


def _rule(line: str, perl: bool, conditional: bool) -> _Rule:
    negated = line.startswith("!")
    line = line.removeprefix("!").lstrip() if negated else line
    mark = line[:1]
    if not mark or mark.isalnum() or mark.isspace() or mark == "\\":
        raise BadPattern("expected: /pattern/flags value")
    at, source = 1, ""
    while at < len(line) and line[at] != mark:
        if line[at] == "\\" and at + 1 < len(line):
            source += mark if line[at + 1] == mark else line[at : at + 2]
            at += 2
        else:
            source += line[at]
            at += 1
    if at >= len(line):
        raise BadPattern(f"no {mark} behind the pattern")
    behind = line[at + 1 :]
    flags, value = ("", behind) if behind[:1].isspace() else ([*behind.split(None, 1), "", ""])[:2]
    pattern = _pattern(source, flags, perl)
    parts = () if conditional else _parts(value.strip())
    if not parts and not conditional:
        raise BadPattern("expected a value behind the pattern")
    numbers = [part for part in parts if isinstance(part, int)]
    if numbers and negated:
        raise BadPattern("$1 in the value of a negated pattern: nothing was matched")
    if numbers and max(numbers) > pattern.groups:
        raise BadPattern(f"${max(numbers)}: the pattern has {pattern.groups} groups")
    return _Rule(pattern, negated, parts)


def _pattern(source: str, flags: str, perl: bool) -> Pattern:
    """Each flag turns about what holds without it: case does not matter; "." is a line end too with pcre and regexp alike."""
    on = {"i": True, "m": False, "x": False, "s": True}
    for flag in flags:
        if flag not in on or (flag == "s" and not perl):
            raise BadPattern(f"the flag {flag} is not known here")
        if flag == "x" and not perl:
            raise BadPattern("basic regular expressions (flag x) are not read here: write an extended one")
        on[flag] = not on[flag]
    return Pattern(source, ignorecase=on["i"], multiline=on["m"], dotall=on["s"], verbose=on["x"])


def _parts(value: str) -> tuple[str | int, ...]:
    parts: list[str | int] = []
    at = 0
    for match in _REFERENCE.finditer(value):
        if match.start() > at:
            parts.append(value[at : match.start()])
        number = match[2] or match[3] or match[4]
        if match[1]:
            parts.append("$")
        elif number is not None:
            parts.append(int(number))
        else:
            raise BadPattern(f"{match[0]} in the value: write $1, ${{1}}, $(1), or $$ for a dollar")
        at = match.end()
    if at < len(value):
        parts.append(value[at:])
    return tuple(parts)
