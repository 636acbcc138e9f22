"""ETRN (RFC 1985): a next hop that was away asks for what waits for it. Only for domains of the config; names say who receives."""
# SPDX-License-Identifier: Apache-2.0

from mta.model.domain import normalise
from mta.model.reply import Reply
from mta.smtpd import replies
from mta.smtpd.protocol import SmtpProtocol, Step
from mta.smtpd.simple import count_junk
from mta.wire.smtp.command import Etrn

STARTED = Reply(250, "2.0.0", "queue processing started")
NOT_FOR_YOU = Reply(459, "4.7.0", "not allowed for this domain")
NO_DOMAIN = Reply(501, "5.5.4", "syntax: ETRN domain")


def etrn(link: SmtpProtocol, command: Etrn) -> Step:
    server = link.server
    count_junk(link)
    if not link.peer.helo:
        return replies.NEED_EHLO
    if link.transaction is not None:
        return replies.NOW_MAIL
    if server.flush is None or not server.etrn:
        return replies.NO_ETRN
    try:
        domain = normalise(command.name.removeprefix("@"))
    except ValueError:
        return NO_DOMAIN
    return _start(link, domain) if domain in server.etrn else NOT_FOR_YOU


async def _start(link: SmtpProtocol, domain: str) -> Reply:
    flush = link.server.flush
    recipients = await flush(domain) if flush is not None else 0
    link.server.log.info("smtp.etrn", session=link.peer.id, client=link.peer.client_ip, domain=domain, recipients=recipients)
    return STARTED
