"""Search keys that need a message: header fields, text, the Date field (RFC 9051 §6.4.4).

Substring, whatever the case, of the decoded text (``mta.wire.mime.searchable``). Most mail is plain ASCII without encodings, and then the
octets themselves in upper case say the same much faster; ``_is_hidden`` decides when that is so.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Callable

from mta.imapd.search_columns import ColumnSearch, reads_messages
from mta.wire.imap.dates import MONTHS
from mta.wire.imap.search_keys import And, Header, Key, Not, Or, Sent, Text
from mta.wire.mime import header_end, parse, unfold
from mta.wire.mime.searchable import ADDRESSED, field_pattern, field_values, fold, header_lines, is_broken, readable_parts

_ENCODED = (b"=?", b"BASE64", b"QUOTED-PRINTABLE", b"NAME*", b"\\")
_ODD_CHARSET = re.compile(rb"CHARSET[*0-9]*=[\"']?(?:ISO-2022|UTF-?(?:7|16|32)|UNICODE|HZ|EBCDIC|CP(?:037|500|1026|1140))")
"""Signs, in octets in upper case, that text is there in another form than its ASCII octets. Plain ``in`` is five times faster
than one pattern for all: 8 µs for 3 KiB."""
_TYPE = re.compile(rb"^CONTENT-TYPE[ \t]*:[ \t]*([^\s;]*)", re.MULTILINE)
_VISIBLE = re.compile(r"[!-~]+")
_DATE = re.compile(r"(?:[A-Za-z]{3},\s*)?([0-9]{1,2})\s+([A-Za-z]{3})[a-z]*\s+([0-9]{2,4})\b")
_MONTHS = {name.lower(): number for number, name in enumerate(MONTHS, 1)}
_DAYS_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


class Reader:
    """Decides one key, which may hold others, for message after message."""

    def __init__(self, key: Key, columns: ColumnSearch) -> None:
        self._key = key
        self._columns = columns
        self._needles = {each: _Needle(each.text) for each in texts_of(key)}
        self._fields = {each.name: field_pattern(each.name) for each in texts_of(key) if isinstance(each, Header)}

    def without_octets(self, at: int) -> bool | None:
        """The answer for the message at this position, if the columns give it; None: read it."""
        return self._decide(self._key, at, None)

    def matches(self, at: int, octets: bytes) -> bool:
        return bool(self._decide(self._key, at, _Opened(octets)))

    def _decide(self, key: Key, at: int, message: "_Opened | None") -> bool | None:
        if isinstance(key, And):
            answers = [self._decide(each, at, message) for each in key.keys]
            return False if False in answers else None if None in answers else True
        if isinstance(key, Or):
            left = self._decide(key.left, at, message)
            if left:
                return True
            right = self._decide(key.right, at, message)
            return True if right else None if left is None or right is None else False
        if isinstance(key, Not):
            inner = self._decide(key.key, at, message)
            return None if inner is None else not inner
        if not reads_messages(key):
            return bool(self._columns.matching(key, [at]))
        return None if message is None else self._look(key, message)

    def _look(self, key: Key, message: "_Opened") -> bool:
        if isinstance(key, Header):
            return message.has_field(self._fields[key.name], self._needles[key], addressed=key.name in ADDRESSED)
        if isinstance(key, Text):
            return message.has_text(self._needles[key], header=key.header)
        assert isinstance(key, Sent)
        day = message.sent_day()
        return day is not None and _RELATIONS[key.relation](day, key.day)


def texts_of(key: Key) -> "list[Header | Text]":
    if isinstance(key, And):
        return [found for each in key.keys for found in texts_of(each)]
    if isinstance(key, Or):
        return texts_of(key.left) + texts_of(key.right)
    if isinstance(key, Not):
        return texts_of(key.key)
    return [key] if isinstance(key, Header | Text) else []


class _Needle:
    """What is looked for, folded.

    probe  its longest run of visible ASCII: stands in the octets, in upper case, of every plain message that holds the text
    plain  the probe is all of it
    """

    __slots__ = ("plain", "probe", "text")

    def __init__(self, wanted: str) -> None:
        self.text = fold(wanted)
        # White space may be folded or broken anywhere.
        self.probe = max(_VISIBLE.findall(self.text), key=len, default="").encode("ascii")
        self.plain = len(self.probe) == len(self.text)


class _Opened:
    """One message while it is searched."""

    __slots__ = ("_header", "_hidden", "_lines", "_upper", "_octets", "_parts")

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._header = header_end(octets)
        self._upper: bytes | None = None
        self._hidden: bool | None = None
        self._lines: list[str] | None = None
        self._parts: list[str] | None = None

    def has_field(self, pattern: "re.Pattern[bytes]", needle: _Needle, *, addressed: bool = False) -> bool:
        if not needle.text:
            return pattern.search(self._octets, 0, self._header) is not None
        if needle.plain:
            values = [found[1] for found in pattern.finditer(self._octets, 0, self._header)]
            if all([b"=?" not in value and value.isascii() for value in values]):  # noqa: C419
                if any([needle.probe in value.upper() for value in values]):  # noqa: C419
                    return True
                if not (addressed and any(map(is_broken, values))):
                    return False
        return any(needle.text in value for value in field_values(pattern, self._octets, self._header, addressed=addressed))

    def has_text(self, needle: _Needle, *, header: bool) -> bool:
        if not needle.text:
            return True
        if self._upper is None:
            self._upper = self._octets.upper()
        if not self._is_hidden(self._upper):
            hit = self._upper.find(needle.probe, 0 if header else self._header)
            if hit < 0 or not needle.text.isascii():
                return False
            if needle.plain and (hit < self._header or self._is_text(self._upper)):
                return True
        if header:
            if self._lines is None:
                self._lines = header_lines(self._octets, self._header)
            if any([needle.text in line for line in self._lines]):  # noqa: C419
                return True
        if self._parts is None:
            self._parts = list(readable_parts(parse(self._octets), self._octets))
        return any([needle.text in part for part in self._parts])  # noqa: C419

    def _is_hidden(self, upper: bytes) -> bool:
        """Octets in upper case do not say what the text is."""
        if self._hidden is None:
            signs = any([sign in upper for sign in _ENCODED])  # noqa: C419
            self._hidden = signs or not upper.isascii() or _ODD_CHARSET.search(upper) is not None
        return self._hidden

    def _is_text(self, upper: bytes) -> bool:
        """The body is one text, without part headers and boundaries: a hit in it counts."""
        found = _TYPE.search(upper, 0, self._header)
        return found is None or found[1] in (b"TEXT/PLAIN", b"TEXT/HTML")

    def sent_day(self) -> int | None:
        """Day since 1970-01-01 of the Date field as written, whatever its zone; None: no date there."""
        found = _DATE_FIELD.search(self._octets, 0, self._header)
        match = _DATE.search(unfold(found[1]).decode("latin-1")) if found else None
        if match is None:
            return None
        month, year = _MONTHS.get(match[2].lower()), int(match[3])
        if month is None:
            return None
        if year < 100:
            year += 2000 if year < 50 else 1900  # RFC 5322 §4.3
        elif year < 1000:
            year += 1900
        return _day(year, month, int(match[1]))


def _day(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the Gregorian calendar; a day beyond its month runs on."""
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 + _DAYS_BEFORE[month - 1] + day
    if month > 2 and (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)):
        days += 1
    return days - 719163


_DATE_FIELD = field_pattern("date")
_RELATIONS: dict[str, Callable[[int, int], bool]] = {"before": int.__lt__, "on": int.__eq__, "since": int.__ge__}
