"""IDLE (RFC 9051 §6.3.13). A client in IDLE is state, not a task: ``Connection.push`` tells it what changed."""
# SPDX-License-Identifier: Apache-2.0

from mta.imapd.answer import ok
from mta.imapd.session import Session


async def idle(session: Session, _: None) -> None:
    session.out.write(b"+ idling\r\n")
    if session.selected is not None:
        await session.catch_up(expunge=True)
    session.start_idling()


async def done(_session: Session, _: None) -> bytes:
    """The line that ends IDLE."""
    return ok(b"back to work")
