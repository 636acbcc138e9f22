"""RSET, NOOP, VRFY, EXPN, HELP, QUIT, and what is no command (RFC 5321 §4.1.1.5-§4.1.1.10)."""
# SPDX-License-Identifier: Apache-2.0

from mta.model.reply import Reply
from mta.pipeline.hooks import Plan
from mta.pluginhost.offers import OfferedCommand
from mta.smtpd import replies
from mta.smtpd.protocol import SmtpProtocol, Step
from mta.wire.smtp.command import Expn, Help, Noop, Quit, Rset, Unknown, Vrfy

_HTTP = frozenset({"GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH", "TRACE", "PRI"})
MAX_JUNK = 100  # commands between two messages that do no work; more are counted as errors


def rset(link: SmtpProtocol, _command: Rset) -> Reply:
    if link.transaction is None:
        count_junk(link)
    link.end_transaction("rset")
    return replies.RESET


def noop(link: SmtpProtocol, _command: Noop) -> Reply:
    count_junk(link)
    return replies.RESET


def vrfy(link: SmtpProtocol, _command: Vrfy) -> Reply:
    """RFC 5321 §3.5.3: neither yes nor no, for everyone, so that nobody harvests addresses."""
    count_junk(link)
    return Reply(252, "2.5.2", "cannot verify, but send it and see")


def expn(_link: SmtpProtocol, _command: Expn) -> Reply:
    return Reply(502, "5.5.1", "lists are not shown")


def help(link: SmtpProtocol, _command: Help) -> Reply:
    count_junk(link)
    return Reply(214, "2.0.0", "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS AUTH ETRN")


def quit(link: SmtpProtocol, _command: Quit) -> Reply:
    link.reason = "quit"
    return Reply(221, "2.0.0", "bye", close=True)


def unknown(link: SmtpProtocol, command: Unknown) -> Step:
    """A verb of a plugin, or of nobody."""
    verb = command.verb.upper()
    if verb in _HTTP or verb.endswith(":"):
        return replies.NOT_SMTP  # ALPACA: a browser must not speak to us through somebody else, before or after STARTTLS
    hooks = link.server.hooks
    if (offer := hooks.offering.commands.get(("smtp", verb))) is not None:
        return _run(link, offer, command)
    if (plan := hooks.smtp_command) is None:
        return replies.UNKNOWN
    return _ask(link, plan, command)


async def _run(link: SmtpProtocol, offer: OfferedCommand, command: Unknown) -> Reply:
    count_junk(link)
    if not link.peer.esmtp:
        return replies.NEED_EHLO
    reply: Reply | None = await offer.call(session=link.peer, arguments=command.args)
    return replies.UNKNOWN if reply is None else reply if 200 <= reply.code <= 599 and reply.code not in (334, 354) else replies.BUG


async def _ask(link: SmtpProtocol, plan: Plan, command: Unknown) -> Reply:
    count_junk(link)
    reply: Reply | None = await plan.first(session=link.peer, verb=command.verb.upper(), args=command.args)
    return reply or replies.UNKNOWN


def count_junk(link: SmtpProtocol) -> None:
    """One more command that does no work."""
    link.junk += 1
    if link.junk > MAX_JUNK:
        link.errors += 1
