"""STARTTLS (RFC 9051 §6.2.1)."""
# SPDX-License-Identifier: Apache-2.0

from mta.imapd.answer import bad, ok
from mta.imapd.session import Session


async def starttls(session: Session, _: None) -> None:
    if session.peer.tls:
        raise bad(b"TLS is on already")
    if session.server.tls is None:
        raise bad(b"no TLS here")
    session.reply(ok(b"begin the handshake"))
    await session.out.start_tls()
