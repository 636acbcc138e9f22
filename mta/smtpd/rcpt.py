"""RCPT (RFC 5321 §4.1.1.3): one recipient, judged by hooks, then by the directory, then by the relay rules.

Nobody is let in by default: the domain is ours and the directory knows the address, or a hook accepted it, or the client may
relay (authenticated, a relay network, the local socket).
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from mta.directory.resolve import Resolution
from mta.model.address import Address
from mta.model.directory import HookTarget
from mta.model.errors import TemporaryFailure
from mta.model.message import Recipient
from mta.model.reply import Reply
from mta.model.verdict import Action, Verdict
from mta.net.prompt import promptly
from mta.obs.metrics import RECIPIENTS
from mta.pipeline.hooks import Decision, Plan
from mta.pipeline.rewriting import rewrite
from mta.pipeline.transaction import Accepted, MailTransaction
from mta.pluginhost.offered import Offered
from mta.smtpd import replies
from mta.smtpd.parameters import Pending, ask_pending
from mta.smtpd.protocol import SmtpProtocol, Step
from mta.smtpd.verdicts import refused
from mta.wire.smtp.command import Rcpt
from mta.wire.smtp.params import read_notify, read_orcpt

_ROUTED = re.compile("[%!@]")
_PATIENCE = 5
"""Refused commands of a connection before unknown recipients are answered slowly."""
_ACCEPTED, _REFUSED, _DEFERRED = (RECIPIENTS[result] for result in ("accepted", "refused", "deferred"))


def rcpt(link: SmtpProtocol, command: Rcpt) -> Step:
    transaction = link.transaction
    if transaction is None:
        return replies.NEED_MAIL
    if link.chunks is not None:
        return replies.CHUNKS_BEGAN
    if len(transaction.accepted) >= link.server.max_recipients:
        return replies.TOO_MANY_RECIPIENTS
    address, params = command.address, command.params
    orcpt: str | None = None
    notify: frozenset[str] = frozenset()
    pending: Pending = []
    for keyword, value in params.items():
        if keyword == "NOTIFY":
            notify = read_notify(value)
        elif keyword == "ORCPT":
            orcpt = read_orcpt(value)
        elif (check := link.server.hooks.offering.rcpt.get(keyword)) is None:
            return replies.NO_PARAMETER
        elif isinstance(check, Offered):
            pending.append((check, value))
        elif problem := check(value):
            return Reply(501, "5.5.4", problem)
    if _ROUTED.search(address.local) and not link.trusted and not link.peer.user:
        # "a%b@ours", "b!a@ours", "a@b"@ours: some host behind us may read it again, and send it where we would not
        return _refuse(link, transaction, Recipient(address, address), replies.NO_ROUTING)
    if not address.is_ascii and not transaction.smtputf8:
        return replies.NEED_SMTPUTF8
    recipient = Recipient(address, address, orcpt, notify, params)
    if pending:
        return promptly(ask_pending(pending, lambda: _take(link, transaction, recipient)))
    return _take(link, transaction, recipient)


def _take(link: SmtpProtocol, transaction: MailTransaction, recipient: Recipient) -> Step:
    """Its parameters are what they should be."""
    if (rewriting := link.server.hooks.address_rewrite) is not None:
        return promptly(_rewrite(link, transaction, recipient, rewriting))
    if (asked := _ask(link, transaction, recipient)) is None:
        return _resolve(link, transaction, recipient)
    return promptly(_judge(link, transaction, recipient, asked))


def _ask(link: SmtpProtocol, transaction: MailTransaction, recipient: Recipient) -> Coroutine[Any, Any, Decision] | None:
    """What ``smtp_rcpt`` says; None: nobody has anything to say."""
    if (plan := link.server.hooks.smtp_rcpt) is None:
        return None
    return plan.prompt_verdict(session=link.peer, transaction=transaction, recipient=recipient.address, params=recipient.params)


async def _rewrite(link: SmtpProtocol, transaction: MailTransaction, recipient: Recipient, rewriting: Plan) -> Reply:
    """Go on with the address as ``address_rewrite`` has it."""
    recipient = replace(recipient, address=await rewrite(rewriting, recipient.address, "envelope_recipient", transaction))
    if (asked := _ask(link, transaction, recipient)) is None:
        return await _resolve(link, transaction, recipient)
    return await _judge(link, transaction, recipient, asked)


async def _resolve(link: SmtpProtocol, transaction: MailTransaction, recipient: Recipient, verdict: Verdict | None = None) -> Reply:
    """Ask the directory; the hook's word, if any, goes with the recipient."""
    resolution = await link.server.resolver.resolve(recipient.address)
    let_in = verdict is not None and verdict.action is Action.ACCEPT
    if resolution.refusal is not None:
        if not let_in:
            if link.errors >= _PATIENCE and not link.trusted:
                await link.server.clock.sleep(link.server.error_delay)
            return _refuse(link, transaction, recipient, resolution.refusal)
        resolution = Resolution(local=(HookTarget(recipient.address),))
    elif not resolution.is_ours and not let_in and not link.trusted and not link.peer.user:
        return _refuse(link, transaction, recipient, replies.NO_RELAY)
    quarantine = hold = ""
    if verdict is not None and verdict.action is Action.QUARANTINE:
        quarantine = verdict.reason or "smtp_rcpt"
    elif verdict is not None and verdict.action is Action.HOLD:
        hold = verdict.reason or "smtp_rcpt"
    if (plan := link.server.hooks.rcpt_policy_key) is not None and transaction.origin == "smtp":
        answer = await plan.first(session=link.peer, transaction=transaction, recipient=recipient.address)
        if answer is not None:
            key = str(answer)
            if transaction.policy not in (None, key):
                return _refuse(link, transaction, recipient, replies.OTHER_POLICY)
            transaction.policy = key
    transaction.accepted.append(Accepted(recipient, resolution, quarantine, hold))
    return _let_in(transaction, recipient)


