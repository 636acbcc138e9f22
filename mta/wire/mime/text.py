"""The readable text of a message, decoded, for SEARCH and filters (RFC 2045 §6, RFC 2046 §4.1)."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator

from mta.wire.mime.charsets import decode
from mta.wire.mime.entity import Entity
from mta.wire.mime.words import decode_base64, decode_quoted_printable, decode_words

MAX_TEXT = 16 * 2**20
"""Characters that ``text`` gives at most."""


def text(entity: Entity, octets: bytes, limit: int = MAX_TEXT) -> Iterator[str]:
    """Yield the decoded content of the text/* parts in order, and the header sections of messages inside.

    HTML is given with its tags. At most ``limit`` octets are decoded in all, so at most ``limit`` characters come.
    """
    for part in entity.walk():
        if limit <= 0:
            return
        if part.message is not None:
            inner = part.message
            end = min(inner.body_start, inner.header_start + limit)
            limit -= end - inner.header_start
            header = octets[inner.header_start : end].replace(b"\r\n ", b" ").replace(b"\r\n\t", b"\t")
            yield "\n".join(decode_words(line.rstrip(b"\r")) for line in header.split(b"\n"))
        elif part.maintype == "text":
            end = min(part.end, part.body_start + limit)
            limit -= end - part.body_start
            yield decode(_decode_transfer(octets[part.body_start : end], part.encoding), part.parameters.get("charset", "utf-8"))


def body(entity: Entity, octets: bytes) -> bytes:
    """Return the octets of one leaf part with its transfer encoding undone."""
    return _decode_transfer(octets[entity.body_start : entity.end], entity.encoding)


def _decode_transfer(octets: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        return decode_base64(octets)
    if encoding == "quoted-printable":
        return decode_quoted_printable(octets)
    return octets
