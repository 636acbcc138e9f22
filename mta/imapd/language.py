"""LANGUAGE (RFC 5255 §3): what people read in our answers is English, and a client may ask.

I18NLEVEL=1 (§4.3) is no command: SEARCH, SORT and THREAD compare by i;unicode-casemap, which is ``mta.wire.mime.searchable.fold``.
"""
# SPDX-License-Identifier: Apache-2.0

from mta.imapd.answer import no, ok
from mta.imapd.session import Session

_OURS = (b"EN", b"I-DEFAULT")


async def language(session: Session, wanted: tuple[str, ...]) -> bytes:
    """Without arguments: which there are. Else the first that we have, by range (RFC 4647 §3.4): "en-GB" is English too."""
    if not wanted:
        session.out.write(b"* LANGUAGE (%b)\r\n" % b" ".join(_OURS))
        return ok(b"that is all")
    for tag in wanted:
        first = tag.upper().partition("-")[0]
        if first == "EN" or tag.upper() in ("I-DEFAULT", "DEFAULT", "*"):
            chosen = b"EN" if first == "EN" else b"I-DEFAULT"
            session.out.write(b"* LANGUAGE (%b)\r\n" % chosen)
            return ok(b"that is what you read")
    raise no(b"only English here")
