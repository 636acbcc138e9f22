"""RSET (RFC 1939 §5): unmark all."""
# SPDX-License-Identifier: Apache-2.0

from mta.pop3d.session import Session
from mta.wire.pop3 import ok


def rset(session: Session, _argument: bytes) -> bytes:
    session.open.reset()
    return ok(f"{session.open.count} messages")
