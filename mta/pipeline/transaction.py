"""One mail transaction: sender, accepted recipients and what each of them stands for."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from mta.directory.resolve import Resolution
from mta.model.address import Address
from mta.model.errors import Refused
from mta.model.ids import QueueId
from mta.model.message import Origin, Recipient
from mta.model.reply import Reply
from mta.model.verdict import Action, Verdict
from mta.pipeline.hooks import Decision

_SAME: Mapping[str, Reply] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Accepted:
    """A recipient that was let in.

    resolution  what it stands for; empty when discarded
    quarantine, hold  reasons, "" for none; they come from ``smtp_rcpt`` or are a verdict for this recipient alone
    tag               not "": refused to this recipient, and accepted all the same (``mixed_verdict: accept_tagged``)
    """

    recipient: Recipient
    resolution: Resolution
    quarantine: str = ""
    hold: str = ""
    tag: str = ""


class MailTransaction:
    """Fulfils mta_hooks.views.Transaction. Made by MAIL, dropped by RSET, a new greeting, or the message's end.

    id        the queue id that the message will have
    accepted  in the order of RCPT; ``recipients`` shows hooks the same
    eightbit  BODY=8BITMIME; binary: BODY=BINARYMIME; smtputf8: SMTPUTF8 was given
    believed  the client is known: it logged in, or is of a relay network
    bound     its author must be the account that submits it
    requiretls, priority, deliver_by, by_mode  as of Intake
    release_at  wall clock before which it is not delivered (RFC 4865); 0.0: at once
    score     sum of what hooks added before the message was complete
    steps     trace steps of those hooks
    discard, quarantine, hold  reasons, "" for none; what those hooks said of the whole message
    asked     recipients in the peer's words, one for each RCPT that was accepted: LMTP has a reply for each
    replies   those of them who are told something else than the others
    message_id  of the message, once it is there
    policy    answer of ``rcpt_policy_key`` that all recipients share
    """

    __slots__ = (
        "accepted", "asked", "believed", "binary", "bound", "by_mode", "deliver_by", "discard", "eightbit", "envid", "hold", "id",
        "message_id", "notes", "origin", "params", "policy", "priority", "quarantine", "release_at", "replies", "requiretls", "ret",
        "score", "sender", "smtputf8", "steps",
    )  # fmt: skip

    def __init__(self, id: QueueId, origin: Origin, sender: Address | None, params: Mapping[str, str | None]) -> None:
        self.id = id
        self.origin: Origin = origin
        self.sender = sender
        self.params = params
        self.accepted: list[Accepted] = []
        self.eightbit = self.binary = False
        self.smtputf8 = self.requiretls = self.bound = self.believed = False
        self.priority = 0
        self.release_at = 0.0
        self.deliver_by: float | None = None
        self.by_mode = ""
        self.ret: str | None = None
        self.envid: str | None = None
        self.notes: dict[str, Any] = {}
        self.score = 0.0
        self.steps: list[Mapping[str, Any]] = []
        self.discard = self.quarantine = self.hold = ""
        self.asked: list[str] = []
        self.replies: Mapping[str, Reply] = _SAME
        self.policy: str | None = None
        self.message_id = ""

    @property
    def recipients(self) -> Sequence[Recipient]:
        return [a.recipient for a in self.accepted]

    def keep(self, verdict: Verdict, plugin: str) -> None:
        """Note a verdict that refuses nothing, given before the message was complete."""
        reason = verdict.reason or f"by {plugin}"
        if verdict.action is Action.DISCARD:
            self.discard = reason
        elif verdict.action is Action.QUARANTINE:
            self.quarantine = reason
        elif verdict.action is Action.HOLD:
            self.hold = reason


def heed(transaction: MailTransaction, decision: Decision) -> None:
    """Note what hooks said of a message that is not complete or not judged yet. Raises Refused."""
    transaction.score += decision.score
    transaction.steps.extend(decision.steps)
    verdict = decision.verdict
    if verdict is None:
        return
    if verdict.action in (Action.REJECT, Action.DEFER):
        raise Refused(verdict.reply(), f"{decision.plugin}: {verdict.reason}" if verdict.reason else decision.plugin)
    transaction.keep(verdict, decision.plugin)
