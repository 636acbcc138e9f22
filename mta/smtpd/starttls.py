"""STARTTLS (RFC 3207): nothing that was said before survives it, and nothing buffered behind it is obeyed."""
# SPDX-License-Identifier: Apache-2.0

import ssl
from dataclasses import replace

from mta.model.reply import Reply
from mta.smtpd import replies
from mta.smtpd.protocol import SmtpProtocol, Step
from mta.smtpd.verdicts import judge_session
from mta.smtpd.wording import worded
from mta.wire.smtp.command import StartTls


def starttls(link: SmtpProtocol, _command: StartTls) -> Step:
    context = link.server.tls
    if context is None or link.spec.local:
        return replies.NO_STARTTLS
    if link.peer.tls:
        return replies.TLS_AGAIN
    if link.lines.waiting:
        _hang_up(link)
        return None
    return _upgrade(link, context)


async def _upgrade(link: SmtpProtocol, context: ssl.SSLContext) -> Reply | None:
    ready = await worded(link, replies.READY_FOR_TLS)
    if link.lines.waiting:  # arrived between the command and this task
        _hang_up(link)
        return None
    link.say(ready)
    if not await link.secure(context):
        return None
    peer = link.peer
    peer.tls, peer.cipher = True, link.tls_cipher
    peer.helo, peer.esmtp, peer.user, peer.user_id = "", False, "", None  # §4.2: all knowledge from before is discarded
    link.end_transaction("starttls")
    link.lines.progressed = True
    if (plan := link.server.hooks.smtp_tls) is not None:
        decision = await plan.verdict(session=peer, tls=link.tls)
        if (reply := judge_session(link, "smtp.tls.refused", decision)) is not None:
            link.dialogue = lambda _line: replace(reply, close=True)  # the handshake itself has no place for a reply
    return None


def _hang_up(link: SmtpProtocol) -> None:
    """Octets in clear behind STARTTLS would be taken for the client's own under TLS (CVE-2011-0411): hang up."""
    link.server.log.warning("smtp.starttls.injection", session=link.peer.id, client=link.peer.client_ip)
    link.abort()
