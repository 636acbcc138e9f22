"""aiosmtpd's own session, envelope and server as handlers expect them, made from what mta's hooks are given."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from aiosmtpd.smtp import Envelope, Session

from mta_hooks import Address, Message
from mta_hooks import Session as MtaSession

NOTE = "aiosmtpd"


def blank(loop: asyncio.AbstractEventLoop, ip: str = "", port: int = 0) -> Any:
    """A session of aiosmtpd; its annotations do not say what its attributes hold."""
    session: Any = Session(loop)
    session.peer = (ip, port)
    return session


class Seat:
    """What one connection has: kept in ``session.notes``. ``fresh`` begins the next transaction, as the objects of one are reused."""

    def __init__(self, session: MtaSession, loop: asyncio.AbstractEventLoop) -> None:
        self.session = blank(loop, session.client_ip, session.client_port)
        self.envelope = Envelope()

    @classmethod
    def of(cls, session: MtaSession, loop: asyncio.AbstractEventLoop) -> "Seat":
        seat: Seat | None = session.notes.get(NOTE)
        if seat is None:
            seat = session.notes[NOTE] = cls(session, loop)
        face = seat.session
        face.host_name = session.helo or face.host_name
        face.ssl = {} if session.tls and face.ssl is None else face.ssl
        if session.user:
            face.authenticated, face.auth_data = True, session.user
        return seat

    def fresh(self) -> None:
        self.envelope = Envelope()


def server(hostname: str, handler: Any, loop: asyncio.AbstractEventLoop) -> SimpleNamespace:
    """The attributes of aiosmtpd's ``SMTP`` that handlers read; there is no transport behind it."""
    return SimpleNamespace(hostname=hostname, event_handler=handler, loop=loop, transport=None, enable_SMTPUTF8=True)


def text(address: Address | None) -> str:
    return "" if address is None else str(address)


def options(params: Mapping[str, str | None]) -> list[str]:
    return [key if value is None else f"{key}={value}" for key, value in params.items()]


def letter(message: Message, recipients: Iterable[Address], options: list[str]) -> Envelope:
    """An envelope with its message, for ``handle_DATA``."""
    envelope = Envelope()
    envelope.mail_from, envelope.mail_options = text(message.sender), options
    envelope.smtp_utf8 = "SMTPUTF8" in options
    envelope.rcpt_tos = [str(address) for address in recipients]
    envelope.content = envelope.original_content = message.raw
    return envelope
