"""Messages taken apart: structure by byte offsets, header fields, envelope, decoded text.

    root = parse(octets)                          the tree of entities, offsets only
    envelope(root, octets)                        IMAP ENVELOPE
    section(root, octets, (1, 2), "MIME")         [start, end) of BODY[1.2.MIME]
    subset(octets, start, end, {b"subject"})      HEADER.FIELDS (Subject)
    headers(octets)                               (name, value) pairs as hooks see them
    text(root, octets), decode_words(value)       what people read

Nothing here raises on bad mail, recurses, or takes more than linear time.
"""
# SPDX-License-Identifier: Apache-2.0

from mta.wire.mime.addresses import Mailbox, addresses
from mta.wire.mime.entity import Entity
from mta.wire.mime.envelope import Envelope, envelope, read_envelope
from mta.wire.mime.headers import Field, fields, header_end, headers, subset, unfold
from mta.wire.mime.parameters import decoded, split_value
from mta.wire.mime.parse import MAX_DEPTH, MAX_PARTS, parse
from mta.wire.mime.preview import preview
from mta.wire.mime.section import find_part, section
from mta.wire.mime.text import body, text
from mta.wire.mime.words import decode_words

__all__ = [
    "MAX_DEPTH", "MAX_PARTS", "Entity", "Envelope", "Field", "Mailbox", "addresses", "body", "decode_words", "decoded",
    "envelope", "fields", "find_part", "header_end", "headers", "parse", "preview", "read_envelope", "section", "split_value", "subset",
    "text", "unfold",
]  # fmt: skip
