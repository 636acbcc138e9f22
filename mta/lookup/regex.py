"""Regular expressions of operators over text of strangers, in bounded time.

Each expression is read once. Where Python's matcher, which goes back and tries again, cannot take long for a text of this length, it
does the work. Where it could (nested repetitions, many of them one after another), a matcher that takes all ways at once does: its time is
the length of the text times that of the expression, whatever the text. It knows no back references and no looking around: an expression
that needs both is refused. Differences to POSIX: alternatives are tried from left to right, the first counts, not the longest.
"""
# SPDX-License-Identifier: Apache-2.0

import importlib
import re
from collections.abc import Callable, Sequence
from typing import Any

_parser: Any = importlib.import_module("re._parser")  # the tree that ``re`` itself compiles: private, and the same since 3.11
_const: Any = importlib.import_module("re._constants")

LONGEST = 8192
"""Characters of a text that the slow matcher looks at."""
_STEPS = 2_000_000
"""Steps that going back may take at most: about 20 milliseconds."""
_MOST_CODE = 5000
_INSIDE = 8
"""A repetition of up to so many is written out, and not counted as one that goes back."""
_CLASSES = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "space": r"\s", "blank": r" \t",
    "punct": r"!-/:-@\[-`{-~", "xdigit": "0-9A-Fa-f", "cntrl": r"\x00-\x1f\x7f", "print": r" -~\x80-\U0010ffff", "graph": r"!-~\x80-\U0010ffff",
    "word": r"\w",
}  # fmt: skip
_CLASS = re.compile(r"\[:(\^?)([a-z]+):\]")


class BadPattern(ValueError):
    """Not an expression, or one that cannot be bounded; says why."""


class Pattern:
    """One expression. ``search`` answers the groups: [whole, first, …], None for those that took no part; or None.

    limit  characters up to which it cannot hold up the event loop
    """

    __slots__ = ("_anchored", "_degree", "_program", "_python", "groups", "heavy", "limit")

    def __init__(
        self, source: str, *, ignorecase: bool = True, multiline: bool = False, dotall: bool = True, verbose: bool = False
    ) -> None:
        """Raises BadPattern."""
        flags = re.IGNORECASE * ignorecase | re.MULTILINE * multiline | re.DOTALL * dotall | re.VERBOSE * verbose
        try:
            text = translated(source)
            self._python = re.compile(text, flags)
            tree = _parser.parse(text, flags)
        except (re.error, RecursionError, OverflowError) as exc:
            raise BadPattern(f"{exc}") from None
        self.groups: int = self._python.groups
        degree, nested, special = _ways(tree, last=True)
        self._anchored = bool(tree) and tree[0] == (_const.AT, _const.AT_BEGINNING) and not multiline
        self._degree = degree + (not self._anchored)
        self.heavy = nested
        self.limit = 0 if nested else int(_STEPS ** (1 / max(self._degree, 1)))
        self._program: _Program | None = None
        if nested or self._degree > 1:
            if special:
                if nested:
                    raise BadPattern("repetitions within repetitions beside back references or looking around: time without bound")
            else:
                try:
                    self._program = _Program(tree, self._python.flags, self.groups)
                except RecursionError:
                    raise BadPattern("too deep") from None

    def search(self, text: str) -> Sequence[str | None] | None:
        if len(text) > self.limit:
            if self._program is not None:
                return self._program.search(text[:LONGEST])
            text = text[: self.limit]
        match = self._python.search(text)
        return None if match is None else (match[0], *match.groups())


def translated(source: str) -> str:
    """POSIX classes in Python's words. Raises BadPattern."""

    def put(match: re.Match[str]) -> str:
        if match[2] not in _CLASSES:
            raise BadPattern(f"[:{match[2]}:] is no class of characters")
        if match[1]:
            raise BadPattern(f"{match[0]} cannot be read: write it without ^")
        return _CLASSES[match[2]]

    return _CLASS.sub(put, source)


