"""LOGIN and AUTHENTICATE (RFC 9051 §6.2.2, §6.2.3; SASL-IR: RFC 4959). Passwords only over TLS, or where the config allows it."""
# SPDX-License-Identifier: Apache-2.0

from mta.directory.login import Attempt, Denied
from mta.directory.sasl import NoMechanism
from mta.imapd.answer import Answer, bad, no, ok, readable
from mta.imapd.capability import capabilities
from mta.imapd.session import Session
from mta.model.directory import AuthOk
from mta.wire.imap.command import Authenticate, Login
from mta.wire.sasl import MAX_RESPONSE, Challenge, Credentials, SaslError


async def login(session: Session, command: Login) -> bytes:
    if not session.secure:
        raise no(b"use STARTTLS first", b"PRIVACYREQUIRED")
    if not session.server.sasl.passwords:
        raise no(b"not possible here, use AUTHENTICATE", b"CANNOT")
    try:
        claim = Credentials(command.username.decode("utf-8"), command.password.decode("utf-8"))
    except UnicodeDecodeError:
        raise await _denied(session, Denied("not UTF-8")) from None
    attempt = Attempt("imap", "LOGIN", session.peer, mailbox=True)
    return await _logged_in(session, await session.server.login.log_in(attempt, claim))


async def authenticate(session: Session, command: Authenticate) -> bytes:
    try:
        exchange = session.server.sasl.exchange(command.mechanism, session.door)
    except NoMechanism as exc:
        raise (no(b"use STARTTLS first", b"PRIVACYREQUIRED") if exc.needs_tls else no(b"mechanism not known", b"CANNOT")) from None
    try:
        step = await exchange.begin(None if command.initial is None else command.initial.decode("ascii"))
        while isinstance(step, Challenge):
            session.out.write(b"+ %b\r\n" % step.encode().encode("ascii"))
            step = await exchange.answer(await session.out.line(MAX_RESPONSE + 2))
    except SaslError as exc:
        raise bad(str(exc).encode("ascii", "replace")) from exc
    return await _logged_in(session, step)


async def _logged_in(session: Session, found: AuthOk | Denied) -> bytes:
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
