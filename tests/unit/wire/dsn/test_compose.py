"""Notifications: read back with the standard library, golden text, hostile values."""
# SPDX-License-Identifier: Apache-2.0

import dataclasses
import email
import email.message
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.address import Address
from mta.wire.dsn import RecipientReport, Report, compose
from mta.wire.dsn.report import Action
from mta.wire.dsn.status import date, fold, status_of

NOW = 1_800_000_000.0
ALICE = Address.parse("alice@example.org")
FAILED = RecipientReport(
    Address.parse("bob@dest.test"),
    "failed",
    "rfc822;Bob+40old.test",
    "",
    "550 5.1.1 no such user",
    "mx.dest.test[192.0.2.1]:25",
    NOW,
)
ORIGINAL = b"Subject: hello\r\nFrom: alice@example.org\r\n\r\nbody\r\n"
REPORT = Report("d1", ALICE, "mx.example.test", NOW, NOW - 60, (FAILED,), ORIGINAL, queue_id="q1", message_id="<m@example.org>")

GOLDEN = """\
From: Mail Delivery System <MAILER-DAEMON@mx.example.test>
To: <alice@example.org>
Subject: Undelivered mail returned to sender
Date: Fri, 15 Jan 2027 08:00:00 +0000
Message-ID: <d1@mx.example.test>
In-Reply-To: <m@example.org>
References: <m@example.org>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
 boundary="=_d1.0"

This is a delivery status notification in MIME format.

--=_d1.0
Content-Type: text/plain; charset=us-ascii
Content-Description: Notification

This is the mail system at mx.example.test.

Your message could not be delivered to the recipients below. It will not be tried again.

<bob@dest.test>
    mx.dest.test[192.0.2.1]:25 said: 550 5.1.1 no such user

The message came on Fri, 15 Jan 2027 07:59:00 +0000 and has the id q1 here.

--=_d1.0
Content-Type: message/delivery-status
Content-Description: Delivery report

Original-Envelope-Id: e=1
Reporting-MTA: dns; mx.example.test
Arrival-Date: Fri, 15 Jan 2027 07:59:00 +0000

Original-Recipient: rfc822; Bob@old.test
Final-Recipient: rfc822; bob@dest.test
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.dest.test
Diagnostic-Code: smtp; 550 5.1.1 no such user
Last-Attempt-Date: Fri, 15 Jan 2027 08:00:00 +0000

--=_d1.0
Content-Type: text/rfc822-headers
Content-Description: Message header

Subject: hello
From: alice@example.org


--=_d1.0--
"""


def read(octets: bytes) -> tuple[email.message.Message, list[email.message.Message]]:
    message = email.message_from_bytes(octets)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    parts = message.get_payload()
    assert isinstance(parts, list)
    assert len(parts) == 3
    return message, parts


def groups(part: email.message.Message) -> list[email.message.Message]:
    payload = part.get_payload()
    assert isinstance(payload, list)
    return payload


def change(report: Report = REPORT, recipient: RecipientReport = FAILED, **values: object) -> Report:
    names = {f.name for f in dataclasses.fields(RecipientReport)}
    one = dataclasses.replace(recipient, **{k: v for k, v in values.items() if k in names})
    return dataclasses.replace(report, recipients=(one,), **{k: v for k, v in values.items() if k not in names})


def test_golden() -> None:
    assert compose(change(envid="e+3D1")).decode("ascii") == GOLDEN.replace("\n", "\r\n")


def test_several_recipients_have_a_group_each_and_the_worst_makes_the_subject() -> None:
    later = RecipientReport(Address.parse("eve@dest.test"), "delayed", status="4.4.1", diagnostic="timed out", retry_until=NOW + 1)
    message, parts = read(compose(dataclasses.replace(REPORT, recipients=(later, FAILED))))
    assert message["Subject"] == "Undelivered mail returned to sender"
    about, first, second = groups(parts[1])
    assert about["Reporting-MTA"] == "dns; mx.example.test"
    assert (first["Action"], first["Status"], first["Diagnostic-Code"]) == ("delayed", "4.4.1", "x-mta; timed out")
    assert first["Will-Retry-Until"] == date(NOW + 1)
    assert (second["Final-Recipient"], second["Original-Recipient"]) == ("rfc822; bob@dest.test", "rfc822; Bob@old.test")


@pytest.mark.parametrize(
    ("action", "status", "diagnostic", "expected"),
    [
        ("failed", "5.2.2", "550 5.1.1 x", "5.2.2"),
        ("failed", "", "550 5.1.1 x", "5.1.1"),
        ("failed", "", "550-5.1.1 x", "5.1.1"),
        ("failed", "", "450 4.2.1 still away", "5.0.0"),
        ("failed", "4.4.7", "", "5.0.0"),
        ("delayed", "", "450 4.2.1 away", "4.2.1"),
        ("delivered", "", "250 2.1.5 ok", "2.1.5"),
        ("relayed", "", "", "2.0.0"),
        ("expanded", "garbage\r\nX: y", "", "2.0.0"),
    ],
)
def test_status(action: Action, status: str, diagnostic: str, expected: str) -> None:
    assert status_of(dataclasses.replace(FAILED, action=action, status=status, diagnostic=diagnostic)) == expected