def _ways(tree: Any, *, last: bool = False) -> tuple[int, bool, bool]:
    """(repetitions one behind another that may go back, one of them in another, back references or looking around)."""
    degree, nested, special = 0, False, False
    items = list(tree)
    for number, (op, av) in enumerate(items):
        ends = last and number == len(items) - 1
        if op in (_const.MAX_REPEAT, _const.MIN_REPEAT):
            low, high, inner = av
            d, n, s = _ways(inner)
            special |= s
            nested |= n
            if high == low or (high is not _const.MAXREPEAT and high <= _INSIDE and not d):
                degree += d * (1 if high == low == 1 else max(1, min(int(high), _INSIDE)))
                nested |= bool(d) and high != 1 and low > 1
                degree += high != low and high > 1
                continue
            nested |= bool(d) or _chooses(inner)
            degree += not (ends and op is _const.MAX_REPEAT and not d and not _chooses(inner))
        elif op is _const.SUBPATTERN:
            d, n, s = _ways(av[-1], last=ends)
            degree, nested, special = degree + d, nested or n, special or s
        elif op is _const.BRANCH:
            found = [_ways(branch, last=ends) for branch in av[1]]
            degree += max(f[0] for f in found)
            nested |= any(f[1] for f in found)
            special |= any(f[2] for f in found)
        elif op in (_const.ASSERT, _const.ASSERT_NOT):
            d, n, _ = _ways(av[1])
            degree, nested, special = degree + d, nested or n, True
        elif op in (_const.GROUPREF, _const.GROUPREF_EXISTS):
            special = True
        elif op in (getattr(_const, "ATOMIC_GROUP", None), getattr(_const, "POSSESSIVE_REPEAT", None)):
            raise BadPattern("atomic groups and possessive repetitions are not read here: leave the + or ?> out")
    return degree, nested, special


def _chooses(tree: Any) -> bool:
    """There is more than one way through: alternatives, or something that may be left out."""
    for op, av in tree:
        if op is _const.BRANCH:
            return True
        if op is _const.SUBPATTERN and _chooses(av[-1]):
            return True
        if op in (_const.MAX_REPEAT, _const.MIN_REPEAT) and (av[0] != av[1] or _chooses(av[2])):
            return True
    return False


_CHAR, _SPLIT, _JUMP, _SAVE, _TEST, _MATCH = range(6)


class _Program:
    """The expression as instructions; ``search`` follows all ways at once (Pike's machine), so it never goes back."""

    def __init__(self, tree: Any, flags: int, groups: int) -> None:
        """Raises BadPattern."""
        self._flags = flags
        self._slots = 2 * (groups + 1)
        self._code: list[tuple[int, Any, Any]] = []
        self._emit(_SAVE, 0)
        self._compile(tree)
        self._emit(_SAVE, 1)
        self._emit(_MATCH)

    def _emit(self, op: int, a: Any = None, b: Any = None) -> int:
        if len(self._code) >= _MOST_CODE:
            raise BadPattern("too long once its repetitions are written out")
        self._code.append((op, a, b))
        return len(self._code) - 1

    def _compile(self, tree: Any) -> None:
        for op, av in tree:
            if op is _const.SUBPATTERN:
                number = av[0]
                if number is not None:
                    self._emit(_SAVE, 2 * number)
                self._compile(av[-1])
                if number is not None:
                    self._emit(_SAVE, 2 * number + 1)
            elif op is _const.BRANCH:
                self._branch(av[1])
            elif op in (_const.MAX_REPEAT, _const.MIN_REPEAT):
                self._repeat(*av, greedy=op is _const.MAX_REPEAT)
            elif op is _const.AT:
                self._emit(_TEST, _position(av, self._flags))
            else:
                self._emit(_CHAR, _character(op, av, self._flags))

    def _branch(self, branches: Sequence[Any]) -> None:
        ends = []
        for branch in branches[:-1]:
            split = self._emit(_SPLIT)
            self._compile(branch)
            ends.append(self._emit(_JUMP))
            self._code[split] = (_SPLIT, split + 1, len(self._code))
        self._compile(branches[-1])
        for place in ends:
            self._code[place] = (_JUMP, len(self._code), None)

    def _repeat(self, low: int, high: Any, inner: Any, *, greedy: bool) -> None:
        for _ in range(low):
            self._compile(inner)
        if high is _const.MAXREPEAT:
            split = self._emit(_SPLIT)
            self._compile(inner)
            self._emit(_JUMP, split)
            self._fork(split, greedy)
            return
        splits = []
        for _ in range(high - low):
            splits.append(self._emit(_SPLIT))
            self._compile(inner)
        for split in splits:
            self._fork(split, greedy)

    def _fork(self, split: int, greedy: bool) -> None:
        ways = (split + 1, len(self._code))
        self._code[split] = (_SPLIT, *(ways if greedy else ways[::-1]))

    def search(self, text: str) -> Sequence[str | None] | None:
        code = self._code
        threads: list[tuple[int, tuple[int, ...]]] = []
        found: tuple[int, ...] | None = None
        empty = (-1,) * self._slots
        for at in range(len(text) + 1):
            seen: set[int] = set()
            now: list[tuple[int, tuple[int, ...]]] = []
            for place, slots in threads:
                self._follow(place, slots, text, at, seen, now)
            if found is None:
                self._follow(0, empty, text, at, seen, now)
            threads = []
            character = text[at] if at < len(text) else ""
            for place, slots in now:
                op, a, _ = code[place]
                if op == _MATCH:
                    found = slots
                    break
                if character and a(character):
                    threads.append((place + 1, slots))
            if not threads and found is not None:
                break
        if found is None:
            return None
        return [text[found[n] : found[n + 1]] if found[n] >= 0 and found[n + 1] >= 0 else None for n in range(0, self._slots, 2)]

    def _follow(
        self, place: int, slots: tuple[int, ...], text: str, at: int, seen: set[int], out: list[tuple[int, tuple[int, ...]]]
    ) -> None:
        """Every instruction that this way stands at without taking a character, the preferred first."""
        waiting = [(place, slots)]
        while waiting:
            place, slots = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            op, a, b = self._code[place]
            if op == _SPLIT:
                waiting.append((b, slots))
                waiting.append((a, slots))
            elif op == _JUMP:
                waiting.append((a, slots))
            elif op == _SAVE:
                waiting.append((place + 1, (*slots[:a], at, *slots[a + 1 :])))
            elif op == _TEST:
                if a(text, at):
                    waiting.append((place + 1, slots))
            else:
                out.append((place, slots))


