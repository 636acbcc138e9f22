"""USER (RFC 1939 §7): the name; says nothing about whether it exists."""
# SPDX-License-Identifier: Apache-2.0

from mta.pop3d.session import Refusal, Session
from mta.wire.pop3 import ok


def user(session: Session, argument: bytes) -> bytes:
    if not session.secure:
        raise Refusal("use STLS first")
    if not session.server.sasl.passwords:
        raise Refusal("not possible here, use AUTH")
    name = argument.strip()
    if not name:
        raise Refusal("name missing")
    session.username = name.decode("utf-8", "replace")
    return ok("send the password")
