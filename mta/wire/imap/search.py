"""SEARCH (RFC 9051 §6.4.4, RFC 3501 §6.4.4; RETURN: RFC 4731, RFC 5182; MODSEQ: RFC 7162 §3.1.5; WITHIN: RFC 5032).

A query is a tree of frozen keys. Strings are decoded to text here, in the charset that the command names.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mta.model.message import Flags
from mta.wire.imap.dates import read_date
from mta.wire.imap.flags import LONGEST_KEYWORD
from mta.wire.imap.scanner import Malformed, Scanner
from mta.wire.imap.sequence import SequenceSet, read_set

MOST_KEYS = 1000
MOST_TEXTS = 50
"""Keys that look into the messages themselves."""
CHARSETS = {"US-ASCII": "ascii", "UTF-8": "utf-8", "ISO-8859-1": "latin-1", "ISO-8859-15": "iso8859-15", "WINDOWS-1252": "cp1252"}


class UnknownCharset(ValueError):
    """Answered NO [BADCHARSET] with the list of those we know (RFC 9051 §7.1)."""


@dataclass(frozen=True, slots=True)
class All:
    """Every message."""


@dataclass(frozen=True, slots=True)
class HasFlag:
    """System flag ``flag`` is set, or not."""

    flag: int
    wanted: bool


@dataclass(frozen=True, slots=True)
class HasKeyword:
    keyword: str
    wanted: bool


@dataclass(frozen=True, slots=True)
class Recent:
    wanted: bool
    unseen: bool = False
    """NEW: recent and not seen."""


@dataclass(frozen=True, slots=True)
class InSet:
    sequence: SequenceSet
    uid: bool


@dataclass(frozen=True, slots=True)
class Internal:
    """Internal date. ``day`` since 1970-01-01; before: < day, on: = day, since: >= day."""

    relation: Literal["before", "on", "since"]
    day: int


@dataclass(frozen=True, slots=True)
class Sent:
    """The same of the Date header field, whatever its zone (RFC 9051 §6.4.4)."""

    relation: Literal["before", "on", "since"]
    day: int


@dataclass(frozen=True, slots=True)
class Within:
    """OLDER (False) and YOUNGER (True) than so many seconds."""

    seconds: int
    younger: bool


@dataclass(frozen=True, slots=True)
class Size:
    octets: int
    larger: bool


@dataclass(frozen=True, slots=True)
class ModSeq:
    least: int


@dataclass(frozen=True, slots=True)
class Header:
    """Field ``name`` (lower case) is there and its value holds ``text``; "" asks only whether it is there."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """The message holds ``text``: in the body, with ``header`` in the header too."""

    text: str
    header: bool


@dataclass(frozen=True, slots=True)
class Not:
    key: "Key"


@dataclass(frozen=True, slots=True)
class Or:
    left: "Key"
    right: "Key"


@dataclass(frozen=True, slots=True)
class And:
    keys: tuple["Key", ...]


Key = (
    All | HasFlag | HasKeyword | Recent | InSet | Internal | Sent | Within | Size | ModSeq | Header | Text | Not | Or | And
)  # fmt: skip
Option = Literal["MIN", "MAX", "ALL", "COUNT", "SAVE"]


@dataclass(frozen=True, slots=True)
class Search:
    """SEARCH and UID SEARCH. ``options`` None: no RETURN was said; empty RETURN () means ALL (RFC 4731 §3.1)."""

    key: Key
    uid: bool = False
    options: frozenset[str] | None = None


_FLAGS: dict[str, HasFlag] = {
    word: HasFlag(int(flag), wanted) for flag in Flags for word, wanted in ((str(flag.name), True), (f"UN{flag.name}", False))
}
_FIELDS = frozenset({"BCC", "CC", "FROM", "SUBJECT", "TO"})
_DATES: dict[str, tuple[type[Internal] | type[Sent], Literal["before", "on", "since"]]] = {
    "BEFORE": (Internal, "before"),
    "ON": (Internal, "on"),
    "SINCE": (Internal, "since"),
    "SENTBEFORE": (Sent, "before"),
    "SENTON": (Sent, "on"),
    "SENTSINCE": (Sent, "since"),
}


def read_search(scan: Scanner, uid: bool) -> Search:
    options = None
    if scan.text[scan.pos : scan.pos + 7].upper() == b"RETURN ":
        scan.pos += 7
        options = frozenset(scan.parenthesised(_read_option)) or frozenset({"ALL"})
        scan.space()
    charset = "utf-8"  # RFC 9051 §6.4.4: the default of rev2; contains US-ASCII
    if scan.text[scan.pos : scan.pos + 8].upper() == b"CHARSET ":
        scan.pos += 8
        name = scan.astring().decode("ascii", "replace").upper()
        if name not in CHARSETS:
            raise UnknownCharset(name)
        charset = CHARSETS[name]
        scan.space()
    return Search(_Reader(charset).keys(scan), uid, options)


def _read_option(scan: Scanner) -> str:
    word = scan.word()
    if word not in ("MIN", "MAX", "ALL", "COUNT", "SAVE"):
        raise Malformed("no such RETURN option")
    return word


class _Reader:
    """Reads keys with one charset and one budget."""

    def __init__(self, charset: str) -> None:
        self._charset = charset
        self._left = MOST_KEYS
        self._texts_left = MOST_TEXTS

    def keys(self, scan: Scanner) -> Key:
        found = [self.key(scan)]
        while scan.take(b" "):
            found.append(self.key(scan))
        return found[0] if len(found) == 1 else And(tuple(found))

    def key(self, scan: Scanner) -> Key:
        self._left -= 1
        if self._left < 0:
            raise Malformed("too many search keys")
        here = scan.peek()
        if here == 0x28:
            keys = scan.parenthesised(self.key, empty=False)
            return keys[0] if len(keys) == 1 else And(tuple(keys))
        if 0x30 <= here <= 0x39 or here in (0x2A, 0x24):
            return InSet(read_set(scan), uid=False)
        return self._named(scan, scan.word())

    def _named(self, scan: Scanner, word: str) -> Key:
        if word in _PLAIN:
            return _PLAIN[word]
        if word in _FIELDS:
            return Header(word.lower(), self._text(scan))
        if word in _DATES:
            kind, relation = _DATES[word]
            scan.space()
            return kind(relation, read_date(scan))
        read = _READERS.get(word)
        if read is None:
            raise Malformed("no such search key")
        return read(self, scan)

    def _text(self, scan: Scanner) -> str:
        self._texts_left -= 1
        if self._texts_left < 0:
            raise Malformed("too many strings to search for")
        scan.space()
        try:
            return scan.astring().decode(self._charset)
        except UnicodeDecodeError as exc:
            raise Malformed("string not in the charset of the command") from exc

    def body(self, scan: Scanner) -> Key:
        return Text(self._text(scan), header=False)

    def text(self, scan: Scanner) -> Key:
        return Text(self._text(scan), header=True)

    def header(self, scan: Scanner) -> Key:
        scan.space()
        name = scan.astring().decode("ascii", "replace").lower()
        return Header(name, self._text(scan))

    def keyword(self, scan: Scanner, wanted: bool = True) -> Key:
        scan.space()
        word = scan.atom()
        if len(word) > LONGEST_KEYWORD:
            raise Malformed("keyword too long")
        return HasKeyword(word.decode("ascii"), wanted)

    def unkeyword(self, scan: Scanner) -> Key:
        return self.keyword(scan, wanted=False)

    def negation(self, scan: Scanner) -> Key:
        scan.space()
        return Not(scan.nested(self.key))

    def disjunction(self, scan: Scanner) -> Key:
        scan.space()
        left = scan.nested(self.key)
        scan.space()
        return Or(left, scan.nested(self.key))

    def uid(self, scan: Scanner) -> Key:
        scan.space()
        return InSet(read_set(scan), uid=True)

    def larger(self, scan: Scanner) -> Key:
        scan.space()
        return Size(scan.number(2**63 - 1), larger=True)

    def smaller(self, scan: Scanner) -> Key:
        scan.space()
        return Size(scan.number(2**63 - 1), larger=False)

    def older(self, scan: Scanner) -> Key:
        scan.space()
        return Within(scan.number(), younger=False)

    def younger(self, scan: Scanner) -> Key:
        scan.space()
        return Within(scan.number(), younger=True)

    def modseq(self, scan: Scanner) -> Key:
        """``MODSEQ ["/flags/\\Seen" all] n``: the per-flag form is read as the per-message one (RFC 7162 §3.1.5)."""
        scan.space()
        if scan.peek() == 0x22:
            scan.quoted()
            scan.space()
            if scan.word() not in ("PRIV", "SHARED", "ALL"):
                raise Malformed("expected priv, shared or all")
            scan.space()
        return ModSeq(scan.number(2**63 - 1))


_PLAIN: dict[str, Key] = {
    "ALL": All(),
    "NEW": Recent(wanted=True, unseen=True),
    "OLD": Recent(wanted=False),
    "RECENT": Recent(wanted=True),
    **_FLAGS,
}
_READERS: dict[str, Callable[[_Reader, Scanner], Key]] = {
    "BODY": _Reader.body,
    "TEXT": _Reader.text,
    "HEADER": _Reader.header,
    "KEYWORD": _Reader.keyword,
    "UNKEYWORD": _Reader.unkeyword,
    "NOT": _Reader.negation,
    "OR": _Reader.disjunction,
    "UID": _Reader.uid,
    "LARGER": _Reader.larger,
    "SMALLER": _Reader.smaller,
    "OLDER": _Reader.older,
    "YOUNGER": _Reader.younger,
    "MODSEQ": _Reader.modseq,
}
