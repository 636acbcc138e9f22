"""STLS (RFC 2595 §4). Octets that came before the handshake end the connection; a name given by USER is forgotten."""
# SPDX-License-Identifier: Apache-2.0

from mta.pop3d.session import Refusal, Session
from mta.wire.pop3 import ok


async def stls(session: Session, _argument: bytes) -> bytes:
    if session.tls:
        raise Refusal("TLS is on already")
    if session.server.tls is None:
        raise Refusal("no TLS here")
    session.username = ""
    session.out.write(ok("begin the handshake"))
    await session.out.start_tls()
    return b""
