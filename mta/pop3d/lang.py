"""LANG (RFC 6856 §3): in which language the texts behind +OK and -ERR are. There is one, English; "i-default" is the same (RFC 2277 §4.5)."""
# SPDX-License-Identifier: Apache-2.0

from mta.pop3d.session import Refusal, Session
from mta.wire.pop3 import ok

_LIST = b"+OK languages follow\r\nen English\r\ni-default English\r\n.\r\n"


def lang(_session: Session, argument: bytes) -> bytes:
    """A "*" asks for what the server thinks best, a range like "en-GB" for what comes near it."""
    if not argument:
        return _LIST
    wanted = argument.strip().lower()
    if wanted == b"i-default":
        return ok("i-default English")
    if wanted == b"*" or wanted.partition(b"-")[0] == b"en":
        return ok("en English")
    raise Refusal("no such language; LANG alone lists them")
