"""AUTH (RFC 4954): which mechanisms there are and how they run is mta.directory.sasl. Wrong passwords are slow and counted."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable
from dataclasses import replace
from functools import partial

from mta.directory.login import Denied
from mta.directory.sasl import Door, Exchange, NoMechanism
from mta.model.directory import AuthOk
from mta.model.errors import TemporaryFailure
from mta.model.reply import Reply
from mta.pipeline.hooks import Decision
from mta.pipeline.session import MailSession
from mta.smtpd import replies
from mta.smtpd.protocol import SmtpProtocol, Step
from mta.wire.sasl import Challenge, SaslError
from mta.wire.smtp.command import Auth


def auth(link: SmtpProtocol, command: Auth) -> Step:
    peer = link.peer
    if not peer.esmtp:
        return replies.NEED_EHLO
    if link.spec.local:
        return replies.NO_AUTH
    if peer.user:
        return replies.AUTH_AGAIN
    if link.transaction is not None:
        return replies.AUTH_IN_MAIL
    try:
        exchange = link.server.sasl.exchange(command.mechanism, door(link))
    except NoMechanism as exc:
        return replies.NEED_TLS if exc.needs_tls else replies.NO_MECHANISM
    return _follow(link, exchange, exchange.begin(command.initial))


def door(link: SmtpProtocol) -> Door:
    """The connection as SASL sees it; what plugins decide is noted on the session, for the trace of its messages."""
    return Door(link.peer, link.server.takes_passwords(link), link.secured, mailbox=False, note=partial(_note, link.peer))


def _note(peer: MailSession, decision: Decision) -> None:
    if decision.steps:
        peer.score += decision.score
        peer.steps = (*peer.steps, *decision.steps)


def _answer(link: SmtpProtocol, exchange: Exchange, line: bytes) -> Step:
    link.dialogue = None
    return _follow(link, exchange, exchange.answer(line))


async def _follow(link: SmtpProtocol, exchange: Exchange, move: Awaitable[Challenge | AuthOk | Denied]) -> Reply:
    """One turn of the exchange; a wrong password is slow, and the last one ends the session."""
    server, peer = link.server, link.peer
    try:
        outcome = await move
    except SaslError as exc:
        return Reply(501, "5.5.2", str(exc))
    except TemporaryFailure as exc:
        server.log.warning("auth.unavailable", session=peer.id, client=peer.client_ip, detail=str(exc))
        return replies.AUTH_AWAY
    if isinstance(outcome, Challenge):
        link.dialogue = partial(_answer, link, exchange)
        return Reply(334, "", outcome.encode())
    if isinstance(outcome, AuthOk):
        peer.user, peer.user_id = outcome.user, outcome.id
        return replies.AUTHENTICATED
    reply = replies.WRONG_PASSWORD if outcome.verdict is None else _as_auth(outcome.verdict.reply())
    if outcome.verdict is not None and server.refusals is not None:  # a plugin's word; wrong passwords are the log's business
        server.refusals.add("auth", reply, peer, steps=peer.steps)
    if reply.temporary:
        return reply
    link.failures += 1
    await server.clock.sleep(server.failure_delay)
    return replace(reply, close=True) if link.failures >= server.max_failures else reply


def _as_auth(reply: Reply) -> Reply:
    """A refusal with a code that AUTH knows (RFC 4954 §6)."""
    if reply.temporary:
        return replace(reply, code=454)
    return reply if reply.code in (530, 534, 535, 538) else Reply(535, "5.7.8", reply.text, reply.close)
