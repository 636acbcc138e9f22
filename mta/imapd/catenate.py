"""CATENATE (RFC 4469): a message put together of what the client sends and what lies here already."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import re
from dataclasses import replace

from mta.imapd.answer import no
from mta.imapd.session import Session
from mta.imapd.urls import BadUrl, show
from mta.model.message import Content, OctetContent
from mta.wire.imap.append import Appendix
from mta.wire.imap.response import string
from mta.wire.imap.scanner import Malformed
from mta.wire.imap.url import read_url

_TELLABLE = re.compile(rb"[!-\\^-~]{1,500}")
_PIECE = 256 * 1024


async def assembled(session: Session, message: Appendix) -> Appendix:
    """The message with its content, if it was given in parts. Raises Answer: NO [BADURL], NO [TOOBIG]."""
    if not message.parts:
        return message
    server = session.server
    left = server.config.limits.message_size
    sink = server.open_sink(left)
    for part in message.parts:
        content = await _content(session, part, left)
        left -= content.size
        if left < 0:
            raise no(b"message too large", b"TOOBIG")
        for chunk in content.chunks(_PIECE):
            sink.write(chunk)
            if sink.full:
                await asyncio.to_thread(sink.spill)
    return replace(message, content=sink.finish(), parts=())


async def _content(session: Session, part: bytes | Content, left: int) -> Content:
    if not isinstance(part, bytes):
        return part
    try:
        return OctetContent(await show(session, read_url(part), left))
    except (BadUrl, Malformed):
        # What stands in the code is what the client sent, so it is one line (RFC 4469 §4).
        shown = string(part) if _TELLABLE.fullmatch(part) else b'""'
        raise no(b"nothing to be read there", b"BADURL " + shown) from None
    except OverflowError:
        raise no(b"message too large", b"TOOBIG") from None
