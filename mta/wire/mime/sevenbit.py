"""A message in 7-bit octets for a next hop without 8BITMIME (RFC 6152 §3): 8-bit parts in quoted-printable or base64 (RFC 2045 §6).

What is signed or encrypted as a part (RFC 1847), header fields with 8-bit octets, and what is mislabelled stay as they are, and then there
is no such form. A DKIM signature over the body breaks; the alternative is that the mail does not go at all.
"""
# SPDX-License-Identifier: Apache-2.0

import binascii

from mta.wire.mime.entity import Entity
from mta.wire.mime.headers import fields
from mta.wire.mime.parse import parse


class NoSevenBitForm(Exception):
    """Why, for a report."""


def seven_bit(octets: bytes) -> bytes:
    """Raises NoSevenBitForm."""
    root = parse(octets)
    done = _convert(root, octets)
    if b"mime-version" not in {name.lower() for name, _ in _pairs(octets[: root.body_start])}:
        done = b"MIME-Version: 1.0\r\n" + done
    return done


def _convert(entity: Entity, octets: bytes) -> bytes:
    header, body = octets[entity.header_start : entity.body_start], octets[entity.body_start : entity.end]
    if not header.isascii():
        raise NoSevenBitForm("it has 8-bit header fields")
    if body.isascii():
        return header + body
    if entity.opaque:
        raise NoSevenBitForm("it cannot be taken apart")
    if entity.maintype == "multipart":
        if entity.subtype in ("signed", "encrypted"):
            raise NoSevenBitForm("a part of it is signed")
        return _labelled(header, b"7bit") + _children(entity, octets)
    if entity.message is not None:
        inner = _convert(entity.message, octets)
        return _labelled(header, b"7bit") + octets[entity.body_start : entity.message.header_start] + inner
    if entity.encoding not in ("7bit", "8bit", "binary"):
        raise NoSevenBitForm("a part of it is not encoded as it says")
    if entity.maintype == "text" and 4 * sum(octet > 127 for octet in body) < len(body):
        return _typed(_labelled(header, b"quoted-printable"), entity, body) + _quoted(body)
    lines = binascii.b2a_base64(body, newline=False)
    packed = b"\r\n".join(lines[start : start + 76] for start in range(0, len(lines), 76))
    return _typed(_labelled(header, b"base64"), entity, body) + packed + (b"\r\n" if body.endswith(b"\n") else b"")


def _quoted(body: bytes) -> bytes:
    lines = body.split(b"\r\n")
    return b"\r\n".join(binascii.b2a_qp(line, istext=False).replace(b"=\n", b"=\r\n") for line in lines)


def _children(entity: Entity, octets: bytes) -> bytes:
    pieces, at = [], entity.body_start
    for child in entity.children:
        pieces += [octets[at : child.header_start], _convert(child, octets)]
        at = child.end
    pieces.append(octets[at : entity.end])
    if not all(piece.isascii() for piece in pieces):
        raise NoSevenBitForm("it has 8-bit octets between its parts")
    return b"".join(pieces)


def _pairs(header: bytes) -> list[tuple[bytes, bytes]]:
    """(name, the whole field with its line end)."""
    return [(bytes(field.name), header[field.start : field.end]) for field in fields(header)]


def _labelled(header: bytes, encoding: bytes) -> bytes:
    kept = [whole for name, whole in _pairs(header) if name.lower() != b"content-transfer-encoding"]
    return b"".join(kept) + b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n"


def _typed(header: bytes, entity: Entity, body: bytes) -> bytes:
    """Text that says nothing of its characters, and has others than ASCII, is what it looks like (RFC 1428)."""
    if b"content-type" in entity.raw:
        return header
    try:
        body.decode("utf-8")
        charset = b"utf-8"
    except UnicodeDecodeError:
        charset = b"unknown-8bit"
    return b"Content-Type: text/plain; charset=" + charset + b"\r\n" + header
