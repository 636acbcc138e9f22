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

_LINE = re.compile(r"[^\r\n\0]{1,65536}\Z")
_TEXT = re.compile(r"[ -~]{1,1000}\Z")
_CODE = re.compile(r"[A-Z][A-Z0-9-]*(?: [ -Z\\^-~]{1,200})?\Z")


@dataclass(frozen=True, slots=True)
class ImapReply:
    """The tagged answer, after untagged ones.

    lines  without "* " and CRLF; octets that are no UTF-8 as in ``ImapCommand``
    code   response code without brackets (RFC 9051 §7.1)
    """

    text: str = "done"
    status: Literal["OK", "NO", "BAD"] = "OK"
    code: str = ""
    lines: Sequence[str] = ()

    def problem(self) -> str:
        """Why it is no answer; "" when it is one."""
        if self.status not in ("OK", "NO", "BAD"):
            return f"a status is OK, NO or BAD, not {str(self.status)[:20]!r}"
        if self.code and not _CODE.match(self.code):
            return f"{str(self.code)[:80]!r} is no response code"
        return _problem(self.text, self.lines)


@dataclass(frozen=True, slots=True)
class Pop3Reply:
    """+OK or -ERR with ``text``; ``lines``: a multi-line answer follows, None: none does."""

    text: str = ""
    ok: bool = True
    lines: Sequence[str] | None = None

    def problem(self) -> str:
        """Why it is no answer; "" when it is one."""
        if self.lines is not None and not self.ok:
            return "no lines follow -ERR"
        return _problem(self.text or "-", [line or "-" for line in self.lines or ()])


ImapHandler = Callable[..., ImapReply | Awaitable[ImapReply] | None]
SmtpHandler = Callable[..., Reply | Awaitable[Reply] | None]
Pop3Handler = Callable[..., Pop3Reply | Awaitable[Pop3Reply] | None]
ParamCheck = Callable[[str | None], str | None]
"""A parameter's value as sent, None when it has none; answers what is wrong with it (501 5.5.4), or None. ``def``, and quick."""


def _problem(text: Any, lines: Any) -> str:
    if not isinstance(text, str) or not _TEXT.match(text):
        return "a text is one line of at most 1000 printable ASCII characters"
    if not isinstance(lines, list | tuple) or not all(isinstance(line, str) and _LINE.match(line) for line in lines):
        return "lines are a list of str without CR, LF and NUL, each of 1 to 65536 characters"
    return ""
