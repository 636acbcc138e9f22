"""Verdicts of connection and envelope hooks, as replies; and the log line of every refusal."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence
from typing import Any

from mta.model.reply import Reply
from mta.model.verdict import Action
from mta.pipeline.hooks import Decision
from mta.pipeline.transaction import MailTransaction
from mta.smtpd.protocol import SmtpProtocol


def refusal(
    link: SmtpProtocol, event: str, decision: Decision, *, transaction: MailTransaction | None = None, **about: Any
) -> Reply | None:
    """The reply for reject and defer, logged as ``event``; None: go on."""
    verdict = decision.verdict
    if verdict is None or verdict.action not in (Action.REJECT, Action.DEFER):
        return None
    steps = link.peer.steps if transaction is None else (*link.peer.steps, *transaction.steps)
    reply = verdict.reply()
    return refused(link, event, reply, transaction=transaction, steps=steps, plugin=decision.plugin, reason=verdict.reason, **about)


def judge_session(link: SmtpProtocol, event: str, decision: Decision, **about: Any) -> Reply | None:
    """The same, with the plugins' words noted on the session."""
    if decision.steps:
        link.peer.score += decision.score
        link.peer.steps = (*link.peer.steps, *decision.steps)
    return refusal(link, event, decision, **about)


def judge_transaction(
    link: SmtpProtocol, transaction: MailTransaction, event: str, decision: Decision, **about: Any
) -> Reply | None:
    """The same, with the plugins' words noted on the transaction."""
    transaction.score += decision.score
    transaction.steps.extend(decision.steps)
    reply = refusal(link, event, decision, transaction=transaction, id=transaction.id, sender=transaction.sender or "", **about)
    if reply is None and decision.verdict is not None:
        transaction.keep(decision.verdict, decision.plugin)
    return reply


def refused(
    link: SmtpProtocol,
    event: str,
    reply: Reply,
    *,
    transaction: MailTransaction | None = None,
    steps: Sequence[Mapping[str, Any]] = (),
    **about: Any,
) -> Reply:
    """Log one refusal, note it for the trace, and return it. ``event``: "smtp.<stage>.refused", or "auth.refused"."""
    peer = link.peer
    if (refusals := link.server.refusals) is not None:
        stage = event.removeprefix("smtp.").removesuffix(".refused")
        who: tuple[str, ...] = (str(about["recipient"]),) if "recipient" in about else ()
        if transaction is not None and stage == "data":
            who = tuple(str(r.original) for r in transaction.recipients)
        refusals.add(stage, reply, peer, transaction=transaction, recipients=who, steps=steps, plugin=str(about.get("plugin", "")))
    link.server.log.info(event, session=peer.id, client=peer.client_ip, helo=peer.helo, user=peer.user, reply=str(reply), **about)
    return reply
