"""What stands right in a table of header_checks(5): read into a value, without a server."""
# SPDX-License-Identifier: Apache-2.0

import re
from dataclasses import dataclass
from typing import Literal

from mta_hooks import Address, Verdict, discard, hold, redirect, reject

Kind = Literal["dunno", "pass", "verdict", "warn", "bcc", "prepend", "replace", "ignore", "strip"]

_WORDS: dict[str, Kind] = {
    "DUNNO": "dunno", "OK": "dunno", "PASS": "pass", "WARN": "warn", "INFO": "warn", "PREPEND": "prepend", "REPLACE": "replace",
    "IGNORE": "ignore", "STRIP": "strip",
}  # fmt: skip
_ENHANCED = re.compile(r"(5\.\d{1,3}\.\d{1,3})\s+(.*)\Z", re.DOTALL)
_TEXT = re.compile(r"[^ -~]+")


class BadAction(ValueError):
    """What stands there is no action, or one that is not done here; the text says why."""


@dataclass(frozen=True, slots=True)
class Step:
    """``final``: nothing more of the message is looked at."""

    kind: Kind
    text: str = ""
    verdict: Verdict | None = None
    final: bool = False


def read_action(value: str) -> Step:
    """Raises BadAction."""
    word, _, rest = value.strip().partition(" ")
    word, rest = word.upper(), rest.strip()
    if word in _WORDS:
        if word in ("PREPEND", "REPLACE") and not rest:
            raise BadAction(f"{word} takes a text")
        return Step(_WORDS[word], rest)
    line = _TEXT.sub(" ", rest)[:500]
    match word:
        case "REJECT":
            found = _ENHANCED.match(line)
            enhanced, line = (found[1], found[2]) if found else ("5.7.1", line)
            return Step("verdict", verdict=reject(line or "message content rejected", enhanced=enhanced), final=True)
        case "DISCARD":
            return Step("verdict", verdict=discard(line or "checks"), final=True)
        case "HOLD":
            return Step("verdict", verdict=hold(line or "checks"))
        case "REDIRECT":
            return Step("verdict", verdict=redirect(_address(word, rest)))
        case "BCC":
            return Step("bcc", _address(word, rest))
        case "FILTER" | "DELAY":
            raise BadAction(f"{word} is not done here: use a route, or a plugin")
    raise BadAction(f"{word[:40]} is no action")


def _address(word: str, text: str) -> str:
    try:
        return str(Address.parse(text))
    except ValueError as exc:
        raise BadAction(f"{word} takes an address: {exc}") from None
