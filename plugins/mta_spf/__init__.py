"""SPF (RFC 7208, RFC 8616): may this client send for this domain?

The check begins with MAIL and goes on while the client talks; its answer is wanted at RCPT, when a fail is to be refused, or
with the message: an ``spf`` result of RFC 8601 §2.7.2 and a score. The null sender is checked by its HELO. One check for each
sender of a connection, and one at a time. Not checked: authenticated users, private and exempt networks, doors other than
SMTP. Left out: the Received-SPF field, HELO beside a sender, and deferring for temperror.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from mta.model.network import parse_client
from mta_hooks import Address, AuthResult, Context, Message, Session, Transaction, Verdict, add_score, hookimpl, reject
from mta_hooks.services import Registry
from mta_spf.check import check
from mta_spf.config import SpfConfig
from mta_spf.query import LIMITS, Outcome, make_query
from mta_spf.record import Result

roles = ("spf",)
NOTE = "spf"
TIMEOUT = LIMITS.seconds + 2  # seconds; a check ends by itself
MAX_EXPLANATION = 300  # octets; a line of a reply has 512 (RFC 5321 §4.5.3.1.5)


@dataclass(frozen=True, slots=True)
class _Check:
    sender: Address | None
    helo: str
    outcome: "asyncio.Future[Outcome]"

    def answers(self, sender: Address | None, helo: str) -> bool:
        """False for another identity, and for a check that came to nothing: DNS may be back."""
        if sender != self.sender or helo != self.helo:
            return False
        done = self.outcome
        return not done.done() or not (done.cancelled() or done.exception() or done.result().result == "temperror")


@hookimpl
def register(registry: Registry) -> None:
    registry.config(SpfConfig)


@hookimpl
def smtp_mail(session: Session, sender: Address | None, ctx: Context) -> None:
    """Begin to check, and wait for nothing."""
    _begin(session, sender, ctx)


@hookimpl(timeout=TIMEOUT, on_error="continue")
async def smtp_rcpt(session: Session, transaction: Transaction, recipient: Address, ctx: Context) -> Verdict | None:
    """Refuse a fail; never mail to postmaster (RFC 5321 §4.5.1): that is where they complain."""
    config: SpfConfig = ctx.config
    if not config.reject_fail or recipient.local.lower() == "postmaster":
        return None
    sender = transaction.sender
    outcome = await _outcome(session, sender, ctx)
    if outcome is None or outcome.result != "fail":
        return None
    domain = sender.domain if sender is not None else session.helo
    text = f"SPF: {session.client_ip} may not send mail for {domain}"
    if outcome.explanation:  # RFC 7208 §8.4: say whose words these are
        text += f"\nThe domain {domain} explains: {outcome.explanation[:MAX_EXPLANATION]}"
    return reject(text, enhanced="5.7.23", reason=f"spf fail by {outcome.mechanism}")  # RFC 7372 §3.2


@hookimpl(timeout=TIMEOUT)
async def message_authenticate(session: Session, message: Message, ctx: Context) -> AuthResult | None:
    outcome = await _outcome(session, message.sender, ctx)
    if outcome is None:
        return None
    identity = ("smtp.helo", session.helo) if message.sender is None else ("smtp.mailfrom", str(message.sender))
    return AuthResult("spf", outcome.result, outcome.reason, (identity,), {"mechanism": outcome.mechanism})


@hookimpl
def message_check(results: Sequence[AuthResult], ctx: Context) -> Verdict | None:
    config: SpfConfig = ctx.config
    for result in results:
        if result.method == "spf":
            score = config.scores.get(cast("Result", result.result), 0.0)
            return add_score(score, f"spf {result.result}") if score else None
    return None


async def _outcome(session: Session, sender: Address | None, ctx: Context) -> Outcome | None:
    running = _begin(session, sender, ctx)
    # Shielded: a hook that runs out of time takes the answer from nobody else.
    return None if running is None else await asyncio.shield(running)


def _begin(session: Session, sender: Address | None, ctx: Context) -> "asyncio.Future[Outcome] | None":
    if session.user or session.protocol != "smtp":
        return None
    known: _Check | None = session.notes.get(NOTE)
    if known is not None:
        if known.answers(sender, session.helo):
            return known.outcome
        known.outcome.cancel()  # a client that says MAIL and RSET without end has one check at a time
    config: SpfConfig = ctx.config
    client = parse_client(session.client_ip)
    if client is None or config.is_exempt(client):
        return None
    query = make_query(client, sender, session.helo, ctx.hostname, ctx.clock.now())
    outcome = asyncio.ensure_future(check(ctx.dns, query, explain=config.reject_fail))
    outcome.add_done_callback(_see)
    session.notes[NOTE] = _Check(sender, session.helo, outcome)
    return outcome


def _see(outcome: "asyncio.Future[Outcome]") -> None:
    """An error is for those who wait; when the client has gone there is nobody, and asyncio would complain."""
    if not outcome.cancelled():
        outcome.exception()
