"""LOGIN and AUTHENTICATE (RFC 9051 §6.2.2, §6.2.3; SASL-IR: RFC 4959). Passwords only over TLS, or where the config allows it."""
# SPDX-License-Identifier: Apache-2.0

import base64

from mta.directory.login import Denied
from mta.imapd.answer import Answer, bad, no, ok, readable
from mta.imapd.capability import capabilities
from mta.imapd.session import Session
from mta.wire.imap.command import Authenticate, Login
from mta.wire.sasl import Challenge, Credentials, PlainExchange, SaslError

_LONGEST_RESPONSE = 8192


async def login(session: Session, command: Login) -> bytes:
    if not session.secure:
        raise no(b"use STARTTLS first", b"PRIVACYREQUIRED")
    try:
        username, password = command.username.decode("utf-8"), command.password.decode("utf-8")
    except UnicodeDecodeError:
        raise await _denied(session, Denied("not UTF-8")) from None
    return await _log_in(session, "LOGIN", Credentials(username, password))


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
    return await _log_in(session, "PLAIN", step)


async def _log_in(session: Session, mechanism: str, credentials: Credentials) -> bytes:
    if credentials.authzid and credentials.authzid != credentials.username:
        raise no(b"acting for others is not possible", b"AUTHORIZATIONFAILED")
    name, password = credentials.username, credentials.password
    found = await session.server.login.log_in("imap", mechanism, name, password, session.peer, mailbox=True)
    if isinstance(found, Denied):
        raise await _denied(session, found)
    session.user = found.id
    session.peer.user = found.user
    session.out.logged_in()
    return ok(b"logged in", b"CAPABILITY " + capabilities(session))


async def _denied(session: Session, denied: Denied) -> Answer:
    """The answer, after a pause. The same for an unknown user and a wrong password (RFC 5530 §3)."""
    text = readable(denied.text())
    if denied.temporary:
        answer = no(text, b"UNAVAILABLE")
    else:
        auth = session.server.config.auth
        session.failures += 1
        await session.server.clock.sleep(auth.failure_delay)
        answer = no(text, b"AUTHORIZATIONFAILED" if denied.known else b"AUTHENTICATIONFAILED")
        if session.failures >= auth.max_failures and not denied.hang_up:
            session.out.write(b"* BYE too many failed attempts\r\n")
            session.end("errors")
    if denied.hang_up:
        session.out.write(b"* BYE %b\r\n" % text)
        session.ending = True
    return answer
