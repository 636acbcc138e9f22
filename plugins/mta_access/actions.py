"""What stands right in an access table (access(5) of Postfix): read into a value, without a server."""
# SPDX-License-Identifier: Apache-2.0

import re
from dataclasses import dataclass, replace
from typing import Literal

from mta_hooks import AddHeader, AddRecipient, Address, Edit, Verdict, defer, discard, hold, redirect, reject

Kind = Literal["ok", "dunno", "verdict", "edit", "warn"]

_CODE = re.compile(r"([45]\d\d)(?:\s+([245]\.\d{1,3}\.\d{1,3}))?(?:\s+(.*))?\Z", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})\s+(.*)\Z", re.DOTALL)
_HEADER = re.compile(r"([!-9;-~]+):\s*(.*)\Z", re.DOTALL)
_TEXT = re.compile(r"[^ -~]+")


class BadAction(ValueError):
    """What stands there is no action, or one that is not done here; the text says why."""


@dataclass(frozen=True, slots=True)
class Step:
    """``ok`` ends the questions of its list, as does ``dunno`` without a word; ``warn`` is for the log."""

    kind: Kind
    verdict: Verdict | None = None
    edit: Edit | None = None
    text: str = ""


def read_action(value: str, what: str) -> Step:
    """``what``: whose access is denied, for the reply: "Sender address rejected". Raises BadAction."""
    word, _, rest = value.strip().partition(" ")
    word, rest = word.upper(), _TEXT.sub(" ", rest.strip())[:500]
    if word in ("OK", "RELAY", "PERMIT") or value.strip().isdigit():
        return _number(value, what) if _CODE.match(value.strip()) else Step("ok")
    if word in ("DUNNO", ""):
        return Step("dunno")
    if word in ("REJECT", "DEFER", "DEFER_IF_PERMIT", "DEFER_IF_REJECT"):
        return _refusal(word, rest, what)
    if _CODE.match(value.strip()):
        return _number(value, what)
    match word:
        case "DISCARD":
            return Step("verdict", discard(rest or what))
        case "HOLD":
            return Step("verdict", hold(rest or what))
        case "REDIRECT":
            return Step("verdict", redirect(str(_address(word, rest)), reason=what))
        case "BCC":
            return Step("edit", edit=AddRecipient(_address(word, rest)))
        case "PREPEND":
            header = _HEADER.match(rest)
            if header is None or not header[2]:
                raise BadAction("PREPEND takes a header field: PREPEND X-Note: text")
            return Step("edit", edit=AddHeader(header[1], header[2]))
        case "WARN" | "INFO":
            return Step("warn", text=rest or what)
        case "FILTER":
            raise BadAction("FILTER is not done here: use a route, or a plugin that filters")
    raise BadAction(f"{word[:40]} is no action; restrictions of Postfix by name are not read: config order says what is asked")


def _refusal(word: str, rest: str, what: str) -> Step:
    enhanced = ""
    if found := _ENHANCED.match(rest):
        enhanced, rest = found[1], found[2]
    text = rest or f"{what}: access denied"
    if word == "REJECT":
        return Step("verdict", reject(text, code=554, enhanced=enhanced if enhanced.startswith("5") else "5.7.1", reason=what))
    return Step("verdict", defer(text, code=450, enhanced=enhanced if enhanced.startswith("4") else "4.7.1", reason=what))


def _number(value: str, what: str) -> Step:
    found = _CODE.match(value.strip())
    if found is None:
        return Step("ok")
    code, enhanced, text = int(found[1]), found[2] or "", _TEXT.sub(" ", found[3] or f"{what}: access denied")[:500]
    if enhanced[:1] != found[1][0]:
        enhanced = f"{found[1][0]}.7.1"
    made = (
        reject(text, code=code, enhanced=enhanced, reason=what)
        if code >= 500
        else defer(text, code=code, enhanced=enhanced, reason=what)
    )
    return Step("verdict", replace(made, hang_up=code in (421, 521)))


def _address(word: str, text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as exc:
        raise BadAction(f"{word} takes an address: {exc}") from None
