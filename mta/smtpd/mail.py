"""MAIL (RFC 5321 §4.1.1.2): opens a transaction. Parameters: SIZE, BODY, SMTPUTF8, AUTH, RET, ENVID."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping

from mta.model.address import Address
from mta.model.directory import MailboxTarget
from mta.model.reply import Reply
from mta.pipeline.rewriting import rewrite
from mta.pipeline.transaction import MailTransaction
from mta.pluginhost.offers import Check
from mta.smtpd import replies
from mta.smtpd.protocol import SmtpProtocol, Step
from mta.smtpd.verdicts import refusal, refused
from mta.spool.ids import new_queue_id
from mta.wire.smtp.command import Mail
from mta.wire.smtp.params import read_body, read_envid, read_ret, read_size


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
    if (
        command.params
        and (problem := _read(transaction, command.params, server.message_size, server.hooks.offering.mail)) is not None
    ):
        return problem
    if sender is not None and not sender.is_ascii and not transaction.smtputf8:
        return replies.NEED_SMTPUTF8
    foreign = bool(peer.user) and not link.trusted and sender is not None and not _is_named(sender, peer.user)
    if server.hooks.smtp_mail is None and server.hooks.address_rewrite is None and not foreign:
        link.transaction = transaction
        return replies.MAIL_OK
    return _judged(link, transaction, foreign)


async def _judged(link: SmtpProtocol, transaction: MailTransaction, foreign: bool) -> Reply:
    server, peer, sender = link.server, link.peer, transaction.sender
    if foreign and sender is not None and not await _belongs(link, sender):
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
    return replies.MAIL_OK


def _is_named(sender: Address, user: str) -> bool:
    """The account's own address, also with "+detail"."""
    given = str(sender).lower()
    own = user.lower()
    if given == own:
        return True
    local, _, domain = own.rpartition("@")
    return sender.domain == domain and sender.local.lower().partition("+")[0] == local


async def _belongs(link: SmtpProtocol, sender: Address) -> bool:
    """An alias that reaches the account may be its sender too. Raises TemporaryFailure."""
    resolution = await link.server.resolver.resolve(sender)
    user, id = link.peer.user.lower(), link.peer.user_id
    return any(
        isinstance(target, MailboxTarget) and (target.user == id or str(target.address).lower() == user)
        for target in resolution.local
    )


def _read(transaction: MailTransaction, params: Mapping[str, str | None], limit: int, brought: Mapping[str, Check]) -> Reply | None:
    """Put what the parameters say on the transaction; plugins look at theirs. Raises Refused for a bad value, TemporaryFailure."""
    for keyword, value in params.items():
        if keyword == "SIZE":
            if read_size(value) > limit:
                return replies.TOO_BIG
        elif keyword == "BODY":
            body = read_body(value)
            transaction.eightbit, transaction.binary = body != "7BIT", body == "BINARYMIME"
        elif keyword == "SMTPUTF8" and value is None:
            transaction.smtputf8 = True
        elif keyword == "RET":
            transaction.ret = read_ret(value)
        elif keyword == "ENVID":
            transaction.envid = read_envid(value)
        elif keyword != "AUTH" or not value:  # RFC 4954 §5: taken and not believed
            if (check := brought.get(keyword)) is None:
                return replies.NO_PARAMETER
            if problem := check(value):
                return Reply(501, "5.5.4", problem)
    return None
