"""AUTH PLAIN, with or without an initial response (RFC 5034); AUTH alone lists the mechanisms, as old clients ask."""
# SPDX-License-Identifier: Apache-2.0

from mta.pop3d.login import log_in
from mta.pop3d.session import Refusal, Session
from mta.wire.sasl import Challenge, Credentials, PlainExchange, SaslError


async def auth(session: Session, argument: bytes) -> bytes:
    mechanism, _, initial = argument.decode("ascii", "replace").partition(" ")
    if not mechanism:
        return b"+OK mechanisms follow\r\nPLAIN\r\n.\r\n" if session.secure else b"+OK mechanisms follow\r\n.\r\n"
    if not session.secure:
        raise Refusal("use STLS first")
    if mechanism.upper() != "PLAIN":
        raise Refusal("mechanism not known")
    exchange = PlainExchange()
    try:
        step: Challenge | Credentials = exchange.begin(initial.strip() or None)
        while isinstance(step, Challenge):
            session.out.write(f"+ {step.encode()}\r\n".encode("ascii"))
            step = exchange.step(await session.out.line())
    except SaslError as exc:
        raise Refusal(str(exc)) from exc
    if step.authzid and step.authzid != step.username:
        raise Refusal("acting for others is not possible", "AUTH")
    return await log_in(session, "PLAIN", step.username, step.password)
