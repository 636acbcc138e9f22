"""MAIL (RFC 5321 §4.1.1.2): opens a transaction, for whom the sender's address belongs to."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Coroutine
from typing import Any

from mta.directory.senders import is_named
from mta.model.reply import Reply
from mta.net.prompt import promptly
from mta.pipeline.hooks import Decision
from mta.pipeline.rewriting import rewrite
from mta.pipeline.transaction import MailTransaction
from mta.smtpd import replies
from mta.smtpd.parameters import Pending, ask_pending, read_parameters, told
from mta.smtpd.protocol import SmtpProtocol, Step
from mta.smtpd.verdicts import refusal, refused
from mta.spool.ids import new_queue_id
from mta.wire.smtp.command import Mail


def mail(link: SmtpProtocol, command: Mail) -> Step:
    server, peer, sender = link.server, link.peer, command.sender
    if not peer.helo:
        return replies.NEED_EHLO
    if link.transaction is not None:
        return replies.NESTED_MAIL
    submission = link.spec.protocol == "submission"
    if submission and not peer.user and not link.trusted:
        return replies.NEED_AUTH
    origin = server.origin(link)
    transaction = MailTransaction(new_queue_id(server.clock.now()), origin, sender, command.params)
    if not command.params:
        return _open(link, transaction, replies.MAIL_OK)
    pending: Pending = []
    if (problem := read_parameters(link, transaction, command.params, pending)) is not None:
        return problem
    done = told(transaction, command.params)
    if pending:
        return promptly(ask_pending(pending, lambda: _open(link, transaction, done)))
    return _open(link, transaction, done)


def _open(link: SmtpProtocol, transaction: MailTransaction, done: Reply) -> Step:
    """Its parameters are what they should be."""
    server, peer, sender = link.server, link.peer, transaction.sender
    if sender is not None and not sender.is_ascii and not transaction.smtputf8:
        return replies.NEED_SMTPUTF8
    known = bool(peer.user) and not link.trusted
    transaction.believed = bool(peer.user) or link.trusted
    transaction.bound = known and server.from_check
    foreign = known and server.sender_check and sender is not None and not is_named(sender, peer.user)
    if server.hooks.address_rewrite is not None or foreign:
        return promptly(_vetted(link, transaction, foreign, done))
    plan = server.hooks.smtp_mail
    asked = (
        None
        if plan is None
        else plan.prompt_verdict(session=peer, transaction=transaction, sender=sender, params=transaction.params)
    )
    if asked is not None:
        return promptly(_judged(link, transaction, asked, done))
    link.transaction = transaction
    return done


async def _vetted(link: SmtpProtocol, transaction: MailTransaction, foreign: bool, done: Reply) -> Reply:
    """The sender is the user's own, and as ``address_rewrite`` has it."""
    server, peer, sender = link.server, link.peer, transaction.sender
    if foreign and sender is not None and not await server.senders.may_use(sender, peer.user, peer.user_id):
        return refused(link, "smtp.mail.refused", replies.NOT_YOURS, transaction=transaction, sender=sender)
    if (plan := server.hooks.address_rewrite) is not None and sender is not None:
        transaction.sender = sender = await rewrite(plan, sender, "envelope_sender", transaction)
    if (plan := server.hooks.smtp_mail) is not None:
        asked = plan.verdict(session=peer, transaction=transaction, sender=sender, params=transaction.params)
        return await _judged(link, transaction, asked, done)
    link.transaction = transaction
    return done


async def _judged(link: SmtpProtocol, transaction: MailTransaction, asked: Coroutine[Any, Any, Decision], done: Reply) -> Reply:
    decision = await asked
    transaction.score += decision.score
    transaction.steps.extend(decision.steps)
    sender = transaction.sender or ""
    if (reply := refusal(link, "smtp.mail.refused", decision, transaction=transaction, sender=sender)) is not None:
        return reply
    link.transaction = transaction
    return done
