"""Mailbox names on the wire: modified UTF-7 (RFC 3501 §5.1.3) or UTF-8 (RFC 9051 §5.1), and LIST patterns."""
# SPDX-License-Identifier: Apache-2.0

import base64
import binascii
import re
import unicodedata

from mta.model.mailbox import DELIMITER
from mta.wire.imap.scanner import Malformed

_SHIFT = re.compile(r"&([A-Za-z0-9+,]*)-")
_ATOM_ENOUGH = re.compile(rb"[A-Za-z0-9$_./+,:;=@!#&'`|~^<>?\-]+\Z")
_WILDCARDS = re.compile(r"([*%]+)")
_RUNS = re.compile(r"([^\x20-\x7e]+)|(&)")


def encode_utf7(name: str) -> bytes:
    """Modified UTF-7."""

    def shift(found: "re.Match[str]") -> str:
        if found[2]:
            return "&-"
        wide = base64.b64encode(found[1].encode("utf-16-be")).rstrip(b"=").replace(b"/", b",")
        return f"&{wide.decode('ascii')}-"

    return _RUNS.sub(shift, name).encode("ascii")


class BadName(Malformed):
    """An astring, as the grammar wants, and no name: NO, not BAD."""


def decode_utf7(octets: bytes) -> str:
    """Raises Malformed for what no encoder would write (RFC 3501 §5.1.3: one spelling for each name)."""
    try:
        text = octets.decode("ascii")
    except UnicodeDecodeError as exc:
        raise BadName("mailbox name not in modified UTF-7") from exc
    if "&" not in text:
        return text
    out: list[str] = []
    at = 0
    for found in _SHIFT.finditer(text):
        out.append(text[at : found.start()])
        out.append(_unshift(found[1]) if found[1] else "&")
        at = found.end()
    out.append(text[at:])
    name = "".join(out)
    if encode_utf7(name) != octets:
        raise BadName("mailbox name not in modified UTF-7")
    return name


def _unshift(wide: str) -> str:
    try:
        return base64.b64decode(wide.replace(",", "/") + "=" * (-len(wide) % 4)).decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError) as exc:
        raise BadName("mailbox name not in modified UTF-7") from exc


def decode_name(octets: bytes, *, utf8: bool) -> str:
    """The name as it is stored: Unicode NFC, INBOX in capitals. ``utf8``: the client enabled IMAP4rev2.

    Octets above 127 are read as UTF-8 from every client: some send it unasked, and no other reading exists.
    """
    if utf8 or not octets.isascii():
        try:
            name = octets.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise BadName("mailbox name not in UTF-8") from exc
    else:
        name = decode_utf7(octets)
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    first, slash, rest = name.partition(DELIMITER)
    return "INBOX" + slash + rest if first.upper() == "INBOX" else name


def encode_name(name: str, *, utf8: bool) -> bytes:
    """The name as an astring."""
    octets = name.encode("utf-8") if utf8 else encode_utf7(name)
    if _ATOM_ENOUGH.match(octets) and octets.upper() != b"NIL":
        return octets
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def is_sane(name: str) -> bool:
    """No control characters, no empty level: what CREATE and RENAME may make."""
    return name.isprintable() and "" not in name.split(DELIMITER)


class Pattern:
    """A LIST pattern: "*" matches everything, "%" everything but the delimiter (RFC 9051 §6.3.9).

    Matched piece by piece without going back further than the last "*", so that ``*a*a*a*a`` costs what its length says.
    """

    __slots__ = ("_pieces", "text")

    def __init__(self, text: str) -> None:
        first, slash, rest = text.partition(DELIMITER)
        self.text = "INBOX" + slash + rest if first.upper() == "INBOX" else text
        self._pieces = [("*" if "*" in part else "%") if part[0] in "*%" else part for part in _WILDCARDS.split(self.text) if part]

    @property
    def fixed(self) -> str:
        """What every name that matches begins with."""
        first = self._pieces[0] if self._pieces else ""
        return "" if first in ("*", "%") else first

    def matches(self, name: str) -> bool:
        if self._pieces == ["*"]:
            return True
        ends = {0}  # offsets in ``name`` that the pieces so far can reach
        for piece in self._pieces:
            if piece == "*":
                ends = set(range(min(ends), len(name) + 1))
            elif piece == "%":
                ends = _up_to_delimiter(ends, name)
            else:
                ends = {end + len(piece) for end in ends if name.startswith(piece, end)}
            if not ends:
                return False
        return len(name) in ends


def _up_to_delimiter(starts: set[int], name: str) -> set[int]:
    ends: set[int] = set()
    for start in sorted(starts):
        if start in ends and name[start - 1 : start] != DELIMITER:
            continue  # the run from an earlier start covers this one
        stop = name.find(DELIMITER, start)
        ends.update(range(start, (len(name) if stop < 0 else stop) + 1))
    return ends
