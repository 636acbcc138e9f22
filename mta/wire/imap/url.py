"""IMAP URLs (RFC 5092), as CATENATE and URLAUTH use them: one message or a part of it, of this server.

Relative ones are understood against the server (``/INBOX/;UID=1``) or the open mailbox (``;UID=1``). ``;PARTIAL=`` is RFC 5092 §6 (the
capability URL-PARTIAL: RFC 5550 §3.2), ``;EXPIRE=`` and ``;URLAUTH=`` RFC 4467.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from mta.wire.imap.fetch import Section, read_section
from mta.wire.imap.mailbox import decode_name
from mta.wire.imap.scanner import Malformed, Scanner

LONGEST = 4096
_SERVER = re.compile(
    r"imap://(?:([^@/;]*)(?:;AUTH=[^@/]*)?@)?([^/:@;\[\]]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?(?=/)", re.IGNORECASE
)
_MESSAGE = re.compile(
    r"(?:/(?P<mailbox>[^;]*?)(?:;UIDVALIDITY=(?P<validity>[1-9][0-9]{0,9}))?/?)?;UID=(?P<uid>[1-9][0-9]{0,9})"
    r"(?:/;SECTION=(?P<section>[^;]+?))?(?:/;PARTIAL=(?P<start>[0-9]{1,19})(?:\.(?P<count>[1-9][0-9]{0,18}))?)?"
    r"(?P<auth>(?:;EXPIRE=(?P<expire>[^;]+))?;URLAUTH=(?P<access>[^:;]+)(?::(?P<mechanism>[A-Za-z0-9.\-]+):(?P<token>[0-9A-Fa-f]+))?)?",
    re.IGNORECASE,
)
_EXPIRE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})\Z")


@dataclass(frozen=True, slots=True)
class Authority:
    """``;EXPIRE=…;URLAUTH=access:mechanism:token``. ``signed``: the URL up to what the token is about; ``token`` "": it has none yet."""

    access: str
    signed: str
    expire: str = ""
    mechanism: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Url:
    """``host`` "": relative to the server; ``mailbox`` None: to the open mailbox. ``count`` None: to the end."""

    uid: int
    mailbox: str | None = None
    host: str = ""
    user: str = ""
    uid_validity: int | None = None
    section: Section = Section()
    start: int = 0
    count: int | None = None
    authority: Authority | None = None


def read_url(octets: bytes) -> Url:
    """Raises Malformed for what names no message."""
    if len(octets) > LONGEST or not octets.isascii():
        raise Malformed("no IMAP URL")
    text = octets.decode("ascii")
    server = _SERVER.match(text)
    found = _MESSAGE.fullmatch(text, server.end() if server else 0)
    if found is None or (server is not None and found["mailbox"] is None):
        raise Malformed("no URL of a message")
    authority = None
    if found["auth"]:
        if found["expire"] and not _EXPIRE.match(found["expire"]):
            raise Malformed("no date and time")
        signed = text[: found.end("access")]
        authority = Authority(
            found["access"].lower(),
            signed,
            found["expire"] or "",
            (found["mechanism"] or "").upper(),
            (found["token"] or "").lower(),
        )
    return Url(
        int(found["uid"]),
        decode_name(unquote_to_bytes(found["mailbox"]), utf8=True) if found["mailbox"] else None,
        server[2].lower() if server else "",
        unquote_to_bytes(server[1] or "").decode("utf-8", "replace") if server else "",
        int(found["validity"]) if found["validity"] else None,
        _section(found["section"]),
        int(found["start"] or 0),
        int(found["count"]) if found["count"] else None,
        authority,
    )


def _section(encoded: str | None) -> Section:
    if encoded is None:
        return Section()
    scan = Scanner(b"[" + unquote_to_bytes(encoded) + b"]")
    section = read_section(scan)
    scan.end()
    return section
