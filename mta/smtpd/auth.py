"""AUTH (RFC 4954): PLAIN and LOGIN, only under TLS unless the config says otherwise. Wrong passwords are slow and counted."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from mta.model.directory import AuthOk
from mta.model.errors import TemporaryFailure
from mta.model.reply import Reply
from mta.smtpd import replies
from mta.smtpd.protocol import SmtpProtocol, Step
from mta.smtpd.verdicts import judge_session
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
    return _follow(link, command.mechanism, exchange, partial(exchange.begin, command.initial))


def _answer(link: SmtpProtocol, mechanism: str, exchange: Exchange, line: bytes) -> Step:
    link.dialogue = None
    return _follow(link, mechanism, exchange, partial(exchange.step, line))


def _follow(link: SmtpProtocol, mechanism: str, exchange: Exchange, move: Callable[[], Challenge | Credentials]) -> Step:
    try:
        outcome = move()
    except SaslError as exc:
        return Reply(501, "5.5.2", str(exc))
    if isinstance(outcome, Challenge):
        link.dialogue = partial(_answer, link, mechanism, exchange)
        return Reply(334, "", outcome.encode())
    return _verify(link, mechanism, outcome)


async def _verify(link: SmtpProtocol, mechanism: str, credentials: Credentials) -> Reply:
    """Log in and tell the plugins how it went; a wrong password is slow, and the last one ends the session."""
    server = link.server
    reply, reason = await _login(link, mechanism, credentials)
    if (plan := server.hooks.auth_result) is not None:
        server.tell(plan, session=link.peer, username=credentials.username, ok=reply.positive, reason=reason)
    if reply.code < 500:
        return reply
    link.failures += 1
    await server.clock.sleep(server.failure_delay)
    return replace(reply, close=True) if link.failures >= server.max_failures else reply


async def _login(link: SmtpProtocol, mechanism: str, credentials: Credentials) -> tuple[Reply, str]:
    """The reply, and why nobody is logged in."""
    server, peer, name = link.server, link.peer, credentials.username
    if (plan := server.hooks.auth_policy) is not None:
        decision = await plan.verdict(session=peer, mechanism=mechanism, username=name)
        if (reply := judge_session(link, "auth.refused", decision, username=name)) is not None:
            return _as_auth(reply), "policy"
    try:
        answer = await server.login.authenticate("smtp", name, credentials.password, peer)
    except TemporaryFailure as exc:
        server.log.warning("auth.unavailable", session=peer.id, client=peer.client_ip, detail=str(exc))
        return replies.AUTH_AWAY, "temporary failure"
    if not isinstance(answer, AuthOk):
        return replies.WRONG_PASSWORD, answer.reason
    if credentials.authzid not in ("", name, answer.user):
        return replies.WRONG_PASSWORD, "may not act for another account"
    if (plan := server.hooks.session_login) is not None:
        decision = await plan.verdict(session=peer, user=answer.user)
        if (reply := judge_session(link, "auth.refused", decision, username=name)) is not None:
            return _as_auth(reply), "policy"
    peer.user, peer.user_id = answer.user, answer.id
    return replies.AUTHENTICATED, ""


def _as_auth(reply: Reply) -> Reply:
    """A refusal with a code that AUTH knows (RFC 4954 §6)."""
    if reply.temporary:
        return replace(reply, code=454)
    return reply if reply.code in (530, 534, 535, 538) else Reply(535, "5.7.8", reply.text, reply.close)
