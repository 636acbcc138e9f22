"""What a FETCH item shows of one message's octets (RFC 9051 §6.4.5.1, §6.4.5.2)."""
# SPDX-License-Identifier: Apache-2.0

import binascii
import re
from collections.abc import Sequence

from mta.imapd.answer import no
from mta.wire.imap.fetch import Octets, Section
from mta.wire.mime import Entity, find_part, header_end, parse, section, subset
from mta.wire.mime.section import Kind
from mta.wire.mime.words import decode_quoted_printable

_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")


class Message:
    """Octets of a message; its structure is made at the first need."""

    __slots__ = ("_root", "octets")

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self._root: Entity | None = None

    @property
    def root(self) -> Entity:
        if self._root is None:
            self._root = parse(self.octets)
        return self._root

    def shown(self, item: Octets) -> bytes | None:
        """The octets of ``item`` after its partial; None is NIL: no such part.

        Raises Answer: NO [UNKNOWN-CTE].
        """
        whole = self._binary(item.section) if item.form.startswith("BINARY") else self._section(item.section)
        if whole is None or item.partial is None:
            return whole
        origin, count = item.partial
        return whole[origin : origin + count]

    def _section(self, wanted: Section) -> bytes | None:
        octets = self.octets
        kind: Kind
        if wanted.part in ("HEADER.FIELDS", "HEADER.FIELDS.NOT"):
            kind = "HEADER"
        else:
            kind = wanted.part  # type: ignore[assignment]  # the others are Kinds
        if not wanted.path:
            if not kind:
                return octets
            end = header_end(octets)
            bounds: tuple[int, int] | None = (0, end) if kind == "HEADER" else (end, len(octets))
        else:
            bounds = section(self.root, octets, wanted.path, kind)
        if bounds is None:
            return None
        start, stop = bounds
        if not wanted.fields:
            return octets[start:stop]
        names = frozenset(name.lower() for name in wanted.fields)
        return subset(octets, start, stop, names, without=wanted.part == "HEADER.FIELDS.NOT")

    def _binary(self, wanted: Section) -> bytes | None:
        """The part with its transfer encoding undone (RFC 9051 §6.4.5.1)."""
        if not wanted.path:
            return self.octets
        part = find_part(self.root, wanted.path)
        if part is None:
            return None
        octets = self.octets[part.body_start : part.end]
        encoding = "7bit" if part.children else part.encoding
        if encoding in ("7bit", "8bit", "binary"):
            return octets
        if encoding == "base64":
            return _decode_base64(octets)
        if encoding == "quoted-printable":
            return decode_quoted_printable(octets)
        raise no(b"transfer encoding not known", b"UNKNOWN-CTE")


def _decode_base64(octets: bytes) -> bytes:
    """Up to the padding; what is cut short gives what it holds."""
    digits = _NOT_BASE64.sub(b"", octets.partition(b"=")[0])
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))


def literal(item: Octets, octets: bytes | None) -> Sequence[bytes]:
    """The item as FETCH writes it. BINARY with NUL inside is a literal8."""
    if item.form == "BINARY.SIZE":
        return (b"%b %d" % (item.label, len(octets or b"")),)
    if octets is None:
        return (item.label + b" NIL",)
    tilde = b"~" if item.form == "BINARY" and b"\0" in octets else b""
    return (b"%b %b{%d}\r\n" % (item.label, tilde, len(octets)), octets)
