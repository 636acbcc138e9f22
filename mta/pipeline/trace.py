"""Trace fields (RFC 5321 §4.4): Received for everyone, Return-Path for local readers; Date and Message-ID where missing (RFC 6409 §8)."""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache

from mta.model.errors import TemporaryFailure
from mta.pipeline.header import build_field, parse_fields
from mta.pipeline.session import MailSession
from mta.pipeline.transaction import MailTransaction
from mta.pluginhost.offered import Offered

_CLAUSE = re.compile(r" (?=(?:by|tls|for|with) )|(?<=;) ")


@lru_cache(maxsize=4)
def format_date(second: int) -> str:
    """RFC 5322 §3.3, UTC. Cached: many messages share a second."""
    return formatdate(second)[:-5] + "+0000"


def with_protocol(session: MailSession, smtputf8: bool) -> str:
    """The "with" value: RFC 3848, RFC 6531 §4.3."""
    if session.protocol == "local" and not session.helo:
        return "local"
    if not session.esmtp:
        return "SMTP"
    return (
        ("UTF8SMTP" if smtputf8 else "ESMTP") + ("S" if session.tls else "") + ("A" if session.user and session.client_ip else "")
    )


def received(session: MailSession, transaction: MailTransaction, hostname: str, now: float) -> bytes:
    """The Received field. "for" only for a single recipient: others must not learn of each other (RFC 5321 §7.2)."""
    if session.client_ip:
        literal = f"IPv6:{session.client_ip}" if ":" in session.client_ip else session.client_ip
        origin = f"from {session.helo or 'unknown'} ([{literal}])\r\n\tby"
    elif session.user:
        origin = f"(from {_comment(session.user)})\r\n\tby"
    else:
        origin = "by"
    cipher = f"\r\n\ttls {session.cipher}" if session.tls and session.cipher else ""  # RFC 8314 §4.3
    only = f"\r\n\tfor <{transaction.accepted[0].recipient.original}>" if len(transaction.accepted) == 1 else ""
    text = (
        f"Received: {origin} {hostname} with {with_protocol(session, transaction.smtputf8)}{cipher} id {transaction.id}"
        f"{only};\r\n\t{format_date(int(now))}\r\n"
    )
    return text.encode("utf-8", "replace")


async def rewritten(writers: Iterable[Offered], session: MailSession, transaction: MailTransaction, octets: bytes) -> bytes:
    """The Received field as plugins want it (``registry.received_header``). Raises TemporaryFailure for what is none."""
    value = parse_fields(octets)[0][1].replace("\t", " ")
    for writer in writers:
        answer = await writer(session=session, transaction=transaction, field=value)
        if answer is None:
            continue
        if answer.rpartition(";")[2].strip() != value.rpartition(";")[2].strip():
            raise TemporaryFailure(f"received_header of plugin {writer.plugin}: the date is not that of the field")
        value = answer
    try:
        return build_field("Received", fold(value))
    except ValueError as exc:
        raise TemporaryFailure(f"received_header: {exc}") from exc


def fold(value: str) -> str:
    """Before words that begin a clause (RFC 5321 §4.4), and before the date."""
    return _CLAUSE.sub("\r\n\t", value)


def return_path(transaction: MailTransaction) -> bytes:
    return f"Return-Path: <{transaction.sender or ''}>\r\n".encode("utf-8", "replace")


def _comment(text: str) -> str:
    """Text that can stand in a comment (RFC 5322 §3.2.2)."""
    return "".join(c for c in text if c.isprintable() and c not in "()\\")
