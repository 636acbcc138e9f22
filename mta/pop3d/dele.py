"""DELE (RFC 1939 §5): mark; QUIT removes."""
# SPDX-License-Identifier: Apache-2.0

from mta.pop3d.session import Session
from mta.wire.pop3 import ok


def dele(session: Session, argument: bytes) -> bytes:
    session.open.delete(session.number(argument))
    return ok("marked")
