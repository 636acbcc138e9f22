"""Reports that come in: ours read back, those of others, complaints, and rubbish."""
# SPDX-License-Identifier: Apache-2.0

import base64
import gzip
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.address import Address
from mta.wire.dsn import RecipientReport, Report, compose
from mta.wire.dsn.parse import ReceivedReport, ReportedRecipient, parse_report
from mta.wire.dsn.tls import ReportedTls, TlsFailures

REPORT = Report(
    id="d1",
    sender=Address("bob", "here.test"),
    hostname="mx.here.test",
    now=2.0,
    received_at=1.0,
    recipients=(
        RecipientReport(
            Address("x", "dest.test"),
            "failed",
            "rfc822;X+2Balias@dest.test",
            diagnostic="550 5.1.1 no such user",
            remote="mx[::1]:25",
        ),
        RecipientReport(Address("jürgen", "dest.test"), "delayed", diagnostic="450 4.2.1 busy", retry_until=9.0),
    ),
    original=b"From: bob@here.test\r\nMessage-ID: <m1@here.test>\r\nSubject: s\r\n\r\nbody\r\n",
    envid="E1",
    message_id="<m1@here.test>",
)
READ = ReceivedReport(
    "dsn",
    "mx.here.test",
    (
        ReportedRecipient("x@dest.test", "X+alias@dest.test", "failed", "5.1.1", "550 5.1.1 no such user", "mx"),
        ReportedRecipient("jürgen@dest.test", "", "delayed", "4.2.1", "450 4.2.1 busy"),
    ),
    envelope_id="E1",
    message_id="<m1@here.test>",
    sender="bob@here.test",
)


@pytest.mark.parametrize("ret", [None, "FULL"])
def test_our_own_reports_are_read_as_written(ret):
    assert parse_report(compose(replace(REPORT, ret=ret))) == READ


def test_a_report_to_an_internationalised_sender():
    assert parse_report(compose(replace(REPORT, sender=Address("böb", "here.test")))) == READ


def multipart(*parts, kind="multipart/report; report-type=delivery-status"):
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts)
    return f'Content-Type: {kind}; boundary="b"\r\n\r\n'.encode() + body + b"--b--\r\n"


def status(*groups, encoding=b""):
    return b"Content-Type: message/delivery-status\r\n" + encoding + b"\r\n" + b"\r\n\r\n".join(groups)


ONE = b"Final-Recipient: rfc822;<a@b.test>\r\nAction: Failed\r\nStatus: 5.0.0 (permanent)"


@pytest.mark.parametrize(
    "part",
    [
        status(b"Reporting-MTA: dns; mx.b.test", ONE),
        status(ONE),
        status(b"Reporting-MTA: dns; mx.b.test", b"", ONE, b"", b"Final-Recipient: x"),
        status(ONE.replace(b"\r\n", b"\n")),
        status(b"RmluYWwtUmVjaXBpZW50OiByZmM4MjI7YUBiLnRlc3QKQWN0aW9uOiBmYWlsZWQKU3RhdHVzOiA1LjAuMAo=",
               encoding=b"Content-Transfer-Encoding: base64\r\n"),
    ],
    ids=["plain", "no group about the message", "empty lines", "bare LF", "base64"],
)  # fmt: skip
def test_forms_of_others(part):
    report = parse_report(multipart(b"\r\nsorry", part))
    assert report is not None
    assert report.recipients == (ReportedRecipient("a@b.test", "", "failed", "5.0.0"),)


