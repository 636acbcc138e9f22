"""FETCH (RFC 9051 §6.4.5; CHANGEDSINCE and VANISHED: RFC 7162; BINARY: RFC 9051 §6.4.5.1; PARTIAL: RFC 9394 §3.2)."""
# SPDX-License-Identifier: Apache-2.0

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from mta.wire.imap.scanner import Malformed, Scanner
from mta.wire.imap.sequence import SequenceSet, read_partial, read_set

Part = Literal["", "HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT", "TEXT", "MIME"]
Form = Literal["BODY", "BINARY", "BINARY.SIZE", "RFC822", "RFC822.HEADER", "RFC822.TEXT"]

SIMPLE = frozenset(
    {"FLAGS", "UID", "RFC822.SIZE", "INTERNALDATE", "MODSEQ", "ENVELOPE", "BODY", "BODYSTRUCTURE", "EMAILID", "THREADID", "SAVEDATE"}
)  # fmt: skip
_MACROS = {
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}
_ITEM = re.compile(rb"[A-Za-z0-9.]+")
_PATH = re.compile(rb"[1-9][0-9]{0,4}(?:\.[1-9][0-9]{0,4})*")
_PARTIAL = re.compile(rb"<([0-9]{1,19})\.([1-9][0-9]{0,18})>")
_MOST_LEVELS = 100
_MOST_ITEMS = 100
_PLAIN_FIELD = re.compile(rb"[A-Za-z0-9_.\-]+\Z")


@dataclass(frozen=True, slots=True)
class Section:
    """``BODY[1.2.HEADER.FIELDS (TO)]``: path (1, 2), part, field names as given."""

    path: tuple[int, ...] = ()
    part: Part = ""
    fields: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        words = [b".".join(b"%d" % n for n in self.path)] if self.path else []
        if self.part:
            words.append(self.part.encode("ascii"))
        out = b".".join(words)
        if self.fields:
            out += b" (" + b" ".join(f if _PLAIN_FIELD.match(f) else _quote(f) for f in self.fields) + b")"
        return out


def _quote(name: bytes) -> bytes:
    return b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


@dataclass(frozen=True, slots=True)
class Simple:
    """An item without arguments; ``name`` of SIMPLE, or PREVIEW, or PREVIEW LAZY."""

    name: str

    def encode(self) -> bytes:
        return b"PREVIEW (LAZY)" if self.name == "PREVIEW LAZY" else self.name.encode("ascii")


@dataclass(frozen=True, slots=True)
class Octets:
    """An item that is octets of the message. ``partial`` (origin, count). ``label``: how the response calls it."""

    form: Form
    section: Section = Section()
    peek: bool = False
    partial: tuple[int, int] | None = None

    @property
    def label(self) -> bytes:
        if self.form.startswith("RFC822"):
            return self.form.encode("ascii")
        origin = b"" if self.partial is None else b"<%d>" % self.partial[0]
        return b"%b[%b]%b" % (self.form.encode("ascii"), self.section.encode(), origin)

    @property
    def sets_seen(self) -> bool:
        return not self.peek and self.form not in ("RFC822.HEADER", "BINARY.SIZE")

    def encode(self) -> bytes:
        if self.form.startswith("RFC822"):
            return self.form.encode("ascii")
        peek = b".PEEK" if self.peek else b""
        partial = b"" if self.partial is None else b"<%d.%d>" % self.partial
        return b"%b%b[%b]%b" % (self.form.encode("ascii"), peek, self.section.encode(), partial)


Item = Simple | Octets


@dataclass(frozen=True, slots=True)
class Fetch:
    """FETCH and UID FETCH (``uid``)."""

    sequence: SequenceSet
    items: tuple[Item, ...]
    uid: bool = False
    changed_since: int | None = None
    vanished: bool = False
    partial: tuple[int, int] | None = None

    def encode(self) -> bytes:
        out = b"%bFETCH %b (%b)" % (
            b"UID " if self.uid else b"",
            self.sequence.encode(),
            b" ".join(item.encode() for item in self.items),
        )
        modifiers: list[bytes] = []
        if self.changed_since is not None:
            modifiers.append(b"CHANGEDSINCE %d%b" % (self.changed_since, b" VANISHED" if self.vanished else b""))
        if self.partial is not None:
            modifiers.append(b"PARTIAL %d:%d" % self.partial)
        return out + (b" (%b)" % b" ".join(modifiers) if modifiers else b"")


def read_fetch(scan: Scanner, uid: bool) -> Fetch:
    sequence = read_set(scan)
    scan.space()
    rest = scan.text[scan.pos :]
    if len(rest) <= 200 and b"{" not in rest:  # the same few lists come again and again
        items, modifiers = _read_cached(rest)
        scan.pos = len(scan.text)
    else:
        items, modifiers = _read_rest(scan)
    if not uid and (modifiers.vanished or modifiers.partial is not None):
        raise Malformed("VANISHED and PARTIAL are for UID FETCH")  # RFC 7162 §3.2.6, RFC 9394 §3.2
    return Fetch(sequence, items, uid, *modifiers)


