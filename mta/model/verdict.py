"""What a hook may decide. Values, so that they cross to executables and other processes as JSON unchanged."""
# SPDX-License-Identifier: Apache-2.0

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mta.model.reply import Reply


class Action(StrEnum):
    ACCEPT = "accept"
    REJECT = "reject"
    DEFER = "defer"
    DISCARD = "discard"
    QUARANTINE = "quarantine"
    HOLD = "hold"
    REDIRECT = "redirect"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decision. ``None`` in its place means no opinion: the next plugin is asked.

    code, enhanced, text  what the peer reads, for reject (5xx) and defer (4xx); text for accept is ignored
    reason                what the log and the trace keep; the peer never sees it
    target                where to, for redirect: addresses
    score                 added to the message's score; a verdict of ACCEPT with a score does not end the chain
    hang_up               close the connection after the reply
    delay                 seconds until the next attempt, for defer in ``delivery_attempt``; None: the retry schedule
    """

    action: Action
    code: int = 0
    enhanced: str = ""
    text: str = ""
    reason: str = ""
    target: tuple[str, ...] = ()
    score: float = 0.0
    hang_up: bool = False
    delay: float | None = None

    @property
    def final(self) -> bool:
        """True when no later plugin is asked."""
        return not (self.action is Action.ACCEPT and self.score)

    def disconnect(self) -> "Verdict":
        return dataclasses.replace(self, hang_up=True)

    def reply(self) -> Reply:
        """The reply for REJECT and DEFER."""
        return Reply(self.code, self.enhanced, self.text, self.hang_up)

    def to_json(self) -> dict[str, Any]:
        """Only what differs from the default, for the wire and the trace."""
        out: dict[str, Any] = {"action": str(self.action)}
        for f in dataclasses.fields(self)[1:]:
            value = getattr(self, f.name)
            if value != f.default:
                out[f.name] = list(value) if isinstance(value, tuple) else value
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Verdict":
        """Raises ValueError for an unknown action or key, TypeError for a wrong type."""
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = set(data) - known
        if unknown:
            raise ValueError(f"unknown key {min(unknown)!r} in verdict")
        values = dict(data)
        action = Action(values.pop("action"))
        if "target" in values:
            values["target"] = tuple(values["target"])
        make = {Action.REJECT: reject, Action.DEFER: defer}.get(action)
        if make is not None and "code" not in values:
            base = make(values.pop("text", "") or ("refused" if action is Action.REJECT else "try again later"))
            return dataclasses.replace(base, **values)
        return cls(action, **values)


def accept(reason: str = "", *, score: float = 0.0) -> Verdict:
    """Yes. In ``smtp_rcpt`` this is what lets a recipient in; elsewhere later plugins are not asked (unless it carries a score)."""
    return Verdict(Action.ACCEPT, reason=reason, score=score)


def reject(text: str, *, code: int = 550, enhanced: str = "5.7.1", reason: str = "") -> Verdict:
    """Refuse for good. ``code`` 500-599."""
    if not 500 <= code <= 599:
        raise ValueError(f"reject takes a 5xx code, not {code}")
    return Verdict(Action.REJECT, code, enhanced, text, reason)


def defer(text: str, *, code: int = 451, enhanced: str = "4.7.1", reason: str = "", delay: float | None = None) -> Verdict:
    """Refuse for now; the peer keeps the message and tries again. ``code`` 400-499; ``delay`` is for ``delivery_attempt``."""
    if not 400 <= code <= 499:
        raise ValueError(f"defer takes a 4xx code, not {code}")
    return Verdict(Action.DEFER, code, enhanced, text, reason, delay=delay)


def discard(reason: str) -> Verdict:
    """Answer as if accepted and throw away; the trace keeps the reason."""
    return Verdict(Action.DISCARD, reason=reason)


def quarantine(reason: str) -> Verdict:
    """Accept, but keep from the recipient: local mail goes to Junk, relayed mail is held."""
    return Verdict(Action.QUARANTINE, reason=reason)


def hold(reason: str) -> Verdict:
    """Accept and keep in the queue until ``mta queue release``."""
    return Verdict(Action.HOLD, reason=reason)


def redirect(*addresses: str, reason: str = "") -> Verdict:
    """Accept for these addresses instead."""
    return Verdict(Action.REDIRECT, target=addresses, reason=reason)


def add_score(score: float, reason: str = "") -> Verdict:
    """No decision; the message's score grows by this much (negative: shrinks)."""
    return Verdict(Action.ACCEPT, reason=reason, score=score)
