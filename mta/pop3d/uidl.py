"""UIDL (RFC 1939 §7): number and lasting identifier, ``<uidvalidity>.<uid>``."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable

from mta.pop3d.list import send_lines
from mta.pop3d.session import Session


def uidl(session: Session, argument: bytes) -> bytes | Awaitable[bytes]:
    maildrop = session.open
    if argument:
        index = session.number(argument)
        return f"+OK {index + 1} {maildrop.unique_id(index)}\r\n".encode("ascii")
    uids, validity = maildrop.uids, maildrop.uid_validity
    return send_lines(session, lambda a, b: "".join([f"{i + 1} {validity}.{uids[i]}\r\n" for i in maildrop.present(a, b)]))
