"""From a name and a password to an open maildrop: the end of PASS and AUTH."""
# SPDX-License-Identifier: Apache-2.0

from mta.directory.login import Attempt, Denied
from mta.model.directory import AuthOk
from mta.model.ids import MailboxId, ModSeq
from mta.pop3d.maildrop import Maildrop
from mta.pop3d.reading import measure
from mta.pop3d.session import Refusal, Session
from mta.wire.pop3 import ok
from mta.wire.sasl import Credentials

_PATIENCE = 2.0
_LOOK = 0.05


async def log_in(session: Session, username: str, password: str) -> bytes:
    """USER and PASS. Raises like ``open_maildrop``."""
    attempt = Attempt("pop3", "USER", session, mailbox=True)
    return await open_maildrop(session, await session.server.login.log_in(attempt, Credentials(username, password)))


async def open_maildrop(session: Session, found: AuthOk | Denied) -> bytes:
    """Raises Refusal: [AUTH] after the pause, the same for an unknown user and a wrong password (RFC 3206 §4); [IN-USE];
    [SYS/TEMP] when a plugin says so."""
    server = session.server
    if isinstance(found, Denied):
        raise await _denied(session, found)
    assert found.id is not None  # asked for
    inbox = await server.store.mailbox(found.id, "INBOX")
    await _lock(session, inbox.id)
    try:
        maildrop = Maildrop(inbox.id, await server.store.changes(inbox.id, ModSeq(0)))
        if server.readings.wanted:
            await measure(server.readings, found.user, maildrop)
    except BaseException:
        server.unlock(inbox.id)
        raise
    if session.ending:  # the client went away meanwhile
        server.unlock(inbox.id)
        raise ConnectionResetError
    session.maildrop = maildrop
    session.user = found.user
    return ok(f"{maildrop.count} messages, {maildrop.octets} octets")


async def _lock(session: Session, inbox: MailboxId) -> None:
    """Take the maildrop. One that is about to be free, since its client has just said QUIT or is gone, is waited for."""
    server = session.server
    until = server.clock.monotonic() + _PATIENCE
    while not server.lock(inbox):
        if server.clock.monotonic() >= until:
            raise Refusal("another session has the maildrop open", "IN-USE")
        await server.clock.sleep(_LOOK)
        if session.ending:
            raise ConnectionResetError


async def _denied(session: Session, denied: Denied) -> Refusal:
    """The answer, after the pause that follows a failed attempt."""
    session.ending = session.ending or denied.hang_up
    if denied.temporary:
        return Refusal(denied.text(), "SYS/TEMP")
    auth = session.server.config.auth
    session.failures += 1
    await session.server.clock.sleep(auth.failure_delay)
    if session.failures >= auth.max_failures:
        session.end("errors")
    return Refusal(denied.text(), "AUTH")