def test_full_message_only_when_asked_failed_small_and_7bit() -> None:
    def returned(report: Report) -> str:
        return read(compose(report))[1][2].get_content_type()

    assert returned(change(ret="FULL")) == "message/rfc822"
    assert returned(change(ret="HDRS")) == "text/rfc822-headers"
    assert returned(change(ret="FULL", action="delayed")) == "text/rfc822-headers"
    assert returned(change(ret="FULL", complete=False)) == "text/rfc822-headers"
    assert returned(change(ret="FULL", original=ORIGINAL + b"x" * 200_000)) == "text/rfc822-headers"
    assert returned(change(ret="FULL", original=ORIGINAL + "é\r\n".encode())) == "text/rfc822-headers"
    _, parts = read(compose(change(ret="FULL")))
    assert groups(parts[2])[0]["Subject"] == "hello"


def test_8bit_header_is_returned_in_quoted_printable() -> None:
    octets = compose(change(original="Subject: é\r\nTo: x\r\n\r\nbody".encode()))
    assert octets.isascii()
    assert read(octets)[1][2].get_payload(decode=True) == "Subject: é\r\nTo: x\r\n\r\n".encode()


def test_huge_header_is_cut_at_a_line() -> None:
    octets = compose(change(original=b"X: 0123456789\r\n" * 100_000))
    assert len(octets) < 70_000
    assert b"\r\nX: 0123456789\r\n\r\n--=_d1.0--\r\n" in octets


def test_non_ascii_recipient_stays_7bit() -> None:
    octets = compose(
        change(address=Address.parse("jörg+x@dest.test"), orcpt="utf-8;jörg@old.test", diagnostic="550 5.1.1 für jörg")
    )
    assert octets.isascii()
    _, parts = read(octets)
    recipient = groups(parts[1])[1]
    assert recipient["Final-Recipient"] == "utf-8; j\\x{F6}rg\\x{2B}x@dest.test"
    assert recipient["Original-Recipient"] == "utf-8; j\\x{F6}rg@old.test"
    assert recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 f?r j?rg"
    assert "550 5.1.1 für jörg" in parts[0].get_payload(decode=True).decode()


def test_non_ascii_sender_gets_the_utf8_form() -> None:
    octets = compose(change(sender=Address.parse("jörg@example.org"), address=Address.parse("ölaf@dest.test"), ret="FULL"))
    message = email.message_from_bytes(octets, policy=email.policy.SMTPUTF8)
    assert message["To"] == "jörg@example.org"
    types = [part.get_content_type() for part in message.iter_parts()]  # type: ignore[attr-defined]
    assert types == ["text/plain", "message/global-delivery-status", "message/global"]
    assert b"=?" not in octets


HOSTILE = st.text(st.sampled_from("a=+.;:<>\r\n\0 é\u2028-_") | st.characters(), max_size=80)


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, st.sampled_from(["failed", "delayed", "expanded"]))
def test_nothing_a_peer_says_makes_a_field(
    envid: str, orcpt: str, diagnostic: str, remote: str, msgid: str, action: Action
) -> None:
    octets = compose(
        change(envid=envid, orcpt=orcpt, diagnostic=diagnostic, remote=remote, message_id=msgid, action=action, status=orcpt)
    )
    assert octets.isascii()
    assert b"\0" not in octets
    assert octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r")
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    message, parts = read(octets)
    assert set(message.keys()) <= {
        "From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted", "MIME-Version", "Content-Type"
    }  # fmt: skip
    assert len(groups(parts[1])) == 2
    assert set(groups(parts[1])[0].keys()) <= {"Original-Envelope-Id", "Reporting-MTA", "Arrival-Date"}
    assert set(groups(parts[1])[1].keys()) <= {
        "Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code", "Last-Attempt-Date"
    }  # fmt: skip


@pytest.mark.parametrize("value", ["a+0D+0AX-Evil: y", "a+0Ab", "+00", "a b", "+zz", "+C3+A9"])
def test_control_characters_in_xtext_leave_the_field_out(value: str) -> None:
    _, parts = read(compose(change(envid=value, orcpt=f"rfc822;{value}")))
    assert "Original-Envelope-Id" not in groups(parts[1])[0]
    assert "Original-Recipient" not in groups(parts[1])[1]


def test_boundary_avoids_the_content() -> None:
    octets = compose(change(ret="FULL", original=b"A: b\r\n\r\n--=_d1.0--\r\n--=_d1.1\r\n"))
    assert b'boundary="=_d1.2"' in octets
    read(octets)


@given(st.text(st.sampled_from("ab "), max_size=3000))
def test_folding_loses_nothing_but_spaces(text: str) -> None:
    folded = fold("Name: x" + text)
    assert folded.replace("\r\n", "").replace(" ", "") == ("Name:x" + text).replace(" ", "")
    assert all(len(line) <= 998 and line.strip() for line in folded.split("\r\n"))
