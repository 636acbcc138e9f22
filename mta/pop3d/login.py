"""From a name and a password to an open maildrop: the end of PASS and AUTH."""
# SPDX-License-Identifier: Apache-2.0

from mta.directory.login import Denied
from mta.model.ids import ModSeq
from mta.pop3d.maildrop import Maildrop
from mta.pop3d.session import Refusal, Session
from mta.wire.pop3 import ok


async def log_in(session: Session, mechanism: str, username: str, password: str) -> bytes:
    """Raises Refusal: [AUTH] after the pause, the same for an unknown user and a wrong password (RFC 3206 §4); [IN-USE];
    [SYS/TEMP] when a plugin says so."""
    server = session.server
    found = await server.login.log_in("pop3", mechanism, username, password, session, mailbox=True)
    if isinstance(found, Denied):
        raise await _denied(session, found)
    assert found.id is not None  # asked for
    inbox = await server.store.mailbox(found.id, "INBOX")
    if not server.lock(inbox.id):
        raise Refusal("another session has the maildrop open", "IN-USE")
    try:
        maildrop = Maildrop(inbox.id, await server.store.changes(inbox.id, ModSeq(0)))
    except BaseException:
        server.unlock(inbox.id)
        raise
    if session.ending:  # the client went away meanwhile
        server.unlock(inbox.id)
        raise ConnectionResetError
    session.maildrop = maildrop
    session.user = found.user
    return ok(f"{maildrop.count} messages, {maildrop.octets} octets")


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
