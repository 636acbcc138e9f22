"""Commands of capabilities that plugins bring (RFC 2449 §5 leaves room for them)."""
# SPDX-License-Identifier: Apache-2.0

from mta.pluginhost.offers import OfferedCommand
from mta.pop3d.session import Refusal, Session
from mta.wire.pop3 import err, ok
from mta_hooks.capabilities import Pop3Reply


async def brought(session: Session, offer: OfferedCommand, argument: bytes) -> bytes:
    reply: Pop3Reply | None = await offer.call(session=session, arguments=argument.decode("utf-8", "replace"))
    if reply is None:
        raise Refusal("command not known")
    if not reply.ok:
        return err(reply.text or "not possible")
    first = ok(reply.text)
    if reply.lines is None:
        return first
    lines = [line.encode("utf-8", "surrogateescape") for line in reply.lines]
    return first + b"".join(b"%b%b\r\n" % (b"." if line.startswith(b".") else b"", line) for line in lines) + b".\r\n"
