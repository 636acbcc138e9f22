"""New content for a message's body or one of its parts (RFC 2045 §2, §6): its transfer encoding and line ends, and where it goes.

An edit never makes a part need more of the next hop than it did: text that does not fit its encoding becomes quoted-printable,
anything else base64. Only what is given as wire octets (a multipart body, a whole message) may bring 8-bit lines (RFC 6152).
"""
# SPDX-License-Identifier: Apache-2.0

import base64
import binascii
import re
from typing import NamedTuple

from mta.pipeline.header import MAX_LINE, Header, fields_end
from mta.wire.mime import Entity, find_part, parse
from mta.wire.mime.parameters import split_value

_LINE_END = re.compile(rb"\r\n|\r|\n")
_LONG = re.compile(rb"[^\r\n]{%d}" % (MAX_LINE + 1))
_TYPE = re.compile(r"([!#$%&'*+.^_`{|}~0-9A-Za-z-]+)/[!#$%&'*+.^_`{|}~0-9A-Za-z-]+[ \t]*(?:;|\Z)")
_PLAIN = frozenset({"7bit", "8bit", "binary"})


class Made(NamedTuple):
    """Octets for the wire, and the header fields that go with them; "" leaves one as it is."""

    octets: bytes
    content_type: str = ""
    encoding: str = ""


class Splice(NamedTuple):
    """``octets`` in place of ``[start, end)`` of the message."""

    start: int
    end: int
    octets: bytes


def wire(octets: bytes) -> bytes:
    """Octets as they may stand in a message, line ends made CRLF. Raises ValueError for NUL and long lines."""
    if b"\0" in octets:
        raise ValueError("NUL in a body")
    pairs = octets.count(b"\r\n")
    if not pairs == octets.count(b"\n") == octets.count(b"\r"):
        octets = _LINE_END.sub(b"\r\n", octets)
    if _LONG.search(octets):
        raise ValueError(f"a line of more than {MAX_LINE} octets")
    return octets


def content(octets: bytes, entity: Entity, content_type: str) -> Made:
    """``octets`` encoded for a part that was ``entity`` and shall have this type, "" for the one it has. Raises ValueError."""
    kind = entity.maintype
    if entity.opaque and not content_type:
        raise ValueError("a part that cannot be taken apart needs a content type")
    if content_type:
        found = _TYPE.match(content_type)
        if found is None:
            raise ValueError(f"{content_type[:80]!r} is no content type")
        kind = found[1].lower()
    if kind in ("multipart", "message"):
        made = wire(octets)
        return Made(made, content_type, "7bit" if made.isascii() else "8bit") if content_type else Made(made)
    if kind == "text":
        octets = _LINE_END.sub(b"\r\n", octets)
        if content_type and not octets.isascii() and "charset" not in content_type.lower():
            content_type = f"{content_type.rstrip('; ')}; charset=utf-8"
    old = entity.encoding if entity.maintype not in ("multipart", "message") else "7bit"
    encoding = _encoding(octets, old, kind)
    return Made(_encoded(octets, encoding), content_type, encoding)


def _encoding(octets: bytes, old: str, kind: str) -> str:
    if old in _PLAIN:
        clean = b"\0" not in octets and not _LONG.search(octets) and len(_LINE_END.findall(octets)) == octets.count(b"\r\n")
        if clean and (octets.isascii() or old != "7bit"):
            return "8bit" if old == "binary" else old
    elif old == "base64" or kind != "text":
        return "base64"
    return "quoted-printable" if kind == "text" else "base64"


def _encoded(octets: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        return base64.encodebytes(octets).replace(b"\n", b"\r\n")
    if encoding == "quoted-printable":
        return _LINE_END.sub(b"\r\n", binascii.b2a_qp(octets, istext=True))
    return octets


def own_entity(head: bytes) -> Entity:
    """The message itself as far as its header tells."""
    entity = parse(head + b"\r\n")
    kind = split_value(entity.raw.get(b"content-type", b""))[0].lower()
    if entity.opaque and kind.startswith(b"multipart/"):
        entity.maintype, entity.opaque = "multipart", False
    return entity


def replace_part(octets: bytes, path: str, new: bytes, content_type: str) -> Splice | None:
    """What to put where in the message ``octets``; None: the part is the message's own body. Raises ValueError."""
    root = parse(octets)
    entity, around = _part(root, path)
    if entity is root:
        return None
    made = content(new, entity, content_type)
    boundaries = _boundaries(around, entity)
    if _collides(made.octets, boundaries):
        if made.encoding not in ("7bit", "8bit", "quoted-printable") or entity.maintype in ("multipart", "message"):
            raise ValueError("the new content has a boundary line of the message in it")
        made = Made(_encoded(new, "base64"), made.content_type, "base64")
    fields = octets[entity.header_start : entity.body_start]
    end = fields_end(fields)
    if fields[end:] not in (b"", b"\r\n", b"\n"):
        raise ValueError(f"the header of part {path} is malformed")
    header = Header(fields[:end])
    set_type(header, made, entity)
    return Splice(entity.header_start, entity.end, header.octets + b"\r\n" + made.octets)


def set_type(header: Header, made: Made, entity: Entity) -> None:
    """Content-Type and Content-Transfer-Encoding of what was made, where they change. Raises ValueError."""
    if made.content_type:
        header.put("Content-Type", made.content_type)
    if made.encoding and made.encoding != entity.encoding:
        header.put("Content-Transfer-Encoding", made.encoding)


def _part(root: Entity, path: str) -> tuple[Entity, list[Entity]]:
    """The part, and the entities that it is in. Raises ValueError."""
    try:
        numbers = [int(word) for word in path.split(".")] if len(path) <= 1000 else []
    except ValueError:
        numbers = []
    found = find_part(root, numbers) if numbers else None
    if found is None:
        raise ValueError(f"the message has no part {path[:80]!r}")
    around = [root]
    for depth in range(1, len(numbers)):
        outer = find_part(root, numbers[:depth])
        assert outer is not None
        around.append(outer)
        if outer.message is not None:
            around.append(outer.message)
    return found, around


def _boundaries(around: list[Entity], entity: Entity) -> list[bytes]:
    out = []
    for one in around:
        if one is not entity and one.maintype == "multipart":
            _, pairs = split_value(one.raw.get(b"content-type", b""))
            out += [b"--" + value for name, value in pairs if name == b"boundary" and value]
    return out


def _collides(octets: bytes, boundaries: list[bytes]) -> bool:
    return any(octets.startswith(line) or b"\n" + line in octets for line in boundaries)