def test_a_complaint():
    arf = (
        b"Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: SomeGenerator/1.0\r\nVersion: 1\r\n"
        b"Original-Mail-From: <news@here.test>\r\nOriginal-Rcpt-To: <a@b.test>\r\nOriginal-Rcpt-To: <c@b.test>\r\n"
    )
    back = b"Content-Type: message/rfc822\r\n\r\nFrom: N <n@here.test>\r\nMessage-ID: <m2@here.test>\r\n\r\nbuy"
    assert parse_report(multipart(b"\r\nhi", arf, back, kind="multipart/report; report-type=feedback-report")) == ReceivedReport(
        "complaint",
        "SomeGenerator/1.0",
        (ReportedRecipient("a@b.test"), ReportedRecipient("c@b.test")),
        message_id="<m2@here.test>",
        sender="news@here.test",
        feedback="abuse",
    )


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"Subject: x\r\n\r\nbody",
        multipart(b"\r\ntext"),
        multipart(status(b"Reporting-MTA: dns; x")),
        multipart(status(ONE.replace(b"Failed", b"exploded"))),
        multipart(status(b"!!!", encoding=b"Content-Transfer-Encoding: base64\r\n")),
        multipart(status(ONE), kind="multipart/mixed"),
        multipart(b"Content-Type: message/feedback-report\r\n\r\nVersion: 1\r\n"),
    ],
)
def test_what_is_no_report(octets):
    assert parse_report(octets) is None


def test_what_is_said_is_one_printable_line_and_bounded():
    evil = ONE + b"\r\nDiagnostic-Code: smtp; \x1b[31m\0" + b"x" * 5000
    report = parse_report(multipart(status(*[evil] * 1500)))
    assert report is not None
    assert len(report.recipients) == 200
    assert all(len(one.diagnostic) <= 1000 and one.diagnostic.isprintable() for one in report.recipients)


@given(st.binary(max_size=300), st.integers(0, 400))
def test_damage_raises_nothing(octets, at):
    whole = compose(REPORT)
    parse_report(whole[: at * 5] + octets + whole[at * 5 :])


# ---- TLS reports (RFC 8460)

TLS_REPORT = {
    "organization-name": "Company-X",
    "date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
    "report-id": "5065427c-23d3",
    "policies": [
        {
            "policy": {"policy-type": "sts", "policy-domain": "Company-Y.example"},
            "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
            "failure-details": [{"result-type": "certificate-expired", "failed-session-count": 100, "receiving-ip": "192.0.2.1"}],
        }
    ],
}


def tls_report(octets, kind="application/tlsrpt+gzip"):
    part = b"Content-Type: " + kind.encode() + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(octets)
    return parse_report(multipart(b"\r\nhi", part, kind="multipart/report; report-type=tlsrpt"))


@pytest.mark.parametrize(("kind", "pack"), [("application/tlsrpt+gzip", gzip.compress), ("application/tlsrpt+json", bytes)])
def test_a_tls_report(kind, pack):
    report = tls_report(pack(json.dumps(TLS_REPORT).encode()), kind)
    assert report == ReceivedReport(
        "tls",
        "Company-X",
        (),
        "5065427c-23d3",
        domains=("company-y.example",),
        tls=(ReportedTls("sts", "company-y.example", 5326, 303, (TlsFailures("certificate-expired", 100, "", "192.0.2.1"),)),),
        begin=1459468800.0,
        end=1459555199.0,
    )


@pytest.mark.parametrize(
    "octets",
    [
        b"", b"{}", b"[]", b"\x1f\x8b", b"not json", gzip.compress(b" " * 5_000_000 + b"{}"), b'{"policies": [1, {}]}', b'{"policies": {}}',
        gzip.compress(b"[" * 200_000), b'{"policies": [{"policy": []}]}',
    ],
)  # fmt: skip
def test_what_is_no_tls_report(octets):
    assert tls_report(octets) is None


def test_nonsense_in_a_tls_report_counts_nothing():
    wrong = {"policies": [{"policy": {"policy-type": 1, "policy-domain": "a\nb"}, "summary": {"total-failure-session-count": -5}}]}
    report = tls_report(json.dumps(wrong | {"date-range": {"start-datetime": "soon"}}).encode())
    assert report.tls == (ReportedTls("", "a b", 0, 0),)
