"""UNAUTHENTICATE (RFC 8437): back to the state before login, for proxies and pools of connections. TLS and compression stay."""
# SPDX-License-Identifier: Apache-2.0

from mta.imapd.answer import ok
from mta.imapd.session import Session
from mta.net.prompt import own_task


async def unauthenticate(session: Session, _: None) -> bytes:
    """Nothing is expunged, what was enabled is not any more, and nothing of the account is left."""
    await own_task()  # who logs in next is asked about with whatever knows accounts
    session.leave()
    session.server.login.left("imap", session.peer)
    session.forget()
    session.out.logged_out()
    return ok(b"who are you?")
