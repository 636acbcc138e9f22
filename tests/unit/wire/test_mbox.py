"""From_ lines, quoting, flags in fields."""
# SPDX-License-Identifier: Apache-2.0

import pytest

from mta.model.message import Flags
from mta.wire.mbox import from_date, from_line, quote, read_header, status_fields, unquote

WHEN = 1646125440  # 2022-03-01 09:04:00 UTC


@pytest.mark.parametrize(
    "line",
    [
        b"From joe@example.org Tue Mar  1 09:04:00 2022\n",
        b"From - Tue Mar 01 09:04:00 2022\r\n",
        b"From MAILER-DAEMON Tue Mar  1 10:04:00 +0100 2022\n",
        b"From 12@xxx Tue Mar 01 09:04:00 +0000 2022\n",
        b"From joe Tue, 1 Mar 2022 04:04:00 -0500\n",
        b"From joe Tue Mar  1 09:04:00 GMT 2022\n",
        b'From "some one"@example.org  Tue Mar  1 09:04 2022\n',
    ],
)
def test_dates_as_programs_write_them(line):
    assert from_date(line) == WHEN


@pytest.mark.parametrize(
    "line",
    [
        b"From the beginning of time\n",
        b"From joe Tue Feb 31 09:04:00 2022\n",
        b"From joe Tue Mar  1 09:04:00\n",
        b">From joe Tue Mar  1 09:04:00 2022\n",
        b"From " + b"x" * 2000 + b" Tue Mar  1 09:04:00 2022\n",
    ],
)
def test_text_is_no_from_line(line):
    assert from_date(line) is None


@pytest.mark.parametrize("date", [0, WHEN, 2**31, 2**40])
def test_our_own_line_is_read(date):
    assert from_date(from_line(date)) == min(date, 253402300799)


@pytest.mark.parametrize("line", [b"From x\n", b">From x\n", b">>>From x\n", b"> From x\n", b"from x\n", b"\n"])
def test_mboxrd_quoting_is_undone(line):
    assert unquote(quote(line), "mboxrd") == line
    assert not quote(line).startswith(b"From ")


def test_mboxo_leaves_what_was_quoted_before():
    assert unquote(b">From x\n", "mboxo") == b"From x\n"
    assert unquote(b">>From x\n", "mboxo") == b">>From x\n"


def test_flags_travel_in_fields_that_are_not_the_messages():
    flags = int(Flags.SEEN | Flags.FLAGGED | Flags.DRAFT)
    octets = b"Subject: a\r\n" + status_fields(flags, "one two").replace(b"\n", b"\r\n") + b"To: b\r\n\r\n"
    header = read_header(octets)
    assert header.octets == b"Subject: a\r\nTo: b\r\n\r\n"
    assert header.flags == flags
    assert header.keywords == {"one", "two"}


def test_thunderbird_and_the_record_of_uw_imap():
    header = read_header(b"X-Mozilla-Status: 0007\r\nX-Mozilla-Keys: work (bad\r\n\r\n")
    assert header.flags == Flags.SEEN | Flags.ANSWERED | Flags.FLAGGED
    assert header.keywords == {"work"}
    assert read_header(b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\r\nX-IMAP: 1 2\r\n\r\n").pseudo