class _Modifiers(NamedTuple):
    changed_since: int | None = None
    vanished: bool = False
    partial: tuple[int, int] | None = None


@lru_cache(maxsize=512)
def _read_cached(text: bytes) -> tuple[tuple[Item, ...], _Modifiers]:
    scan = Scanner(text)
    found = _read_rest(scan)
    scan.end()
    return found


def _read_rest(scan: Scanner) -> tuple[tuple[Item, ...], _Modifiers]:
    if scan.peek() == 0x28:
        items = read_items(scan)
    else:
        found = scan.match(_ITEM, "an item")[0].decode("ascii").upper()
        macro = _MACROS.get(found)
        items = tuple(Simple(name) for name in macro) if macro else (_read_named(scan, found),)
    modifiers = _Modifiers()
    if scan.take(b" "):
        for said in scan.parenthesised(_read_modifier, empty=False):
            modifiers = modifiers._replace(**said)
        if modifiers.vanished and modifiers.changed_since is None:
            raise Malformed("VANISHED needs CHANGEDSINCE")
    return items, modifiers


def read_items(scan: Scanner) -> tuple[Item, ...]:
    """Items in parentheses, elsewhere than in FETCH."""
    items = tuple(dict.fromkeys(scan.parenthesised(_read_item, empty=False)))
    if len(items) > _MOST_ITEMS:
        raise Malformed("too many items")
    return items


def _read_modifier(scan: Scanner) -> dict[str, Any]:
    name = scan.word()
    if name == "CHANGEDSINCE":
        scan.space()
        return {"changed_since": scan.number(2**63 - 1)}
    if name == "VANISHED":
        return {"vanished": True}
    if name == "PARTIAL":
        scan.space()
        return {"partial": read_partial(scan)}
    raise Malformed("no such FETCH modifier")


def _read_item(scan: Scanner) -> Item:
    return _read_named(scan, scan.match(_ITEM, "an item")[0].decode("ascii").upper())


def _read_named(scan: Scanner, name: str) -> Item:
    if scan.peek() == 0x5B:
        peek = name.endswith(".PEEK")
        form = name[:-5] if peek else name
        if form == "BODY":
            section = read_section(scan)
            return Octets("BODY", section, peek, _read_partial(scan))
        if form == "BINARY":
            section = _read_path_only(scan)
            return Octets("BINARY", section, peek, _read_partial(scan))
        if name == "BINARY.SIZE":
            return Octets("BINARY.SIZE", _read_path_only(scan))
    elif name in SIMPLE:
        return Simple(name)
    elif name == "PREVIEW":
        if scan.text[scan.pos : scan.pos + 7].upper() == b" (LAZY)":
            scan.pos += 7
            name = "PREVIEW LAZY"
        return Simple(name)
    elif name == "RFC822":
        return Octets("RFC822")
    elif name == "RFC822.HEADER":
        return Octets("RFC822.HEADER", Section((), "HEADER"))
    elif name == "RFC822.TEXT":
        return Octets("RFC822.TEXT", Section((), "TEXT"))
    raise Malformed("no such FETCH item")


def _read_partial(scan: Scanner) -> tuple[int, int] | None:
    if scan.peek() != 0x3C:
        return None
    found = scan.match(_PARTIAL, "<origin.count>")
    return int(found[1]), int(found[2])


def _read_path(scan: Scanner) -> tuple[int, ...]:
    path = tuple(int(n) for n in scan.match(_PATH, "a part number")[0].split(b"."))
    if len(path) > _MOST_LEVELS:
        raise Malformed("part number too deep")
    return path


def _read_path_only(scan: Scanner) -> Section:
    scan.expect(b"[")
    path = _read_path(scan) if scan.peek() != 0x5D else ()
    scan.expect(b"]")
    return Section(path)


def read_section(scan: Scanner) -> Section:
    scan.expect(b"[")
    if scan.take(b"]"):
        return Section()
    path: tuple[int, ...] = ()
    if 0x30 <= scan.peek() <= 0x39:
        path = _read_path(scan)
        if scan.take(b"]"):
            return Section(path)
        scan.expect(b".")
    word = scan.match(_ITEM, "a section")[0].decode("ascii").upper()
    fields: tuple[bytes, ...] = ()
    if word in ("HEADER.FIELDS", "HEADER.FIELDS.NOT"):
        scan.space()
        fields = tuple(scan.parenthesised(_read_field, empty=False))
    elif word == "MIME":
        if not path:
            raise Malformed("MIME needs a part number")
    elif word not in ("HEADER", "TEXT"):
        raise Malformed("no such section")
    scan.expect(b"]")
    return Section(path, word, fields)  # type: ignore[arg-type]  # one of Part: checked above


def _read_field(scan: Scanner) -> bytes:
    name = scan.astring()
    if not name or not name.isascii() or any(c <= 32 or c in b":{}()" or c == 127 for c in name):
        raise Malformed("no header field name")
    return name
