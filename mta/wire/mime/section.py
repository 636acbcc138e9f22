"""Body sections by part numbers (RFC 9051 §6.4.5.1, §6.4.5.2): offsets for BODY[…], nothing is copied.

Part 1 of a message that is no multipart is its body. The numbers of a message/rfc822 part count the parts of the message
inside. HEADER and TEXT behind numbers are about a message inside, MIME about the part's own header.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from typing import Literal

from mta.wire.mime.entity import Entity

Kind = Literal["", "HEADER", "TEXT", "MIME"]


def find_part(root: Entity, path: Sequence[int]) -> Entity | None:
    """Return the part with these numbers (from 1), the message itself for an empty path, None when there is none."""
    entity = root
    is_message = True  # what the next number counts in: the message ``entity``, or the part ``entity``
    for number in path:
        if not is_message and entity.message is not None:
            entity = entity.message
            is_message = True
        if entity.children:
            if not 0 < number <= len(entity.children):
                return None
            entity = entity.children[number - 1]
        elif number != 1 or not is_message:
            return None
        is_message = False
    return entity


def section(root: Entity, octets: bytes, path: Sequence[int], kind: Kind) -> tuple[int, int] | None:
    """Return the section's [start, end) in ``octets``, or None when the message has no such section (IMAP shows NIL).

    ``kind`` "" is the whole message for an empty path, else the part's body. For HEADER.FIELDS take HEADER's range and
    ``headers.subset``.
    """
    entity = find_part(root, path)
    if entity is None:
        return None
    if not path:
        if kind == "MIME":
            return None
        message = entity
    elif kind == "":
        return entity.body_start, entity.end
    elif kind == "MIME":
        return entity.header_start, entity.body_start
    elif entity.message is None:
        return None
    else:
        message = entity.message
    if kind == "HEADER":
        return message.header_start, message.body_start
    if kind == "TEXT":
        return message.body_start, message.end
    return message.header_start, len(octets)
