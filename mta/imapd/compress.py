"""COMPRESS (RFC 4978 §3). Offered after login only, as nothing before it is worth the memory."""
# SPDX-License-Identifier: Apache-2.0

from mta.imapd.answer import bad, no, ok
from mta.imapd.session import Session


async def compress(session: Session, mechanism: str) -> None:
    out = session.out
    if mechanism != "DEFLATE":
        raise bad(b"no such mechanism")
    if out.compressed:
        raise bad(b"compression is active", b"COMPRESSIONACTIVE")
    if (secured := out.secured) is not None and secured.compression() is not None:
        raise no(b"TLS compresses already", b"COMPRESSIONACTIVE")
    if session.ahead or out.pipelined:
        raise bad(b"wait for the answer before you send more")  # who knows whether it is compressed
    session.reply(ok(b"DEFLATE active"))
    out.compress()
