"""LOGIN and AUTHENTICATE (RFC 9051 §6.2.2, §6.2.3; SASL-IR: RFC 4959). Passwords only over TLS, or where the config allows it."""
# SPDX-License-Identifier: Apache-2.0

import base64

from mta.imapd.answer import bad, no, ok
from mta.imapd.capability import capabilities
from mta.imapd.session import Session
from mta.model.directory import AuthOk
from mta.wire.imap.command import Authenticate, Login
from mta.wire.sasl import Challenge, Credentials, PlainExchange, SaslError

_LONGEST_RESPONSE = 8192


async def login(session: Session, command: Login) -> bytes:
    if not session.secure:
        raise no(b"use STARTTLS first", b"PRIVACYREQUIRED")
    try:
        username, password = command.username.decode("utf-8"), command.password.decode("utf-8")
    except UnicodeDecodeError:
        return await _refuse(session)
    return await _log_in(session, Credentials(username, password))


async def authenticate(session: Session, command: Authenticate) -> bytes:
    if command.mechanism != "PLAIN":
        raise no(b"mechanism not known")
    if not session.secure:
        raise no(b"use STARTTLS first", b"PRIVACYREQUIRED")
    exchange = PlainExchange()
    try:
        step: Challenge | Credentials = exchange.begin(None if command.initial is None else command.initial.decode("ascii"))
        while isinstance(step, Challenge):
            session.out.write(b"+ %b\r\n" % base64.b64encode(step.octets))
            step = exchange.step(await session.out.line(_LONGEST_RESPONSE))
    except SaslError as exc:
        raise bad(str(exc).encode("ascii", "replace")) from exc
    return await _log_in(session, step)


async def _log_in(session: Session, credentials: Credentials) -> bytes:
    if credentials.authzid and credentials.authzid != credentials.username:
        raise no(b"acting for others is not possible", b"AUTHORIZATIONFAILED")
    found = await session.server.login.authenticate("imap", credentials.username, credentials.password, session.peer)
    if not isinstance(found, AuthOk) or found.id is None:
        return await _refuse(session)
    session.user = found.id
    session.peer.user = found.user
    session.out.logged_in()
    return ok(b"logged in", b"CAPABILITY " + capabilities(session))


async def _refuse(session: Session) -> bytes:
    """The same answer for an unknown user and a wrong password, after the same pause (RFC 5530 §3)."""
    auth = session.server.config.auth
    session.failures += 1
    await session.server.clock.sleep(auth.failure_delay)
    if session.failures >= auth.max_failures:
        session.out.write(b"* BYE too many failed attempts\r\n")
        session.ending = True
    raise no(b"name or password wrong", b"AUTHENTICATIONFAILED")
