"""PASS (RFC 1939 §7): the password, spaces and all."""
# SPDX-License-Identifier: Apache-2.0

from mta.pop3d.login import log_in
from mta.pop3d.session import Refusal, Session


async def pass_(session: Session, argument: bytes) -> bytes:
    username, session.username = session.username, ""
    if not username:
        raise Refusal("send USER first")
    return await log_in(session, username, argument.decode("utf-8", "replace"))
