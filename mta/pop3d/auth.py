"""AUTH, with or without an initial response (RFC 5034); AUTH alone lists the mechanisms, as old clients ask."""
# SPDX-License-Identifier: Apache-2.0

from mta.directory.sasl import NoMechanism
from mta.pop3d.login import open_maildrop
from mta.pop3d.session import Refusal, Session
from mta.wire.sasl import Challenge, SaslError


async def auth(session: Session, argument: bytes) -> bytes:
    mechanism, _, initial = argument.decode("ascii", "replace").partition(" ")
    sasl = session.server.sasl
    if not mechanism:
        return "\r\n".join(("+OK mechanisms follow", *sasl.offered(session.door), ".\r\n")).encode("ascii")
    try:
        exchange = sasl.exchange(mechanism.upper(), session.door)
    except NoMechanism as exc:
        raise Refusal("use STLS first" if exc.needs_tls else "mechanism not known") from None
    try:
        step = await exchange.begin(initial.strip() or None)
        while isinstance(step, Challenge):
            session.out.write(f"+ {step.encode()}\r\n".encode("ascii"))
            step = await exchange.answer(await session.out.line())
    except SaslError as exc:
        raise Refusal(str(exc)) from exc
    return await open_maildrop(session, step)