def _position(av: Any, flags: int) -> Callable[[str, int], bool]:
    match = re.compile({
        _const.AT_BEGINNING: "^", _const.AT_BEGINNING_STRING: r"\A", _const.AT_END: "$", _const.AT_END_STRING: r"\Z",
        _const.AT_BOUNDARY: r"\b", _const.AT_NON_BOUNDARY: r"\B",
    }[av], flags & re.MULTILINE).match  # fmt: skip
    return lambda text, at: match(text, at) is not None


def _character(op: Any, av: Any, flags: int) -> Callable[[str], bool]:
    """Does one character fit? Asked of ``re``, which knows cases and categories, with an expression for this character alone."""
    if op is _const.ANY:
        return (lambda _c: True) if flags & re.DOTALL else (lambda c: c != "\n")
    source = _source(op, av)
    match = re.compile(source, flags & re.IGNORECASE).match
    known: dict[str, bool] = {}

    def fits(character: str) -> bool:
        if character not in known:
            if len(known) > 1000:
                known.clear()
            known[character] = match(character) is not None
        return known[character]

    return fits


_CATEGORIES = {
    _const.CATEGORY_DIGIT: r"\d", _const.CATEGORY_NOT_DIGIT: r"\D", _const.CATEGORY_SPACE: r"\s", _const.CATEGORY_NOT_SPACE: r"\S",
    _const.CATEGORY_WORD: r"\w", _const.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip


def _source(op: Any, av: Any) -> str:
    if op is _const.LITERAL:
        return re.escape(chr(av))
    if op is _const.NOT_LITERAL:
        return f"[^{re.escape(chr(av))}]"
    if op is _const.IN:
        negated = "^" if av and av[0][0] is _const.NEGATE else ""
        parts = []
        for kind, value in av:
            if kind is _const.LITERAL:
                parts.append(re.escape(chr(value)))
            elif kind is _const.RANGE:
                parts.append(f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}")
            elif kind is _const.CATEGORY:
                parts.append(_CATEGORIES[value])
        return f"[{negated}{''.join(parts)}]"
    raise BadPattern(f"{op} is not read here")
