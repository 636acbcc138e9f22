"""EHLO, HELO, LHLO (RFC 5321 §4.1.1.1, RFC 2033 §4.1): who the client says it is, and what we offer."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from mta.model.reply import Reply
from mta.net.prompt import promptly
from mta.pipeline.hooks import Decision
from mta.smtpd import replies
from mta.smtpd.auth import door
from mta.smtpd.protocol import SmtpProtocol, Step
from mta.smtpd.verdicts import judge_session
from mta.smtpd.xclient import XCLIENT, XFORWARD
from mta.wire.smtp.command import Ehlo, Helo, Lhlo


def greet(link: SmtpProtocol, command: Ehlo | Helo | Lhlo) -> Step:
    """A new greeting ends a transaction like RSET does."""
    verb = command.__class__.__name__.upper()
    if (verb == "LHLO") != (link.spec.protocol == "lmtp"):
        return replies.UNKNOWN
    plan = link.server.hooks.smtp_ehlo
    if plan is None or (asked := plan.prompt_verdict(session=link.peer, name=command.name, verb=verb)) is None:
        return _welcome(link, verb, command.name)
    return promptly(_judged(link, asked, verb, command.name))


async def _judged(link: SmtpProtocol, asked: Coroutine[Any, Any, Decision], verb: str, name: str) -> Reply:
    reply = judge_session(link, "smtp.ehlo.refused", await asked, name=name)
    if reply is None:
        step = _welcome(link, verb, name)
        reply = step if isinstance(step, Reply) else await step
    return reply


def _welcome(link: SmtpProtocol, verb: str, name: str) -> Reply | Coroutine[Any, Any, Reply]:
    link.end_transaction("ehlo")
    peer = link.peer
    peer.helo = name
    peer.esmtp = verb != "HELO"
    if not peer.esmtp:
        return Reply(250, "", link.server.hostname)
    offered = capabilities(link)
    if (plan := link.server.hooks.smtp_capabilities) is not None:
        asked = plan.prompt_pipeline("capabilities", session=link.peer, capabilities=offered)
        if asked is not None:
            return promptly(_offer(link, asked))
    return Reply(250, "", "\n".join((link.server.hostname, *offered)))


async def _offer(link: SmtpProtocol, asked: Coroutine[Any, Any, list[str]]) -> Reply:
    return Reply(250, "", "\n".join((link.server.hostname, *await asked)))


def capabilities(link: SmtpProtocol) -> list[str]:
    """The lines of the reply to EHLO below the server's name: what is true for this connection now."""
    server, peer = link.server, link.peer
    lines = [
        "PIPELINING",
        f"SIZE {server.message_size}",
        "8BITMIME",
        "CHUNKING",
        "BINARYMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "DSN",
        *server.offers,
    ]
    if server.tls is not None and not peer.tls and not link.spec.local:
        lines.append("STARTTLS")
    if not peer.user and not link.spec.local and (mechanisms := server.sasl.offered(door(link))):
        lines.append("AUTH " + " ".join(mechanisms))
    if peer.tls:
        lines.append("REQUIRETLS")
    if server.future_release and peer.user:
        until = datetime.fromtimestamp(server.latest_release, UTC)
        lines.append(f"FUTURERELEASE {int(server.future_release)} {until:%Y-%m-%dT%H:%M:%SZ}")
    if link.speaks_for_others:
        lines += (XCLIENT, XFORWARD)
    lines.append("HELP")
    lines += server.hooks.offering.advertised("smtp", logged_in=True)
    if hidden := link.spec.hide:
        return [line for line in lines if line.partition(" ")[0] not in hidden]
    return lines
