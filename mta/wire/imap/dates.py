"""Dates of APPEND, INTERNALDATE and SEARCH (RFC 9051 §9 date-time, date). Wall clock as seconds since 1970, UTC."""
# SPDX-License-Identifier: Apache-2.0

import re
from datetime import UTC, date, datetime, timedelta, timezone

from mta.wire.imap.scanner import Malformed, Scanner

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = {name.upper().encode(): number for number, name in enumerate(MONTHS, 1)}
_DATE_TIME = re.compile(
    rb'"( [0-9]|[0-9]{1,2})-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"'
)
_DATE = re.compile(rb'("?)([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})\1')
_EPOCH = date(1970, 1, 1).toordinal()


def read_date_time(scan: Scanner) -> int:
    found = scan.match(_DATE_TIME, "a date and time")
    month = _MONTH.get(found[2].upper())
    if month is None:
        raise Malformed("no such month")
    try:
        zone = timezone((1 if found[7] == b"+" else -1) * timedelta(hours=int(found[8]), minutes=int(found[9])))
        second = min(int(found[6]), 59)  # a leap second has no number of its own
        moment = datetime(int(found[3]), month, int(found[1]), int(found[4]), int(found[5]), second, tzinfo=zone)
        return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    except (ValueError, OverflowError) as exc:
        raise Malformed("no such date") from exc


def encode_date_time(seconds: int) -> bytes:
    """Without the quotes, in UTC. Years outside 1-9999 are clamped."""
    day, rest = divmod(seconds, 86400)
    return b"%b%02d:%02d:%02d +0000" % (encode_day(day), rest // 3600, rest // 60 % 60, rest % 60)


def encode_day(day: int) -> bytes:
    """``" 3-Jan-2022 "`` for the day since 1970-01-01, as INTERNALDATE begins."""
    moment = date.fromordinal(min(max(day + _EPOCH, 1), date.max.toordinal()))
    return b"%2d-%b-%04d " % (moment.day, MONTHS[moment.month - 1].encode(), moment.year)


def read_date(scan: Scanner) -> int:
    """The day since 1970-01-01."""
    found = scan.match(_DATE, "a date")
    month = _MONTH.get(found[3].upper())
    if month is None:
        raise Malformed("no such month")
    try:
        return date(int(found[4]), month, int(found[2])).toordinal() - _EPOCH
    except ValueError as exc:
        raise Malformed("no such date") from exc


def encode_date(day: int) -> bytes:
    return encode_day(day).strip()
