"""Commands and capabilities of IMAP, ESMTP and POP3 that a plugin brings with ``registry.capability``.

    async def ping(session):
        return ImapReply("pong", lines=("XPING " + session.user,))

    registry.capability("imap", "XPING", commands={"XPING": ping})
    registry.capability("smtp", "XCOST", params="EUR", mail={"XCOST": check_cost})
    registry.capability("pop3", "XQUOTA", commands={"XQUOTA": quota})

A handler names what it wants of ``session``, ``arguments`` and ``ctx``. ``arguments`` is a list of tokens over IMAP, the rest of the line
over SMTP and POP3. It may be ``def`` or ``async def``, has ten seconds, and an exception answers "try again later"; None: no such command.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mta.model.reply import Reply
from mta.wire.imap.other import Argument, ImapCommand

__all__ = ["Argument", "ImapCommand", "ImapHandler", "ImapReply", "ParamCheck", "Pop3Handler", "Pop3Reply", "SmtpHandler"]

_LINE = re.compile(rb"[^\r\n\0]{1,65536}\Z")
_TEXT = re.compile(r"[ -~]{1,1000}\Z")
_CODE = re.compile(r"[A-Z][A-Z0-9-]*(?: [ -Z\\^-~]{1,200})?\Z")


@dataclass(frozen=True, slots=True)
class ImapReply:
    """The tagged answer, after untagged ones.

    lines  without "* " and CRLF; octets or text
    code   response code without brackets (RFC 9051 §7.1)
    Raises ValueError for what is no answer.
    """

    text: str = "done"
    status: Literal["OK", "NO", "BAD"] = "OK"
    code: str = ""
    lines: Sequence[str | bytes] = ()

    def __post_init__(self) -> None:
        if self.status not in ("OK", "NO", "BAD"):
            raise ValueError(f"a status is OK, NO or BAD, not {self.status!r}")
        if self.code and not _CODE.match(self.code):
            raise ValueError(f"{self.code[:80]!r} is no response code")
        _check(self.text, self.lines)


@dataclass(frozen=True, slots=True)
class Pop3Reply:
    """+OK or -ERR with ``text``; ``lines``: a multi-line answer follows, None: none does. Raises ValueError for what is no answer."""

    text: str = ""
    ok: bool = True
    lines: Sequence[str | bytes] | None = None

    def __post_init__(self) -> None:
        _check(self.text or "-", self.lines or (), empty=True)
        if self.lines is not None and not self.ok:
            raise ValueError("no lines follow -ERR")


ImapHandler = Callable[..., ImapReply | Awaitable[ImapReply] | None]
SmtpHandler = Callable[..., Reply | Awaitable[Reply] | None]
Pop3Handler = Callable[..., Pop3Reply | Awaitable[Pop3Reply] | None]
ParamCheck = Callable[[str | None], str | None]
"""A parameter's value as sent, None when it has none; answers what is wrong with it (501 5.5.4), or None. ``def``, and quick."""


def _check(text: str, lines: Any, *, empty: bool = False) -> None:
    if not _TEXT.match(text):
        raise ValueError("a text is one line of at most 1000 printable ASCII characters")
    for line in lines:
        octets = line.encode("utf-8") if isinstance(line, str) else line
        if not (empty and not octets) and not _LINE.match(octets):
            raise ValueError("a line is 1 to 65536 octets without CR, LF and NUL")
