"""AUTH (RFC 4954): PLAIN and LOGIN, only under TLS unless the config says otherwise. Wrong passwords are slow and counted."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable
from functools import partial

from mta.model.directory import AuthOk
from mta.model.errors import TemporaryFailure
from mta.model.reply import Reply
from mta.smtpd import replies
from mta.smtpd.protocol import SmtpProtocol, Step
from mta.wire.sasl import MECHANISMS, Challenge, Credentials, Exchange, SaslError
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
    if not link.server.takes_passwords(link):
        return replies.NEED_TLS
    if (mechanism := MECHANISMS.get(command.mechanism)) is None:
        return replies.NO_MECHANISM
    exchange = mechanism()
    return _follow(link, exchange, partial(exchange.begin, command.initial))


def _answer(link: SmtpProtocol, exchange: Exchange, line: bytes) -> Step:
    link.dialogue = None
    return _follow(link, exchange, partial(exchange.step, line))


def _follow(link: SmtpProtocol, exchange: Exchange, move: Callable[[], Challenge | Credentials]) -> Step:
    try:
        outcome = move()
    except SaslError as exc:
        return Reply(501, "5.5.2", str(exc))
    if isinstance(outcome, Challenge):
        link.dialogue = partial(_answer, link, exchange)
        return Reply(334, "", outcome.encode())
    return _verify(link, outcome)


async def _verify(link: SmtpProtocol, credentials: Credentials) -> Reply:
    server, peer = link.server, link.peer
    try:
        answer = await server.login.authenticate("smtp", credentials.username, credentials.password, peer)
    except TemporaryFailure as exc:
        server.log.warning("auth.unavailable", session=peer.id, client=peer.client_ip, detail=str(exc))
        return replies.AUTH_AWAY
    if isinstance(answer, AuthOk) and credentials.authzid in ("", credentials.username, answer.user):
        peer.user, peer.user_id = answer.user, answer.id
        return replies.AUTHENTICATED
    link.failures += 1
    await server.clock.sleep(server.failure_delay)
    return replies.WRONG_PASSWORD_CLOSING if link.failures >= server.max_failures else replies.WRONG_PASSWORD
