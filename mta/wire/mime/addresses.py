"""Address lists of header fields (RFC 5322 §3.4, obsolete forms of §4.4), as IMAP and filters need them.

Octets in, octets out, nothing decoded: an encoded word is never re-read as syntax. Groups appear as IMAP shows them. Broken
lists give what can be read, never an error; at most ``MAX_ADDRESSES`` of one field, in linear time.
Not for trust decisions about who may send: those compare whole, strictly parsed addresses (mta.model.address).
"""
# SPDX-License-Identifier: Apache-2.0

import re
from typing import NamedTuple

from mta.wire.mime.parameters import comment_end, unescape

MAX_ADDRESSES = 10_000

_LEXEME = re.compile(
    rb'(?P<space>[\x00-\x20\x7f]++)|(?P<quoted>"(?>(?:[^"\\]|\\.)*)"?)|(?P<literal>\[(?>(?:[^\]\\]|\\.)*)\]?)'
    rb'|(?P<comment>\()|(?P<special>[<>@,;:.)\]\\])|(?P<atom>[^\x00-\x20\x7f()<>@,;:.\\"\[\]]++)',
    re.DOTALL,
)
_ATOM = rb'[^\x00-\x20\x7f()<>@,;:.\\"\[\]]++'
_DOTTED = _ATOM + rb"(?>(?:\." + _ATOM + rb")*)"
_USUAL = re.compile(
    rb'[ \t]*+(?:(?:"([^"\\\x00-\x1f\x7f]*+)"|('
    + _ATOM
    + rb"(?>(?: "
    + _ATOM
    + rb")*)))? ?<("
    + _DOTTED
    + rb")@("
    + _DOTTED
    + rb")>"
    rb"|(" + _DOTTED + rb")@(" + _DOTTED + rb"))[ \t]*+(?:,|\Z)"
)
"""An entry as nearly all are: ``"Name" <local@host>``, ``Two Words <local@host>``, ``local@host``."""


class Mailbox(NamedTuple):
    """One entry of an address list as in RFC 9051 §7.5.2 ENVELOPE.

    Group start: ``host`` None and ``mailbox`` the group's name; group end: both None. ``mailbox`` without "@" has host b"".
    """

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    host: bytes | None


GROUP_END = Mailbox(None, None, None, None)


def addresses(value: bytes) -> tuple[Mailbox, ...]:
    """Return the entries of an unfolded field value (To, Cc, From …)."""
    entries: list[Mailbox] = []
    at, end = 0, len(value)
    while at < end:
        match = _USUAL.match(value, at)
        if match is None or len(entries) >= MAX_ADDRESSES:
            return _read(value)
        quoted, phrase, local, host, bare, domain = match.groups()
        if bare is not None:
            entries.append(Mailbox(None, None, bare, domain))
        else:
            entries.append(Mailbox((quoted.strip() if quoted is not None else phrase) or None, None, local, host))
        at = match.end()
    return tuple(entries)


def _read(value: bytes) -> tuple[Mailbox, ...]:
    """Whatever stands there, lexeme by lexeme."""
    reader = _Reader()
    at = 0
    while (match := _LEXEME.match(value, at)) and len(reader.entries) < MAX_ADDRESSES:
        at = match.end()
        kind = match.lastgroup
        if kind == "comment":
            at = comment_end(value, match.start())
            reader.comment = value[match.start() + 1 : at - 1]
        elif kind == "special":
            reader.special(match[0])
        elif kind == "space":
            reader.space()
        else:
            reader.word(match[0], quoted=kind == "quoted")
    reader.finish()
    return tuple(reader.entries)


class _Reader:
    """What has been read of the entry at hand.

    words    display name, or local part as long as no "<" came; each with its text unquoted
    angle    inside "<…>": the parts of the address; ``None`` outside
    """

    __slots__ = ("_angle", "_domain", "_glued", "_in_group", "_local", "_name", "_route", "comment", "entries")

    def __init__(self) -> None:
        self.entries: list[Mailbox] = []
        self._in_group = False
        self._reset()

    def _reset(self) -> None:
        self.comment: bytes | None = None
        self._name: list[bytes] = []  # words of the phrase, or of a bare addr-spec's local part
        self._glued: list[bool] = []  # word i follows word i-1 without white space
        self._local: list[bytes] = []
        self._domain: list[bytes] | None = None
        self._route: bytes | None = None
        self._angle = False

    def space(self) -> None:
        if self._glued:
            self._glued[-1] = False

    def word(self, octets: bytes, *, quoted: bool) -> None:
        text = unescape(octets[1:-1] if octets.endswith(b'"') and len(octets) > 1 else octets[1:]) if quoted else octets
        if self._domain is not None:
            self._domain.append(text)
        elif self._angle:
            self._local.append(text)
        else:
            self._name.append(text)
            self._glued.append(True)

    def special(self, octets: bytes) -> None:
        if octets == b"<" and not self._angle:
            if self._domain is not None:  # bob@example.org <bob@example.org>: what came first is the name
                self._name = [self._phrase() + b"@" + b"".join(self._domain)]
                self._glued = [False]
                self._domain = None
            self._angle = True
        elif octets == b">":
            if self._angle and self._domain is None:
                self._domain = []
        elif octets == b"@":
            if self._angle and not self._local and self._route is None:
                self._route = b"@"  # <@a,@b:user@c>: source route, RFC 5322 §4.4
                self._domain = []
            elif self._domain is None:
                self._domain = []
            elif self._route is not None and self._angle:
                self._domain.append(b"@")
        elif octets == b":":
            self._colon()
        elif octets == b"," and self._angle and self._route is not None and self._domain is not None:
            self._domain.append(b",")
        elif octets in b",;":
            self.finish()
            if octets == b";" and self._in_group:
                self.entries.append(GROUP_END)
                self._in_group = False
        elif octets == b".":
            self.word(b".", quoted=False)

    def _colon(self) -> None:
        if self._angle and self._route is not None and self._domain is not None:
            self._route = b"@" + b"".join(self._domain)
            self._domain = None
        elif not self._angle and self._domain is None and not self._in_group:
            self.entries.append(Mailbox(None, None, self._phrase(), None))
            self._in_group = True
            self._reset()

    def _phrase(self) -> bytes:
        out: list[bytes] = []
        for word, glued in zip(self._name, self._glued, strict=True):
            out.append(word)
            if not glued:
                out.append(b" ")
        return b"".join(out).strip()

    def finish(self) -> None:
        """Take the entry as it stands; nothing when nothing was read."""
        phrase = self._phrase()
        host = b"".join(self._domain or ())
        if self._angle:
            name = phrase or self.comment
            if name or self._local or host:
                self.entries.append(Mailbox(name or None, self._route, b"".join(self._local), host))
        elif phrase or host:
            self.entries.append(Mailbox(self.comment or None, None, b"".join(self._name) if host else phrase, host))
        self._reset()
