"""UTF8 (RFC 6856 §2.1): the client takes messages with UTF-8 in their header.

Who does not say it is given such messages as they are too: a mailbox that cannot be emptied would be worse than a header field that is
shown badly (§4 leaves both to the server). Names and passwords are UTF-8 in any case ("UTF8 USER", §2.2).
"""
# SPDX-License-Identifier: Apache-2.0

from mta.pop3d.session import Session
from mta.wire.pop3 import ok


def utf8(_session: Session, _argument: bytes) -> bytes:
    return ok("UTF-8 it is")
