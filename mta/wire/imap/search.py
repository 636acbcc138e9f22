"""SEARCH (RFC 9051 §6.4.4, RFC 3501 §6.4.4; RETURN: RFC 4731, RFC 5182; MODSEQ: RFC 7162 §3.1.5; WITHIN: RFC 5032; FUZZY: RFC 6203;
PARTIAL: RFC 9394).

A query is a tree of frozen keys. Strings are decoded to text here, in the charset that the command names.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mta.model.message import Flags
from mta.wire.imap.dates import read_date
from mta.wire.imap.flags import LONGEST_KEYWORD
from mta.wire.imap.fuzzy import has_fuzzy
from mta.wire.imap.scanner import Malformed, Scanner
from mta.wire.imap.search_keys import (
    All,
    And,
    EmailId,
    Filter,
    Fuzzy,
    HasFlag,
    HasKeyword,
    Header,
    InSet,
    Internal,
    Key,
    ModSeq,
    Not,
    Or,
    Recent,
    Saved,
    SavedKnown,
    Sent,
    Size,
    Text,
    ThreadId,
    Within,
)
from mta.wire.imap.sequence import read_partial, read_set
from mta.wire.mime.charsets import codec

MOST_KEYS = 1000
MOST_TEXTS = 50
"""Keys that look into the messages themselves."""
_FILTER = re.compile(rb'[^\x00-\x1f\x7f-\xff(){ %*"\\\]/]{1,128}')
_OBJECT_ID = re.compile(rb"[A-Za-z0-9_\-]{1,255}")
CHARSETS = {"US-ASCII": "ascii", "UTF-8": "utf-8", "ISO-8859-1": "latin-1", "ISO-8859-15": "iso8859-15", "WINDOWS-1252": "cp1252"}


"""Named in BADCHARSET; every other one that mail uses is taken too."""


class UnknownCharset(ValueError):
    """Answered NO [BADCHARSET] with the list of those we know (RFC 9051 §7.1)."""


OPTIONS = frozenset({"MIN", "MAX", "ALL", "COUNT", "SAVE", "PARTIAL", "RELEVANCY", "CONTEXT", "UPDATE"})


@dataclass(frozen=True, slots=True)
class Search:
    """SEARCH and UID SEARCH. ``options`` None: no RETURN was said; empty RETURN () means ALL (RFC 4731 §3.1). ``partial``: first and last
    of the results wanted, from 1, or from -1 backwards from the end."""

    key: Key
    uid: bool = False
    options: frozenset[str] | None = None
    partial: tuple[int, int] | None = None
    charset: bool = False
    """It named one."""


_FLAGS: dict[str, HasFlag] = {
    word: HasFlag(int(flag), wanted) for flag in Flags for word, wanted in ((str(flag.name), True), (f"UN{flag.name}", False))
}
_FIELDS = frozenset({"BCC", "CC", "FROM", "SUBJECT", "TO"})
_DATES: dict[str, tuple[type[Internal] | type[Sent] | type[Saved], Literal["before", "on", "since"]]] = {
    "BEFORE": (Internal, "before"),
    "ON": (Internal, "on"),
    "SINCE": (Internal, "since"),
    "SENTBEFORE": (Sent, "before"),
    "SENTON": (Sent, "on"),
    "SENTSINCE": (Sent, "since"),
    "SAVEDBEFORE": (Saved, "before"),
    "SAVEDON": (Saved, "on"),
    "SAVEDSINCE": (Saved, "since"),
}


def read_search(scan: Scanner, uid: bool) -> Search:
    options, partial = read_options(scan)
    charset, named = "utf-8", False  # RFC 9051 §6.4.4: the default of rev2; contains US-ASCII
    if scan.text[scan.pos : scan.pos + 8].upper() == b"CHARSET ":
        scan.pos += 8
        charset, named = read_charset(scan), True
        scan.space()
    return Search(read_keys(scan, charset, options), uid, options, partial, named)


def read_criteria(octets: bytes) -> Key:
    """A search program that was kept (RFC 5466 §2.1). Raises Malformed, UnknownCharset."""
    scan = Scanner(octets)
    charset = "utf-8"
    if octets[:8].upper() == b"CHARSET ":
        scan.pos = 8
        charset = read_charset(scan)
        scan.space()
    key = _Reader(charset).keys(scan)
    scan.end()
    return key


def read_options(scan: Scanner) -> tuple[frozenset[str] | None, tuple[int, int] | None]:
    """``RETURN (…) `` when it stands here: the options, and the range of PARTIAL."""
    if scan.text[scan.pos : scan.pos + 7].upper() != b"RETURN ":
        return None, None
    scan.pos += 7
    found = scan.parenthesised(_read_option)
    scan.space()
    names = [name for name, _ in found]
    ranges = [partial for _, partial in found if partial is not None]
    if len(ranges) > 1 or (ranges and "ALL" in names):
        raise Malformed("one of ALL and PARTIAL, once")  # RFC 9394 §3.1
    options = frozenset(names)
    options -= {"CONTEXT"}  # a hint, which we need not (RFC 5267 §4.2)
    return options if options - {"RELEVANCY"} else options | {"ALL"}, ranges[0] if ranges else None


def _read_option(scan: Scanner) -> tuple[str, tuple[int, int] | None]:
    word = scan.word()
    if word not in OPTIONS:
        raise Malformed("no such RETURN option")
    if word != "PARTIAL":
        return word, None
    scan.space()
    return word, read_partial(scan)


def read_charset(scan: Scanner) -> str:
    """Raises UnknownCharset."""
    name = scan.astring().decode("ascii", "replace").upper()
    found = CHARSETS.get(name) or codec(name)
    if found is None:
        raise UnknownCharset(name)
    return found


def read_keys(scan: Scanner, charset: str, options: frozenset[str] | None) -> Key:
    key = _Reader(charset).keys(scan)
    if options is not None and "RELEVANCY" in options and not has_fuzzy(key):
        raise Malformed("RELEVANCY needs FUZZY")  # RFC 6203 §4
    return key


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

    def fuzzy(self, scan: Scanner) -> Key:
        scan.space()
        return Fuzzy(scan.nested(self.key))

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

    def filter(self, scan: Scanner) -> Key:
        scan.space()
        return Filter(scan.match(_FILTER, "the name of a filter")[0].decode("ascii"))

    def email_id(self, scan: Scanner) -> Key:
        return EmailId(_object_id(scan))

    def thread_id(self, scan: Scanner) -> Key:
        return ThreadId(_object_id(scan))

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


def _object_id(scan: Scanner) -> str:
    scan.space()
    return scan.match(_OBJECT_ID, "an object id")[0].decode("ascii")


_PLAIN: dict[str, Key] = {
    "ALL": All(),
    "NEW": Recent(wanted=True, unseen=True),
    "OLD": Recent(wanted=False),
    "RECENT": Recent(wanted=True),
    "SAVEDATESUPPORTED": SavedKnown(),
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
    "FUZZY": _Reader.fuzzy,
    "UID": _Reader.uid,
    "LARGER": _Reader.larger,
    "SMALLER": _Reader.smaller,
    "OLDER": _Reader.older,
    "YOUNGER": _Reader.younger,
    "MODSEQ": _Reader.modseq,
    "EMAILID": _Reader.email_id,
    "FILTER": _Reader.filter,
    "THREADID": _Reader.thread_id,
}