async def _judge(
    link: SmtpProtocol, transaction: MailTransaction, recipient: Recipient, asked: Coroutine[Any, Any, Decision]
) -> Reply:
    decision = await asked
    transaction.score += decision.score
    transaction.steps.extend({**step, "recipient": str(recipient.address)} for step in decision.steps)
    verdict = decision.verdict
    if verdict is None or not verdict.final:
        return await _resolve(link, transaction, recipient)
    match verdict.action:
        case Action.REJECT | Action.DEFER:
            return _refuse(link, transaction, recipient, verdict.reply(), plugin=decision.plugin, reason=verdict.reason)
        case Action.DISCARD:
            transaction.accepted.append(Accepted(recipient, Resolution()))
            return _let_in(transaction, recipient)
        case Action.REDIRECT:
            return await _redirect(link, transaction, recipient, verdict)
        case Action.ACCEPT | Action.QUARANTINE | Action.HOLD:
            return await _resolve(link, transaction, recipient, verdict)


async def _redirect(link: SmtpProtocol, transaction: MailTransaction, recipient: Recipient, verdict: Verdict) -> Reply:
    """Accept for other addresses; each becomes a recipient that keeps the peer's DSN parameters."""
    accepted = []
    for text in verdict.target:
        try:
            address = Address.parse(text)
        except ValueError as exc:
            raise TemporaryFailure(f"smtp_rcpt redirected to {text!r}: {exc}") from exc
        resolution = await link.server.resolver.resolve(address)
        if resolution.refusal is not None:
            return _refuse(link, transaction, recipient, resolution.refusal, target=text)
        moved = Recipient(address, recipient.original, recipient.orcpt, recipient.notify, recipient.params)
        accepted.append(Accepted(moved, resolution))
    transaction.accepted.extend(accepted)
    return _let_in(transaction, recipient)


def _let_in(transaction: MailTransaction, recipient: Recipient) -> Reply:
    transaction.asked.append(str(recipient.original))
    _ACCEPTED.value += 1
    return replies.RCPT_OK


def _refuse(link: SmtpProtocol, transaction: MailTransaction, recipient: Recipient, reply: Reply, **about: object) -> Reply:
    (_DEFERRED if reply.temporary else _REFUSED).value += 1
    who = str(recipient.address)
    return refused(
        link,
        "smtp.rcpt.refused",
        reply,
        transaction=transaction,
        steps=[*link.peer.steps, *(step for step in transaction.steps if step.get("recipient", who) == who)],
        sender=transaction.sender or "",
        recipient=recipient.original,
        id=transaction.id,
        **about,
    )
