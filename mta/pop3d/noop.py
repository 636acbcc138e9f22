"""NOOP (RFC 1939 §5)."""
# SPDX-License-Identifier: Apache-2.0

from mta.pop3d.session import Session
from mta.wire.pop3 import ok


def noop(_session: Session, _argument: bytes) -> bytes:
    return ok()
