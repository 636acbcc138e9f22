"""CATENATE (RFC 4469): a message put together of what the client sends and what lies here already. And literal8 (RFC 3516 §4.4)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import re
from dataclasses import replace

from mta.imapd.answer import no
from mta.imapd.session import Session
from mta.imapd.urls import BadUrl, show
from mta.model.errors import Refused
from mta.model.message import Content, OctetContent
from mta.wire.imap.append import Appendix
from mta.wire.imap.response import string
from mta.wire.imap.scanner import Malformed
from mta.wire.imap.url import read_url

_TELLABLE = re.compile(rb"[!-\\^-~]{1,500}")
_PIECE = 256 * 1024


async def assembled(session: Session, message: Appendix) -> Appendix:
    """The message with its content in lines. Raises Answer: NO [BADURL], NO [TOOBIG], NO [CANNOT]."""
    if message.parts:
        message = replace(message, content=await _joined(session, message), parts=())
    if message.binary and any(b"\0" in chunk for chunk in message.content.chunks(_PIECE)):
        message = replace(message, content=await _lined(session, message.content))
    return message


async def _lined(session: Session, content: Content) -> Content:
    """Binary parts as base64: BODY[] may show no NUL (RFC 9051 §4.3.1), and BINARY[] undoes it."""
    try:
        return await session.server.liner.convert(content)
    except Refused as exc:
        raise no(b"NUL outside of parts with Content-Transfer-Encoding: binary", b"CANNOT") from exc


async def _joined(session: Session, message: Appendix) -> Content:
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
    return sink.finish()


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
