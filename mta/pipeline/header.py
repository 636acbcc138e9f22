"""Header sections as octets: where they end, which fields they hold, and edits on them (RFC 5322 §2.2, §3.6.7).

Fields that no edit names keep every octet, so signatures over them stay good. This is the one writer of header fields:
names and values that could start another field are refused here.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Iterable, Sequence

from mta.model.message import Content
from mta_hooks.edits import AddHeader, Edit, RemoveHeader, ReplaceHeader

MAX_HEADER = 2**20  # octets read as header; what follows is passed on as it is

_FIELDS = re.compile(rb"(?:[!-9;-~]++[ \t]*+:[^\r\n]*+\r\n(?:[ \t][^\r\n]*+\r\n)*+)*+")
_FIELD = re.compile(rb"([!-9;-~]++)[ \t]*+:([^\r\n]*+\r\n(?:[ \t][^\r\n]*+\r\n)*+)")
_NAME = re.compile(r"[!-9;-~]{1,200}\Z")
_UNFOLD = re.compile(r"\r\n(?=[ \t])")


def read_head(content: Content) -> tuple[bytes, bytes, int]:
    """Return the header fields, what must stand between them and the rest, and where the rest begins.

    The separator is CRLF when the message has no empty line behind its fields (a body without a header, or a malformed
    line in it): so that fields put on top cannot merge with a body.
    """
    octets = content.raw() if content.size <= MAX_HEADER else next(content.chunks(MAX_HEADER))
    match = _FIELDS.match(octets)
    end = match.end() if match else 0
    separated = end == content.size or octets.startswith(b"\r\n", end)
    return octets[:end], b"" if separated else b"\r\n", end


def split_fields(head: bytes) -> list[tuple[bytes, bytes]]:
    """Return (name in lower case, whole field with its CRLF) pairs."""
    return [(m[1].lower(), m[0]) for m in _FIELD.finditer(head)]


def parse_fields(head: bytes) -> list[tuple[str, str]]:
    """Return (name as written, value unfolded) pairs; UTF-8, other octets as surrogates."""
    return [
        (m[1].decode("ascii"), _UNFOLD.sub("", m[2].decode("utf-8", "surrogateescape")[:-2]).strip(" \t"))
        for m in _FIELD.finditer(head)
    ]


def build_field(name: str, value: str) -> bytes:
    """Return ``name: value`` CRLF. Raises ValueError for what would not be exactly one field."""
    if not _NAME.match(name):
        raise ValueError("malformed header name")
    plain = _UNFOLD.sub("", value)
    if "\r" in plain or "\n" in plain or "\0" in plain:
        raise ValueError("CR, LF or NUL in a header value")
    if any(not line.strip(" \t") for line in value.split("\r\n")[1:]):
        raise ValueError("empty continuation line")  # RFC 5322 §3.2.2: other readers end the header there
    return f"{name}: {value}\r\n".encode("utf-8", "surrogateescape")


def apply_edits(head: bytes, edits: Iterable[Edit]) -> bytes:
    """Return the header with edits done one after the other. Raises ValueError, see ``build_field``."""
    fields = split_fields(head)
    for edit in edits:
        _apply(fields, edit)
    return b"".join(field for _, field in fields)


def _apply(fields: list[tuple[bytes, bytes]], edit: Edit) -> None:
    name = edit.name.lower().encode("ascii", "replace")
    match edit:
        case AddHeader():
            fields.insert(0 if edit.top else len(fields), (name, build_field(edit.name, edit.value)))
        case RemoveHeader():
            places = _places(fields, name)
            chosen = places if edit.index is None else places[edit.index : edit.index + 1] if edit.index >= 0 else []
            for place in reversed(chosen):
                del fields[place]
        case ReplaceHeader():
            built = build_field(edit.name, edit.value)
            places = _places(fields, name)
            if 0 <= edit.index < len(places):
                fields[places[edit.index]] = (name, built)
            else:
                fields.append((name, built))


def _places(fields: Sequence[tuple[bytes, bytes]], name: bytes) -> list[int]:
    return [i for i, (known, _) in enumerate(fields) if known == name]
