"""Binary parts as base64, so that a message is made of lines again (RFC 3030 §3, RFC 2045 §6.2).

Every part whose Content-Transfer-Encoding is "binary" is encoded; what holds other parts says "8bit" afterwards. Octets that no
line may hold and that are in no such part make the message faulty. Below a signature (RFC 1847 §2.1) nothing may be encoded anew: such
a message has no form in lines.
"""
# SPDX-License-Identifier: Apache-2.0

import base64

from mta.wire.mime.parse import parse

_ENCODING = b"content-transfer-encoding"


class SignedBinary(ValueError):
    """A part that is signed as it is, and binary."""


def lined(octets: bytes) -> bytes:
    """Return the message in lines that end with CRLF.

    Raises SignedBinary; ValueError: a bare CR or LF, or a NUL, outside of binary parts.
    """
    out: list[bytes] = []
    at = 0
    root = parse(octets)
    signed: set[int] = set()
    for entity in root.walk():
        below = id(entity) in signed
        if below or (entity.maintype, entity.subtype) == ("multipart", "signed"):
            signed.update(map(id, entity.children))
            if entity.message is not None:
                signed.add(id(entity.message))
        if entity.encoding != "binary":
            continue
        if below:
            raise SignedBinary("a part that is signed is binary")
        is_leaf = not entity.children and entity.message is None
        for field in entity.fields(octets):
            if field.name == _ENCODING and field.start >= at:
                out += (octets[at : field.value], b" base64\r\n" if is_leaf else b" 8bit\r\n")
                at = field.end
        if is_leaf:
            encoded = base64.encodebytes(octets[entity.body_start : entity.end]).replace(b"\n", b"\r\n")
            out += (octets[at : entity.body_start], encoded if entity is root else encoded[:-2])
            at = entity.end
    out.append(octets[at:])
    made = b"".join(out)
    if not made.endswith(b"\r\n"):
        made += b"\r\n"
    if not made.count(b"\r\n") == made.count(b"\n") == made.count(b"\r") or b"\0" in made:
        raise ValueError("binary octets outside of binary parts")
    return made
