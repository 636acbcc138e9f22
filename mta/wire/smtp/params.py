"""ESMTP parameters of MAIL and RCPT (RFC 5321 §4.1.2), and the values of those we know.

Keywords are upper-cased, values stay verbatim: SIZE (RFC 1870), BODY (RFC 6152, RFC 3030), SMTPUTF8 (RFC 6531), AUTH (RFC 4954 §5),
RET, ENVID, NOTIFY, ORCPT (RFC 3461 §4), HOLDFOR, HOLDUNTIL (RFC 4865), BY (RFC 2852), MT-PRIORITY (RFC 6710). The readers below check a value and say what it means.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from datetime import datetime

from mta.model.errors import Refused
from mta.model.reply import Reply

_PARAM = re.compile(r" +([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e\x80-\U0010ffff]+))?(?= |\Z)")
_XTEXT = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})*\Z")
_HEX = re.compile(r"\+([0-9A-F]{2})")
_ADDR_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*\Z")
_BY = re.compile(r"([+-]?[0-9]{1,9});([RN]T?)\Z", re.IGNORECASE)
_PRIORITY = re.compile(r"-?[0-9]\Z")
_UNTIL = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})\Z", re.IGNORECASE
)
_NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})


def parse_params(text: str) -> dict[str, str | None]:
    """Read `` KEY=value KEY …``. Raises Refused 501 5.5.4 for bad syntax and for a keyword given twice."""
    params: dict[str, str | None] = {}
    position, end = 0, len(text)
    while position < end:
        match = _PARAM.match(text, position)
        if match is None:
            raise Refused(Reply(501, "5.5.4", "malformed parameter"))
        keyword = match[1].upper()
        if keyword in params:
            raise Refused(Reply(501, "5.5.4", f"{keyword} given twice"))
        params[keyword] = match[2]
        position = match.end()
    return params


def read_size(value: str | None) -> int:
    """RFC 1870 §4."""
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 20:
        raise Refused(Reply(501, "5.5.4", "SIZE takes a number"))
    return int(value)


def read_body(value: str | None) -> str:
    """RFC 6152 §2, RFC 3030 §3: 7BIT, 8BITMIME or BINARYMIME."""
    known = (value or "").upper()
    if known not in ("7BIT", "8BITMIME", "BINARYMIME"):
        raise Refused(Reply(501, "5.5.4", "BODY is 7BIT, 8BITMIME or BINARYMIME"))
    return known


def read_ret(value: str | None) -> str:
    """RFC 3461 §4.3: FULL or HDRS."""
    known = (value or "").upper()
    if known not in ("FULL", "HDRS"):
        raise Refused(Reply(501, "5.5.4", "RET is FULL or HDRS"))
    return known


def read_envid(value: str | None) -> str:
    """RFC 3461 §4.4. Returns the value verbatim."""
    if not value or len(value) > 100 or not _is_clean(value):
        raise Refused(Reply(501, "5.5.4", "malformed ENVID"))
    return value


def read_notify(value: str | None) -> frozenset[str]:
    """RFC 3461 §4.1: NEVER alone, or some of SUCCESS, FAILURE, DELAY."""
    words = (value or "").upper().split(",")
    known = frozenset(words)
    if known == {"NEVER"} and len(words) == 1:
        return known
    if len(known) != len(words) or not known <= _NOTIFY:
        raise Refused(Reply(501, "5.5.4", "NOTIFY is NEVER, or SUCCESS, FAILURE, DELAY"))
    return known


def read_orcpt(value: str | None) -> str:
    """RFC 3461 §4.2: ``type;xtext``, at most 500 octets. Returns the value verbatim."""
    kind, separator, address = (value or "").partition(";")
    utf8 = kind.lower() == "utf-8"  # RFC 6533 §3: UTF-8 itself, or \\x{…}
    clean = bool(address) and (_is_printable(address) if utf8 else _is_clean(address))
    if not separator or not _ADDR_TYPE.match(kind) or not clean or len((value or "").encode("utf-8", "replace")) > 500:
        raise Refused(Reply(501, "5.5.4", "malformed ORCPT"))
    return value or ""


def read_hold_for(value: str | None) -> int:
    """RFC 4865 §5: seconds."""
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 9:
        raise Refused(Reply(501, "5.5.4", "HOLDFOR takes seconds"))
    return int(value)


def read_hold_until(value: str | None) -> float:
    """RFC 4865 §5, RFC 3339: a moment, as wall clock."""
    try:
        if _UNTIL.match(value or ""):
            return datetime.fromisoformat((value or "").upper()).timestamp()
    except (ValueError, OverflowError):
        pass  # the thirtieth of February
    raise Refused(Reply(501, "5.5.4", "HOLDUNTIL takes a moment such as 2030-01-31T09:30:00Z"))


def read_by(value: str | None) -> tuple[int, str]:
    """RFC 2852 §4: seconds from now, and the mode: "R" or "N", with "T" behind it when relays are to be told of."""
    if (match := _BY.match(value or "")) is None:
        raise Refused(Reply(501, "5.5.4", "BY is seconds;R or seconds;N, with T behind it for a trace"))
    seconds, mode = int(match[1]), match[2].upper()
    if mode.startswith("R") and seconds <= 0:
        raise Refused(Reply(501, "5.5.4", "BY with R takes more than 0 seconds"))
    return seconds, mode


def read_priority(value: str | None) -> int:
    """RFC 6710 §4.1: -9 to 9."""
    if not _PRIORITY.match(value or ""):
        raise Refused(Reply(501, "5.5.4", "MT-PRIORITY is -9 to 9"))
    return int(value or "0")


def decode_xtext(text: str) -> str:
    """RFC 3461 §4. Raises ValueError for what is no xtext."""
    if not _XTEXT.match(text):
        raise ValueError("not xtext")
    return _HEX.sub(lambda m: chr(int(m[1], 16)), text)


def encode_xtext(text: str) -> str:
    """RFC 3461 §4; non-ASCII is written as the hex of its UTF-8."""
    return "".join(c if "\x21" <= c <= "\x7e" and c not in "+=" else "".join(f"+{b:02X}" for b in c.encode()) for c in text)


def _is_clean(text: str) -> bool:
    """True for xtext that hides no control character: it ends up in header fields of reports."""
    return _XTEXT.match(text) is not None and _is_printable(decode_xtext(text))


def _is_printable(text: str) -> bool:
    return not any(c < " " or "\x7f" <= c <= "\x9f" for c in text)
