"""What a reply says, as plugins want it (``smtp_reply``); its codes, which machines read, stay."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from mta.model.errors import TemporaryFailure
from mta.model.reply import Reply
from mta.smtpd.protocol import SmtpProtocol
from mta.wire.smtp.command import Ehlo, Helo, Lhlo, Unknown

CONTINUE_AUTH = 334
_GREETINGS = frozenset((Ehlo, Helo, Lhlo))


def word(link: SmtpProtocol, reply: Reply) -> Reply | Coroutine[Any, Any, Reply]:
    """The reply to send; at once where no plugin has to be waited for. A plugin that fails changes nothing."""
    plan, command = link.server.hooks.smtp_reply, link.command
    if plan is None or reply.code == CONTINUE_AUTH or (command.__class__ in _GREETINGS and reply.positive):
        return reply
    asked = plan.prompt_pipeline("reply", session=link.peer, command=_verb(command), reply=reply)
    return reply if asked is None else _worded(reply, asked)


async def worded(link: SmtpProtocol, reply: Reply) -> Reply:
    """The same for who can wait."""
    said = word(link, reply)
    return said if isinstance(said, Reply) else await said


async def _worded(reply: Reply, asked: Coroutine[Any, Any, Reply]) -> Reply:
    try:
        worded = await asked
    except TemporaryFailure:
        return reply
    return reply if worded is reply else replace(reply, text=worded.text)


def _verb(command: object) -> str:
    if isinstance(command, str):
        return command
    return command.verb.upper() if isinstance(command, Unknown) else command.__class__.__name__.upper()
