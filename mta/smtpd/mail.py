"""MAIL (RFC 5321 §4.1.1.2): opens a transaction, for whom the sender's address belongs to."""
# SPDX-License-Identifier: Apache-2.0

from mta.directory.senders import is_named
from mta.model.reply import Reply
from mta.net.prompt import promptly
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
    if server.hooks.smtp_mail is None and server.hooks.address_rewrite is None and not foreign:
        link.transaction = transaction
        return done
    return promptly(_judged(link, transaction, foreign, done))


async def _judged(link: SmtpProtocol, transaction: MailTransaction, foreign: bool, done: Reply) -> Reply:
    server, peer, sender = link.server, link.peer, transaction.sender
    if foreign and sender is not None and not await server.senders.may_use(sender, peer.user, peer.user_id):
        return refused(link, "smtp.mail.refused", replies.NOT_YOURS, transaction=transaction, sender=sender)
    if (plan := server.hooks.address_rewrite) is not None and sender is not None:
        transaction.sender = sender = await rewrite(plan, sender, "envelope_sender", transaction)
    if (plan := server.hooks.smtp_mail) is not None:
        decision = await plan.verdict(session=peer, transaction=transaction, sender=sender, params=transaction.params)
        transaction.score += decision.score
        transaction.steps.extend(decision.steps)
        if (reply := refusal(link, "smtp.mail.refused", decision, transaction=transaction, sender=sender or "")) is not None:
            return reply
    link.transaction = transaction
    return done
