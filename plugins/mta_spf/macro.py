"""Macros (RFC 7208 §7): macro-strings as tokens, and what they expand to. Pure; values come from the evaluation."""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

LETTERS = frozenset("slodiphv")
EXPLAIN_LETTERS = LETTERS | frozenset("crt")  # RFC 7208 §7.2: these three in explanation text only

_TOKEN = re.compile(r"%\{([A-Za-z])([0-9]*)([rR]?)([.\-+,/_=]*)\}|%([%_-])|([ -$&-~]+)")
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}
_TOP_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\Z")
_LABEL = r"[ -\-/-\[\]-~]{1,63}"  # anything printable but the backslash, which is DNS's own quoting
_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}\Z")


class Malformed(ValueError):
    """What is published does not follow the grammar: permerror. The text says what, for Authentication-Results."""


@dataclass(frozen=True, slots=True)
class Macro:
    """One ``%{…}``: the letter in lower case; keep the ``count`` rightmost parts, 0 for all."""

    letter: str
    count: int
    reverse: bool
    delimiters: str
    escape: bool

    def expand(self, value: str) -> str:
        if self.count or self.reverse or self.delimiters != ".":
            first = self.delimiters[0]
            for other in self.delimiters[1:]:
                value = value.replace(other, first)
            parts = value.split(first)
            if self.reverse:
                parts.reverse()
            value = ".".join(parts[-self.count :])
        return quote(value, safe="", errors="replace") if self.escape else value


@dataclass(frozen=True)
class MacroString:
    tokens: tuple[str | Macro, ...]

    @cached_property
    def letters(self) -> frozenset[str]:
        return frozenset(token.letter for token in self.tokens if isinstance(token, Macro))

    def expand(self, values: Mapping[str, str], wanted: int = 1 << 20) -> str:
        """Return the text, or as much of its right side as makes ``wanted`` characters: the rest is not worth the work."""
        pieces: list[str] = []
        size = 0
        for token in reversed(self.tokens):
            piece = token if isinstance(token, str) else token.expand(values[token.letter])
            pieces.append(piece)
            size += len(piece)
            if size >= wanted:
                break
        return "".join(reversed(pieces))


def parse_macros(text: str, letters: frozenset[str] = EXPLAIN_LETTERS) -> MacroString:
    """Read a macro-string, or an explain-string. Raises Malformed."""
    tokens: list[str | Macro] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise Malformed("malformed macro or character")
        position = match.end()
        letter, digits, reverse, delimiters, escape, literal = match.groups()
        if letter is None:
            tokens.append(literal or _ESCAPES[escape])
            continue
        if letter.lower() not in letters:
            raise Malformed(f"macro {letter} is not allowed")
        significant = digits.lstrip("0")
        if digits and not significant:
            raise Malformed("macro keeps no part")
        count = int(significant[:4] or 0)  # more parts than any name has
        unique = "".join(dict.fromkeys(delimiters)) or "."
        tokens.append(Macro(letter.lower(), count, bool(reverse), unique, letter.isupper()))
    return MacroString(tuple(tokens))


def parse_domain(text: str) -> MacroString:
    """Read a domain-spec: a macro-string that ends in a macro or in a top label with a dot before it. Raises Malformed."""
    parsed = parse_macros(text, LETTERS)
    if not text:
        raise Malformed("domain is missing")
    if not (isinstance(parsed.tokens[-1], Macro) or text[-2:] in ("%%", "%_", "%-")):
        _, dot, label = text.removesuffix(".").rpartition(".")
        if not dot or not _TOP_LABEL.match(label) or label.isdigit():
            raise Malformed("malformed domain")
    return parsed


NAME_WANTED = 255
"""Characters that decide a name: 253, a dot before and a dot after."""


def query_name(text: str) -> str | None:
    """Return a name to ask for, made of an expanded domain; None when DNS cannot have it (RFC 8616 §4: not ASCII, say)."""
    name = text.removesuffix(".")
    if len(name) > 253:  # RFC 7208 §7.3: labels on the left go
        name = name[-253:] if name[-254] == "." else name[-253:].partition(".")[2]
    return name if _NAME.match(name) else None
