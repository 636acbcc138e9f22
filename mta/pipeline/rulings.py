"""What check, verdict hooks and scores say of each recipient, and what becomes of it where the peer has one reply for all.

RFC 5321 §4.2.5 knows one reply to a message: whoever accepts it for one recipient accepts it for all, and a bounce would
hit somebody who sent nothing. RFC 2033 §4.2 (LMTP) has a reply for each.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mta.config.sections import Spam
from mta.directory.resolve import Resolution
from mta.model.errors import Refused
from mta.model.message import Origin
from mta.model.reply import Reply
from mta.model.verdict import Action, Verdict, accept, discard, quarantine, reject
from mta.pipeline.hooks import Decision
from mta.pipeline.transaction import Accepted

Mixed = Literal["quarantine", "discard", "accept_tagged"]


@dataclass(frozen=True, slots=True)
class Ruling:
    """``verdict`` None: deliver. ``plugin``: who said so, "" for the scores. ``mixed``: in place of a refusal."""

    verdict: Verdict | None = None
    plugin: str = ""
    mixed: bool = False

    @property
    def refuses(self) -> bool:
        return self.verdict is not None and self.verdict.action in (Action.REJECT, Action.DEFER)

    @property
    def reason(self) -> str:
        return (self.verdict.reason if self.verdict is not None else "") or f"by {self.plugin}"

    def refusal(self, name: str = "") -> Refused:
        """``name``: the recipient, where the peer has to be told which."""
        assert self.verdict is not None
        reply = self.verdict.reply()
        if name:
            reply = replace(reply, text=f"{name}: {reply.text}")
        detail = (
            f"{self.plugin}: {self.verdict.reason}" if self.plugin and self.verdict.reason else self.plugin or self.verdict.reason
        )
        return Refused(reply, detail)


DELIVER = Ruling()


def by_score(score: float, spam: Spam) -> Ruling:
    """What the config says of a score."""
    if score >= spam.reject:
        return Ruling(reject("message was judged to be spam", reason=f"score {score:.1f}"))
    if score >= spam.junk:
        return Ruling(quarantine(f"score {score:.1f}"))
    return DELIVER


def undecided(decision: Decision | None, accepted: Sequence[Accepted]) -> list[Accepted]:
    """Whom ``message_check`` left to others."""
    if decision is None:
        return list(accepted)
    if decision.verdict is not None:
        return []
    return [a for a in accepted if str(a.recipient.address) not in decision.each]


def rule(
    decision: Decision | None,
    answer: tuple[str, Verdict | Mapping[object, Verdict] | None],
    rest: Ruling,
    accepted: Sequence[Accepted],
) -> list[Ruling]:
    """One ruling for each of ``accepted``: of the check, else of the verdict hook (``answer``: plugin and answer), else ``rest``."""
    plugin, said = answer
    known: dict[str, Ruling] = {}
    if isinstance(said, Mapping):
        known = {str(who): Ruling(verdict, plugin) for who, verdict in said.items()}
    elif said is not None:
        rest = Ruling(said, plugin)
    if decision is not None:
        if decision.verdict is not None:
            rest = Ruling(decision.verdict, decision.plugin)
        known |= {who: Ruling(*word) for who, word in decision.each.items()}
    return [known.get(str(a.recipient.address), rest) for a in accepted]


def uniform(rulings: Sequence[Ruling]) -> bool:
    return all(r.verdict == rulings[0].verdict for r in rulings)


def divide(
    rulings: Sequence[Ruling], accepted: Sequence[Accepted], origin: Origin, mixed: Mixed
) -> tuple[list[tuple[Accepted, Ruling]], dict[str, Reply]]:
    """For rulings that differ: those who get the message, with what becomes of it, and replies to those who do not (LMTP).

    Raises Refused where the door has no other word for a recipient who may not have it.
    """
    pairs = list(zip(accepted, rulings, strict=True))
    refused = [(one, ruling) for one, ruling in pairs if ruling.refuses]
    if not refused:
        return pairs, {}
    if origin == "lmtp":
        kept = [pair for pair in pairs if not pair[1].refuses]
        told = {str(one.recipient.original) for one, _ in kept}
        replies = {
            str(one.recipient.original): ruling.refusal().reply
            for one, ruling in refused
            if str(one.recipient.original) not in told
        }
        return kept, replies
    if origin != "smtp":
        one, ruling = refused[0]
        raise ruling.refusal(str(one.recipient.original))
    if len(refused) == len(pairs):  # all may not have it, for different reasons: now, if one may not for now
        raise min(refused, key=lambda pair: pair[1].refusal().reply.code)[1].refusal()
    return [(one, _instead(ruling, mixed) if ruling.refuses else ruling) for one, ruling in pairs], {}


def _instead(ruling: Ruling, mixed: Mixed) -> Ruling:
    reason = f"mixed verdict: {ruling.reason}"
    if mixed == "discard":
        return Ruling(discard(reason), ruling.plugin, mixed=True)
    if mixed == "accept_tagged":
        return Ruling(accept(reason), ruling.plugin, mixed=True)
    return Ruling(quarantine(reason), ruling.plugin, mixed=True)


def settle(one: Accepted, ruling: Ruling) -> Accepted:
    """The recipient with its own ruling; redirect is the caller's."""
    verdict = ruling.verdict
    if verdict is None:
        return one
    match verdict.action:
        case Action.QUARANTINE:
            return replace(one, quarantine=ruling.reason)
        case Action.HOLD:
            return replace(one, hold=ruling.reason)
        case Action.DISCARD:
            return replace(one, resolution=Resolution())
        case _:
            return replace(one, tag=ruling.reason) if ruling.mixed else one
