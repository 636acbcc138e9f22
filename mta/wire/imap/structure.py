"""ENVELOPE, BODY and BODYSTRUCTURE as octets (RFC 9051 §7.5.2), and the form in which the store keeps them.

Octets of the message are passed on undecoded; what no quoted string may hold becomes a literal, which every client reads.
"""
# SPDX-License-Identifier: Apache-2.0

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from mta.wire.imap.response import nstring, string
from mta.wire.mime import Entity, Mailbox, envelope

_HEAD = struct.Struct(">BIII")
_VERSION = 1
_WITH_PREVIEW = 2
_PREVIEW = struct.Struct(">H")
_MOST_PARTS = 1000
"""Parts shown; the rest of a message with more is left out, as no client can show it either."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What FETCH asks of a message again and again. ``header``: octets of its header section."""

    header: int
    envelope: bytes
    body: bytes
    bodystructure: bytes

    def encode(self) -> bytes:
        head = _HEAD.pack(_VERSION, self.header, len(self.envelope), len(self.body))
        return b"".join((head, self.envelope, self.body, self.bodystructure))

    @classmethod
    def decode(cls, octets: bytes | None) -> "Parsed | None":
        """None when there is nothing, or it was written by another version: parse again."""
        if octets is None or len(octets) < _HEAD.size or octets[0] > _WITH_PREVIEW or not octets[0]:
            return None
        version, header, envelope_size, body_size = _HEAD.unpack_from(octets)
        at = _HEAD.size
        middle, end = at + envelope_size, at + envelope_size + body_size
        if version == _VERSION:
            return cls(header, octets[at:middle], octets[middle:end], octets[end:])
        return cls(header, octets[at:middle], octets[middle:end], octets[end : _before_preview(octets)])


def _before_preview(octets: bytes) -> int:
    last = len(octets) - _PREVIEW.size
    return last - int(_PREVIEW.unpack_from(octets, last)[0])


def with_preview(encoded: bytes, preview: bytes) -> bytes:
    """The encoded form of a message with its preview behind it (RFC 8970), where few commands look."""
    return bytes((_WITH_PREVIEW,)) + encoded[1:] + preview + _PREVIEW.pack(len(preview))


def preview_of(encoded: bytes | None) -> bytes | None:
    """None: it was not made yet."""
    if encoded is None or len(encoded) < _HEAD.size + _PREVIEW.size or encoded[0] != _WITH_PREVIEW:
        return None
    return encoded[_before_preview(encoded) : len(encoded) - _PREVIEW.size]


def parsed(root: Entity, octets: bytes) -> Parsed:
    """``octets`` is the whole message that ``root`` was made from."""
    body, bodystructure = _Writer(octets).structure(root)
    return Parsed(root.body_start, encode_envelope(root, octets), body, bodystructure)


def encode_envelope(message: Entity, octets: bytes) -> bytes:
    found = envelope(message, octets)
    author = _addresses(found.from_)
    return b"(%b)" % b" ".join(
        (
            nstring(found.date),
            nstring(found.subject),
            author,
            author if found.sender is found.from_ else _addresses(found.sender),
            author if found.reply_to is found.from_ else _addresses(found.reply_to),
            _addresses(found.to),
            _addresses(found.cc),
            _addresses(found.bcc),
            nstring(found.in_reply_to),
            nstring(found.message_id),
        )
    )


def _addresses(entries: Sequence[Mailbox]) -> bytes:
    if not entries:
        return b"NIL"
    return b"(%b)" % b"".join([b"(%b %b %b %b)" % tuple(map(nstring, entry)) for entry in entries])


class _Writer:
    """BODY and BODYSTRUCTURE, which says more, in one walk. Depth is bounded by the parser (100 levels)."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._left = _MOST_PARTS

    def structure(self, part: Entity) -> tuple[bytes, bytes]:
        self._left -= 1
        if part.children:
            return self._multipart(part)
        return self._single(part)

    def _multipart(self, part: Entity) -> tuple[bytes, bytes]:
        inner = [self.structure(child) for child in part.children if self._left > 0]
        subtype = string(part.subtype.upper().encode("latin-1"))
        plain = b"(%b %b)" % (b"".join([body for body, _ in inner]), subtype)
        parts = b"".join([structure for _, structure in inner])
        return plain, b"(%b %b %b %b)" % (parts, subtype, _pairs(part.raw_parameters), self._tail(part))

    def _single(self, part: Entity) -> tuple[bytes, bytes]:
        parameters = part.raw_parameters
        if part.maintype == "text" and not any(name == b"charset" for name, _ in parameters):
            parameters = [*parameters, (b"charset", b"us-ascii")]  # RFC 2045 §5.2: what absent means
        start = b"%b %b %b %b %b %b %d" % (
            string(part.maintype.upper().encode("latin-1")),
            string(part.subtype.upper().encode("latin-1")),
            _pairs(parameters),
            nstring(part.content_id),
            nstring(part.description),
            string(part.encoding.upper().encode("latin-1", "replace")),
            part.body_size,
        )
        tail = b"%b %b" % (nstring(part.md5), self._tail(part))
        if part.message is not None:
            shown = encode_envelope(part.message, self._octets)
            body, structure = self.structure(part.message)
            plain = b"(%b %b %b %d)" % (start, shown, body, part.lines)
            return plain, b"(%b %b %b %d %b)" % (start, shown, structure, part.lines, tail)
        if part.maintype == "text":
            start += b" %d" % part.lines
        return b"(%b)" % start, b"(%b %b)" % (start, tail)

    def _tail(self, part: Entity) -> bytes:
        """Disposition, language, location."""
        disposition = part.disposition
        shown = (
            b"NIL"
            if disposition is None
            else b"(%b %b)" % (string(disposition[0].encode("latin-1", "replace")), _pairs(disposition[1]))
        )
        languages = part.language
        if not languages:
            language = b"NIL"
        elif len(languages) == 1:
            language = string(languages[0])
        else:
            language = b"(%b)" % b" ".join(map(string, languages))
        return b"%b %b %b" % (shown, language, nstring(part.location))


def _pairs(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    if not pairs:
        return b"NIL"
    return b"(%b)" % b" ".join([string(word) for pair in pairs for word in pair])
