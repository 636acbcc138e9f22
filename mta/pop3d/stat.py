"""STAT (RFC 1939 §5): count and octets of what is not marked as deleted."""
# SPDX-License-Identifier: Apache-2.0

from mta.pop3d.session import Session


def stat(session: Session, _argument: bytes) -> bytes:
    return b"+OK %d %d\r\n" % (session.open.count, session.open.octets)
