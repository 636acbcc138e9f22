"""Commands that plugins bring: of a capability, or by the hook ``imap_command``. What nobody knows is BAD."""
# SPDX-License-Identifier: Apache-2.0

from mta.imapd.answer import bad
from mta.imapd.session import Session
from mta.wire.imap.other import ImapCommand
from mta.wire.imap.response import status_line
from mta_hooks.capabilities import ImapReply


async def brought(session: Session, command: ImapCommand) -> bytes:
    hooks = session.server.hooks
    reply: ImapReply | None = None
    if (offer := hooks.offering.commands.get(("imap", command.verb))) is not None:
        if session.user is None and not offer.before_login:
            raise bad(b"log in first")
        reply = await offer.call(session=session.peer, arguments=list(command.arguments))
    elif (plan := hooks.imap_command) is not None:
        reply = await plan.first(session=session.peer, command=command)
    if reply is None:
        raise bad(b"no such command")
    for line in reply.lines:
        session.out.write(b"* %b\r\n" % line.encode("utf-8", "surrogateescape"))
    return status_line(reply.status.encode("ascii"), reply.code.encode("ascii"), reply.text.encode("ascii"))
