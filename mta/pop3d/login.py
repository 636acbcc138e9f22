"""From a name and a password to an open maildrop: the end of PASS and AUTH."""
# SPDX-License-Identifier: Apache-2.0

from mta.model.directory import AuthOk
from mta.model.ids import ModSeq
from mta.pop3d.maildrop import Maildrop
from mta.pop3d.session import Refusal, Session
from mta.wire.pop3 import ok


async def log_in(session: Session, username: str, password: str) -> bytes:
    """Raises Refusal: [AUTH] after the pause, the same for an unknown user and a wrong password (RFC 3206 §4); [IN-USE]."""
    server = session.server
    found = await server.login.authenticate("pop3", username, password, session)
    if not isinstance(found, AuthOk) or found.id is None:
        auth = server.config.auth
        session.failures += 1
        await server.clock.sleep(auth.failure_delay)
        if session.failures >= auth.max_failures:
            session.ending = True
        raise Refusal("name or password wrong", "AUTH")
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
