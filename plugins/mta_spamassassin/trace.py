"""The trace fields that spamd is shown above a message (RFC 5321 §4.4): sender and client, which most of its tests look at.

HELO is the peer's own choice: what could end the field, or forge its parts, is replaced.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from email.utils import formatdate

from mta_hooks import Message, Session

_ODD = re.compile(r"[^A-Za-z0-9.:_-]")


def trace_fields(session: Session, message: Message, hostname: str, now: float) -> bytes:
    """Return-Path, and Received when there is a client with an address. ``ESMTPA`` tells SpamAssassin that it is a user of ours."""
    sender = "" if message.sender is None else str(message.sender)
    lines = [f"Return-Path: <{sender}>"]
    if client := _ODD.sub("", session.client_ip.partition("%")[0]):
        helo = _ODD.sub("?", session.helo.strip("[]"))[:255] or "unknown"
        literal = f"[IPv6:{client}]" if ":" in client else f"[{client}]"
        kind = f"ESMTP{'S' if session.tls else ''}{'A' if session.user else ''}"
        lines.append(
            f"Received: from {helo} ({literal})\r\n\tby {hostname} (mta) with {kind} id {message.id};\r\n\t{formatdate(now)}"
        )
    return ("\r\n".join(lines) + "\r\n").encode("utf-8", "replace")
