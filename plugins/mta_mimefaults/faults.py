"""What in a message means one thing to one reader and another to the next (draft-chen-email-mime-ambiguity-defense; RFC 2045, RFC 2046, RFC 5322 §3.6).

A filter that decodes such a part as one standard has it and a mail reader that guesses do not see the same: that is how attachments
pass unseen. Only structure is looked at, in linear time; what it says is in the names of ``FAULTS``.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections import Counter
from collections.abc import Iterator

from mta.wire.mime import Entity, parse

FAULTS = {
    "double-field": "a field twice of which there may be one",
    "double-parameter": "a parameter of Content-Type twice",
    "encoding": "a Content-Transfer-Encoding that is none, or that this type may not have",
    "base64": "base64 with other characters in it, or not of whole groups, or going on behind its end",
    "boundary": "a multipart without a usable boundary, or with that of one around it",
    "open-multipart": "a multipart that does not end",
    "names-differ": "a part that is named differently in Content-Type and Content-Disposition",
    "assembled": "message/partial or message/external-body: the content is elsewhere",
}
_OF_A_PART = frozenset(
    (b"content-type", b"content-transfer-encoding", b"content-disposition", b"content-id", b"content-description", b"mime-version")
)
_OF_A_MESSAGE = frozenset(
    (b"from", b"sender", b"reply-to", b"to", b"cc", b"subject", b"date", b"message-id", b"in-reply-to", b"references")
)
_ENCODINGS = frozenset((b"7bit", b"8bit", b"binary", b"quoted-printable", b"base64"))
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*+={0,2}\Z")
_ELSEWHERE = frozenset(("message/partial", "message/external-body"))
_LONGEST_BOUNDARY = 70  # RFC 2046 §5.1.1


def find(octets: bytes) -> list[str]:
    """Names of the faults, each once, in the order of ``FAULTS``."""
    found: set[str] = set()
    root = parse(octets)
    stack: list[tuple[Entity, frozenset[bytes]]] = [(root, frozenset())]
    while stack:
        entity, around = stack.pop()
        found.update(_fields(entity, octets, is_root=entity is root))
        found.update(_encoding(entity, octets))
        inner = around
        if _declared(entity).startswith(b"multipart/"):
            boundary = next((value for name, value in entity.raw_parameters if name == b"boundary"), b"")
            found.update(_boundary(entity, octets, boundary, around))
            inner = around | {boundary}
        stack.extend((child, inner) for child in entity.children)
        if entity.message is not None:
            stack.append((entity.message, inner))
    return [name for name in FAULTS if name in found]


def _fields(entity: Entity, octets: bytes, *, is_root: bool) -> Iterator[str]:
    counted = Counter(field.name for field in entity.fields(octets))
    if any(count > 1 and (name in _OF_A_PART or (is_root and name in _OF_A_MESSAGE)) for name, count in counted.items()):
        yield "double-field"
    names = Counter(name for name, _ in entity.raw_parameters)
    if any(count > 1 for count in names.values()):
        yield "double-parameter"
    if _declared(entity).decode("latin-1") in _ELSEWHERE:
        yield "assembled"
    declared = entity.parameters.get("name")
    if (
        declared
        and (disposition := entity.disposition) is not None
        and any(name.startswith(b"filename") for name, _ in disposition[1])
    ) and entity.filename != declared:
        yield "names-differ"


def _encoding(entity: Entity, octets: bytes) -> Iterator[str]:
    value = entity.raw.get(b"content-transfer-encoding")
    if value is None:
        return
    encoding = value.lower()
    if encoding not in _ENCODINGS or (encoding in (b"base64", b"quoted-printable") and _declared(entity).startswith(b"multipart/")):
        yield "encoding"
    if encoding == b"base64":
        body = octets[entity.body_start : entity.end].translate(None, b"\r\n\t ")
        if len(body) % 4 or not _BASE64.match(body):
            yield "base64"


def _boundary(entity: Entity, octets: bytes, boundary: bytes, around: frozenset[bytes]) -> Iterator[str]:
    if not entity.children or not 0 < len(boundary) <= _LONGEST_BOUNDARY or boundary in around or boundary.endswith(b" "):
        yield "boundary"
    elif octets.find(b"\n--" + boundary + b"--", max(entity.body_start - 1, 0), entity.end + len(boundary) + 8) < 0:
        yield "open-multipart"


def _declared(entity: Entity) -> bytes:
    """The type as the message has it, whatever the parser made of it."""
    return entity.raw.get(b"content-type", b"").partition(b";")[0].strip().lower()
